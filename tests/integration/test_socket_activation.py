"""Restarts while the init system holds the socket: nobody is refused, nothing lost."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.integration.conftest import StartDaemon
from tests.integration.crash_rounds import CLIENTS, check, look, post_turn
from tests.integration.gateway import configuration
from tests.support.daemon import PATIENCE, Daemon

RESTARTS = 3
ENDPOINT = "--endpoint=systemd:domain=INET:name=gateway"


@pytest.fixture
def held() -> Iterator[socket.socket]:
    """The socket that the init system has opened."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as sock:
        yield sock


def start(start_daemon: StartDaemon, home: Path, sock: socket.socket) -> Daemon:
    """Start a daemon on *sock*."""
    path = home / "moltbot.json"
    if not path.exists():
        path.write_text(json.dumps(configuration(None)))
    environ = {"MOLTBOT_STATE_DIR": str(home / "state")}
    options = (f"--config={path}", ENDPOINT)
    daemon: Daemon = start_daemon(*options, environ=environ, sock=sock)
    return daemon


@attrs.define
class Load:
    """Clients that post turns, each on a connection of its own, until told to stop.

    *kept* are the texts of each user that were answered whole, *sent_away* how many
    requests were told to come again, *broken* what must not happen.
    """

    port: int
    kept: dict[str, list[str]] = attrs.Factory(dict)
    sent_away: int = 0
    broken: list[str] = attrs.Factory(list)
    _enough: threading.Event = attrs.Factory(threading.Event)
    _moved: threading.Condition = attrs.Factory(threading.Condition)
    _threads: list[threading.Thread] = attrs.Factory(list)

    def start(self) -> None:
        for number in range(CLIENTS):
            user = f"user-{number}"
            self.kept[user] = []
            words = (user, number % 2 == 0)
            self._threads.append(threading.Thread(target=self._client, args=words))
            self._threads[-1].start()

    def wait_for_more(self, turns: int) -> None:
        """Return when everybody had *turns* more turns."""
        goals = {user: len(texts) + turns for user, texts in self.kept.items()}

        def reached() -> bool:
            ahead = (len(self.kept[user]) >= goal for user, goal in goals.items())
            return bool(self.broken) or all(ahead)

        with self._moved:
            assert self._moved.wait_for(reached, PATIENCE)
        assert self.broken == []

    def stop(self) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _client(self, user: str, stream: bool) -> None:
        number = 0
        while not self._enough.is_set():
            text = f"turn {number} of {user}"
            try:
                done = self._post(text, user, stream)
            except (OSError, http.client.HTTPException) as error:
                with self._moved:
                    self.broken.append(f"{user}: {error!r}")
                    self._moved.notify_all()
                return
            with self._moved:
                if done:
                    number += 1
                    self.kept[user].append(text)
                else:
                    self.sent_away += 1
                self._moved.notify_all()

    def _post(self, text: str, user: str, stream: bool) -> bool:
        """Return whether *text* was answered, or else we were told to come again."""
        response, data = post_turn(self.port, text, user, stream)
        if response.status == 503:
            assert response.headers["Retry-After"]
            return False
        if stream and data.endswith(b"data: [DONE]\n\n"):
            return b'"error"' not in data
        if response.status != 200 or stream:
            raise http.client.HTTPException(f"{response.status} {data[-200:]!r}")
        return True


def test_restart_refuses_nobody_and_loses_no_turn(
    start_daemon: StartDaemon, held: socket.socket, tmp_path: Path
) -> None:
    daemon = start(start_daemon, tmp_path, held)
    load = Load(held.getsockname()[1])
    load.start()
    try:
        for _ in range(RESTARTS):
            load.wait_for_more(2)
            assert daemon.stop() == 0, daemon.output
            daemon = start(start_daemon, tmp_path, held)
        load.wait_for_more(2)
    finally:
        load.stop()
    assert load.broken == []
    assert daemon.stop() == 0
    found = look(tmp_path / "state")
    assert found.interrupted == 0
    check(found, load.kept)


def test_connection_waits_for_the_next_process(
    start_daemon: StartDaemon, held: socket.socket, tmp_path: Path
) -> None:
    load = Load(held.getsockname()[1])
    load.start()  # nobody is there yet
    daemon = start(start_daemon, tmp_path, held)
    try:
        load.wait_for_more(1)
    finally:
        load.stop()
    assert load.broken == []
    port = held.getsockname()[1]
    assert f"listening on http://127.0.0.1:{port}" in daemon.output
    assert daemon.stop() == 0


def test_missing_names_are_told_with_the_fix(
    start_daemon: StartDaemon, held: socket.socket, tmp_path: Path
) -> None:
    options = ("--dev", "--endpoint=systemd:domain=INET:index=0")
    daemon = start_daemon(*options, sock=held, names="")
    assert daemon.wait() == 78
    assert "give --fdname" in daemon.errors
