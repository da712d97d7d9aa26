"""Whatever clients send, however it is cut: one answer each, and no defect shows."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.control import JSON, Client, Control, connect_params
from tests.support.gateway import LogTape
from tests.support.http_client import TOKEN
from tests.support.ws_frames import BINARY, PING, PONG, TEXT, fragments, frame

TEXTS = st.one_of(
    st.sampled_from(
        ["", " ", "main", "agent:main:main", "agent:echo:x", "global", "unknown"]
    ),
    st.sampled_from(["echo", "beta", "nobody", "stop", "/new", "hi", "k1", "k2"]),
    st.sampled_from(["operator", "node", "operator.read", "operator.admin", "off"]),
    st.sampled_from(["\0", "\u2028", "\U0001f600", "a\nb", "x" * 600, "{}", "{a:1}"]),
    st.text(max_size=8),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        TEXTS,
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.integers(0, 2000),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)
PARAMETERS = re.findall(
    r"\w+",
    """
    sessionKey message idempotencyKey runId timeoutMs agentId sessionId to thinking
    timeout attachments channel label raw baseHash requestId deviceId role scopes key
    keys limit maxChars maxLines cursor maxBytes days text mode enabled probe model
    thinkingLevel verboseLevel sendPolicy deleteTranscript search includeGlobal
    """,
)
ANY_PARAMS = st.one_of(
    VALUES, st.dictionaries(st.sampled_from(PARAMETERS), VALUES, max_size=4)
)
KEYS = st.sampled_from(["k1", "k2", "k3"])
AGENTS = st.sampled_from(["main", "echo"])
SESSIONS = st.sampled_from(["main", "agent:echo:main", "work"])
LIKELY: dict[str, st.SearchStrategy[JSON]] = {
    "agent": st.fixed_dictionaries(
        {"message": TEXTS, "idempotencyKey": KEYS, "agentId": AGENTS},
        optional={"timeout": st.integers(0, 9), "sessionKey": TEXTS},
    ),
    "agent.wait": st.fixed_dictionaries(
        {"runId": KEYS}, optional={"timeoutMs": st.integers(0, 9000)}
    ),
    "chat.send": st.fixed_dictionaries(
        {"sessionKey": SESSIONS, "message": TEXTS, "idempotencyKey": KEYS}
    ),
    "chat.abort": st.fixed_dictionaries(
        {"sessionKey": SESSIONS}, optional={"runId": KEYS}
    ),
    "config.patch": st.fixed_dictionaries({"raw": TEXTS}),
}


@attrs.frozen
class Message:
    """What a client sends: *data* in *opcode*; *frame_id* if it must be answered."""

    data: bytes
    opcode: int = TEXT
    size: int | None = None
    frame_id: str | None = None

    @property
    def wire(self) -> bytes:
        if self.size is None:
            return frame(self.opcode, self.data)
        return fragments(self.opcode, self.data, self.size)


def _request(method: str, params: Any) -> JSON:
    request: JSON = {"type": "req", "id": "", "method": method}
    return request if params is ... else {**request, "params": params}


def _methods() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        control = Control(Path(folder))
        served: list[str] = control.client().log_in()["payload"]["features"]["methods"]
        control.close()
    return [*served, "connect", "no.such.method", "\0"]


METHODS = _methods()
REQUESTS = st.one_of(
    st.sampled_from(sorted(LIKELY)).flatmap(
        lambda method: st.builds(_request, st.just(method), LIKELY[method])
    ),
    st.builds(_request, st.sampled_from(METHODS), st.just(...) | ANY_PARAMS),
)
ODD = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"",
            b"{}",
            b"[]",
            b"null",
            b'{"id":5}',
            b'{"id":"","type":"req","method":"x"}',
            b'{"id":"\\ud800","type":"req","method":"x"}',
            b'{"id":"a","type":"req","method":"\\udc00"}',
            b'{"id":"a","type":"req","method":"x","params":{"a":"\\ud83d"}}',
            b'{"id":"a\\u0000b"}',
            b'{"id":"%b"}' % (b"i" * 10_000),
            b'{"id":%b}' % (b"7" * 6000),
            b'{"id":1e400}',
            b"[" * 30_000,
            b'{"id":"deep","type":"req","method":"agent","params":%b1%b}'
            % (b'{"a":' * 900, b"}" * 900),
            b'{"id":"a","type":"req","method":"connect","params":{}}',
        ]
    ),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries({"id": VALUES}).map(lambda v: json.dumps(v).encode()),
)
FRAMES = st.one_of(
    ODD.map(Message),
    ODD.map(lambda data: Message(data, BINARY)),
    ODD.map(lambda data: Message(data, TEXT, 7)),
    st.builds(Message, st.binary(max_size=9), st.sampled_from([PING, PONG])),
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Message], int]:
    """Return what a client sends, and after how many messages it connects."""
    messages = draw(
        st.lists(st.one_of(REQUESTS, REQUESTS, FRAMES), min_size=1, max_size=8)
    )
    found = []
    for number, each in enumerate(messages):
        if isinstance(each, Message):
            found.append(each)
        else:
            frame_id = f"id {number}"
            data = json.dumps({**each, "id": frame_id}).encode()
            opcode = draw(st.sampled_from([TEXT, TEXT, BINARY]))
            size = draw(st.sampled_from([None, None, 11]))
            found.append(Message(data, opcode, size, frame_id))
    return found, draw(st.sampled_from([0, 0, 0, 0, 1, 2]))


def play_all(control: Control) -> None:
    """Let the model answer everything that it was asked."""
    open_calls = [True]
    while any(open_calls):
        calls = control.model.calls
        open_calls = [not call.finished.called for call in calls]
        for call in calls:
            if not call.finished.called:
                call.say("hello")
                call.finish()


def ids_in(messages: list[Message]) -> list[Any]:
    """Return all ids that may be echoed."""
    found: list[Any] = ["invalid", "connect"]
    for message in messages:
        try:
            value = json.loads(message.data)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value.get("id"))
    return found


def is_final(answer: JSON) -> bool:
    payload = answer.get("payload")
    return not (isinstance(payload, dict) and payload.get("status") == "accepted")


def connect_message() -> Message:
    request = {
        "type": "req",
        "id": "connect",
        "method": "connect",
        "params": connect_params(),
    }
    return Message(json.dumps(request).encode())


def check_answers(client: Client, messages: list[Message], connected: bool) -> None:
    answers = client.answers()
    known = ids_in(messages)
    assert all(answer["id"] in known for answer in answers)
    if not connected or client.close is not None:
        return
    finals = Counter(str(a["id"]) for a in answers if is_final(a))
    for message in messages:
        if message.frame_id is not None:
            assert finals[message.frame_id] == 1, (message, answers)


@settings(max_examples=250, deadline=None)
@given(conversations(), st.integers(1, 5000))
def test_every_request_gets_one_answer(
    conversation: tuple[list[Message], int], step: int
) -> None:
    messages, place = conversation
    sent = [*messages[:place], connect_message(), *messages[place:]]
    with LogTape() as log, tempfile.TemporaryDirectory() as folder:
        control = Control(Path(folder))
        client, watcher = control.client(), control.member()
        client.connection.send(b"".join(m.wire for m in sent), by=step)
        for _ in range(2):
            play_all(control)
            control.advance(31.0 / 2)
        play_all(control)
        check_answers(client, messages, place == 0)
        assert watcher.call("device.pair.list")["ok"]
        control.close()
    assert log.problems == []
    assert not any(TOKEN in str(event) for event in log.events)


@settings(max_examples=150, deadline=None)
@given(conversations(), st.integers(1, 5000), st.floats(0, 1))
def test_whoever_hangs_up_anywhere_leaves_nothing(
    conversation: tuple[list[Message], int], step: int, part: float
) -> None:
    messages, place = conversation
    sent = [*messages[:place], connect_message(), *messages[place:]]
    data = b"".join(message.wire for message in sent)
    with LogTape() as log, tempfile.TemporaryDirectory() as folder:
        control = Control(Path(folder))
        client = control.client()
        client.connection.send(data[: int(len(data) * part)], by=step)
        client.connection.hang_up()
        while control.agents.running:  # the echo takes its time
            play_all(control)
            control.advance(0.01)
        assert control.clock.getDelayedCalls() == []
        control.close()
    assert log.problems == []


@settings(max_examples=80, deadline=None)
@given(conversations(), st.integers(1, 16))
def test_a_client_that_stalls_anywhere_leaves_nothing(
    conversation: tuple[list[Message], int], moment: int
) -> None:
    messages, _ = conversation
    with LogTape() as log, tempfile.TemporaryDirectory() as folder:
        control = Control(Path(folder))
        client = control.member()
        for number, message in enumerate(messages):
            if client.close is not None:
                break
            if number == moment % len(messages):
                client.stall()
            client.connection.send(message.wire)
        play_all(control)
        if moment % 2 and client.connection.socket.full:
            client.read_on()
            play_all(control)
        control.advance(200.0)
        assert control.control.hub.members == 0
        control.close()
    assert log.problems == []
