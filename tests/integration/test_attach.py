"""A client that loses its connection finds its answer again, over real sockets."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.conftest import StartDaemon
from tests.integration.gateway import TOKEN, ask, configuration
from tests.support.http_client import Event, read_events

_TEXT = " ".join(["one two", "é\u2028ß", "data: [DONE]", "\U0001f30d", "and so on"] * 3)
_RESET = struct.pack("ii", 1, 0)


@contextmanager
def _request(port: int, *args: Any) -> Iterator[http.client.HTTPResponse]:
    """An answer under way; its connection is reset behind the block."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    client.connect()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    try:
        client.request(*args)
        yield client.getresponse()
    finally:
        client.close()


def _post(port: int) -> Any:
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Moltbot-Event-Ids": "true"}
    body = json.dumps(ask(_TEXT, stream=True, stream_options={"include_usage": True}))
    return _request(port, "POST", "/v1/chat/completions", body, headers)


def _attach(port: int, had: list[Event]) -> Any:
    run_id = json.loads(had[0].data)["id"]
    headers = {"Authorization": f"Bearer {TOKEN}", "Last-Event-ID": had[-1].id}
    return _request(port, "GET", f"/v1/runs/{run_id}/stream", None, headers)


def _read(response: http.client.HTTPResponse, size: int) -> list[Event]:
    """Return the first events of *response*, as far as *size* bytes behind one go."""
    data = b""
    while not read_events(data):
        line = response.readline()
        if not line:
            break
        data += line
    return read_events(data + response.read(size))


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, 3000), min_size=1, max_size=3))
def _check_cuts(port: int, cuts: list[int]) -> None:
    with _post(port) as response:
        had = _read(response, cuts[0])
    for cut in [*cuts[1:], 10**6]:
        if had[-1].data == "[DONE]":
            break
        with _attach(port, had) as response:
            assert response.status == 200
            had += _read(response, cut)
    *chunks, done = (event.data for event in had)
    assert done == "[DONE]"
    parsed = [json.loads(chunk) for chunk in chunks]
    choices = [choice for chunk in parsed for choice in chunk["choices"]]
    assert "".join(c["delta"].get("content", "") for c in choices) == _TEXT
    assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["stop"]
    assert [chunk["usage"] is None for chunk in parsed].count(False) == 1
    assert len({(chunk["id"], chunk["created"]) for chunk in parsed}) == 1


def test_wherever_connections_break_the_joined_answer_is_exact(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    endpoint = {"chatCompletions": {"onDisconnect": "grace"}}
    config = configuration(None, gateway={"http": {"endpoints": endpoint}})
    path = tmp_path / "moltbot.json"
    path.write_text(json.dumps(config))
    daemon = start_daemon(f"--config={path}", "--port=0")
    _check_cuts(daemon.listening())
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.output
