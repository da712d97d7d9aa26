"""Kill a gateway under load, again and again; what it acknowledged must be there.

``python -m tests.integration.crash_rounds 50`` runs fifty rounds; the test suite runs a
few.  A round: start the daemon on what the last one left, let clients post turns to
stable sessions until a number of them that chance chooses was acknowledged, kill -9,
and look at a copy of the store.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import shutil
import sys
import tempfile
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import attrs

from moltbot_gw.messages import AssistantMessage, Message, UserMessage
from moltbot_gw.sessions import SqliteSessionStore
from tests.integration.gateway import TOKEN, ask, configuration
from tests.sessions.support import Pump
from tests.support.daemon import PATIENCE, Daemon

CLIENTS = 6
_MOST_TURNS = 60
"""Acknowledged turns of one round, at most."""


class NotKept(AssertionError):
    """A promise was broken by a crash."""


@attrs.define
class Load:
    """Clients that post turns until the gateway is gone.

    *acknowledged* maps each session's user to the texts whose answer came whole, in
    their order; *sent* counts all.
    """

    port: int
    round: int
    wanted: int
    chance: random.Random
    acknowledged: dict[str, list[str]] = attrs.Factory(dict)
    sent: int = 0
    enough: threading.Event = attrs.Factory(threading.Event)
    _lock: threading.Lock = attrs.Factory(threading.Lock)

    def run(self, daemon: Daemon) -> None:
        """Post from several threads; kill *daemon* when enough was acknowledged."""
        threads = [
            threading.Thread(target=self._client, args=(f"user-{n}", n % 2 == 0))
            for n in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        in_time = self.enough.wait(PATIENCE)
        daemon.kill()
        for thread in threads:
            thread.join(PATIENCE)
        if not in_time or any(thread.is_alive() for thread in threads):
            raise NotKept(f"clients hang: {daemon.output}")

    def _client(self, user: str, stream: bool) -> None:
        number = 0
        with suppress(OSError, http.client.HTTPException):
            while True:
                with self._lock:
                    self.sent += 1
                    # Answers of one length would end together, with nobody under way.
                    more = " and more" * self.chance.randrange(9)
                text = f"round {self.round} turn {number} of {user}{more}"
                number += 1
                if not self._post(text, user, stream):
                    return
                with self._lock:
                    self.acknowledged.setdefault(user, []).append(text)
                    if sum(map(len, self.acknowledged.values())) >= self.wanted:
                        self.enough.set()

    def _post(self, text: str, user: str, stream: bool) -> bool:
        """Whether the answer to *text* came whole."""
        response, data = post_turn(self.port, text, user, stream)
        if stream:
            return data.endswith(b"data: [DONE]\n\n") and b'"error"' not in data
        return response.status == 200


def post_turn(
    port: int, text: str, user: str, stream: bool
) -> tuple[http.client.HTTPResponse, bytes]:
    """Post *text* on a connection of its own; return the answer and its body."""
    body = json.dumps(ask(text, user=user, stream=stream))
    headers = {
        "Authorization": f"Bearer {TOKEN}",
        "Content-Type": "application/json",
    }
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with closing(client):
        client.request("POST", "/v1/chat/completions", body, headers)
        response = client.getresponse()
        return response, response.read()


@attrs.frozen
class Found:
    """What a store holds: the runs it found half done, and the turns of each user."""

    interrupted: int
    turns: dict[str, tuple[Message, ...]]


def look(state: Path) -> Found:
    """Read a copy of the store, whose hash chains are checked by that."""
    with tempfile.TemporaryDirectory() as folder:
        for path in state.glob("sessions.sqlite3*"):
            shutil.copy(path, folder)
        pump = Pump()
        store = SqliteSessionStore(Path(folder) / "sessions.sqlite3", pump)
        interrupted = pump.wait(store.open())
        turns = {
            f"user-{n}": pump.wait(
                store.history(f"agent:main:openai-user:user-{n}", 0)
            ).messages
            for n in range(CLIENTS)
        }
        pump.wait(store.close())
    return Found(interrupted, turns)


def check(found: Found, promised: dict[str, list[str]]) -> None:
    """Raise ``NotKept`` unless all that was *promised* was *found*, once, in order."""
    for user, texts in promised.items():
        kept = []
        for said, answered in zip(
            found.turns[user], found.turns[user][1:], strict=False
        ):
            if isinstance(said, UserMessage) and isinstance(answered, AssistantMessage):
                whole = answered.text == said.content and answered.stop_reason == "stop"
                if whole:
                    kept.append(said.content)
        lost = [text for text in texts if kept.count(text) != 1]
        if lost:
            raise NotKept(f"{user} lost or doubled {lost}")
        if [text for text in kept if text in set(texts)] != texts:
            raise NotKept(f"{user} has its turns in another order")


@attrs.frozen
class Totals:
    """What all rounds came to."""

    acknowledged: int
    sent: int
    interrupted: int


def run_rounds(rounds: int, home: Path, seed: int = 1) -> Totals:
    """Run *rounds* in *home*; raise ``NotKept`` at the first that fails."""
    chance = random.Random(seed)
    path = home / "moltbot.json"
    path.write_text(json.dumps(configuration(None)))
    state = home / "state"
    environ = {"MOLTBOT_STATE_DIR": str(state)}
    promised: dict[str, list[str]] = {}
    sent = interrupted = left_running = 0
    for number in range(rounds + 1):
        daemon = Daemon(home, f"--config={path}", "--port=0", environ=environ)
        try:
            port = daemon.listening()
            if left_running:
                told = daemon.wait_for(r"(\d+) runs were cut off")
                if int(told[1]) != left_running:
                    raise NotKept(f"{told[0]}, but it were {left_running}")
            last = number == rounds
            wanted = CLIENTS if last else chance.randint(1, _MOST_TURNS)
            load = Load(port, number, wanted, chance)
            load.run(daemon)
        finally:
            daemon.kill()
        if re.search("CRITICAL|Traceback", daemon.output):
            raise NotKept(daemon.output)
        sent += load.sent
        for user, texts in load.acknowledged.items():
            promised.setdefault(user, []).extend(texts)
        found = look(state)
        check(found, promised)
        left_running = found.interrupted
        interrupted += left_running
    return Totals(sum(map(len, promised.values())), sent, interrupted)


def main(arguments: list[str]) -> Any:
    """Run as many rounds as the first argument says."""
    rounds = int(arguments[0]) if arguments else 50
    with tempfile.TemporaryDirectory() as home:
        print(rounds, "rounds:", run_rounds(rounds, Path(home)))


if __name__ == "__main__":
    main(sys.argv[1:])
