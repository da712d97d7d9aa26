"""The WebSocket edge as ``controlplane`` wires it, beside the HTTP edge of ``Gateway``.

A client here is a raw one: it sends whatever a test wants, and reads strictly.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress

from moltbot_gw.agents.allowlist import Allowlist
from moltbot_gw.agents.approvals import Approvals
from moltbot_gw.config import Secret
from moltbot_gw.controlplane import ControlPlane, build_control_plane
from moltbot_gw.http.root import Root
from moltbot_gw.reloadstatus import ReloadStatus
from moltbot_gw.settings import (
    ALLOWLIST_FILE,
    CommandLine,
    Current,
    Settings,
    load_settings,
)
from moltbot_gw.ws.system_events import SystemEvents
from tests.support.gateway import Connection, Gateway
from tests.support.http_client import TOKEN
from tests.support.ws_frames import (
    CLOSE,
    CONTINUATION,
    TEXT,
    Frame,
    frame,
    handshake,
    read_frames,
)

JSON = dict[str, Any]


def connect_params(**changes: Any) -> JSON:
    """Return good parameters of ``connect``, with *changes* at the top level."""
    params = {
        "minProtocol": 3,
        "maxProtocol": 3,
        "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"},
        "auth": {"token": TOKEN},
        **changes,
    }
    return {name: value for name, value in params.items() if value is not None}


class Client:
    """A client's end of one WebSocket."""

    def __init__(
        self,
        control: Control,
        headers: dict[str, str],
        peer: IAddress | None = None,
    ) -> None:
        self._control = control
        self._read = 0
        self._ids = 0
        self._parts: list[bytes] = []
        self.closed_with: Frame | None = None
        self.connection: Connection = control.connect(peer=peer)
        self.connection.send(handshake(**headers))
        head = self.connection.received.find(b"\r\n\r\n")
        assert head >= 0, self.connection.received
        self._read = head + 4

    def send(self, *messages: JSON | bytes) -> None:
        """Send *messages* in one segment, each as one text frame; bytes as they are."""
        data = b""
        for message in messages:
            raw = (
                message if isinstance(message, bytes) else json.dumps(message).encode()
            )
            data += frame(TEXT, raw)
        self.connection.send(data)

    def take(self) -> list[Frame]:
        """Return the frames that have come since the last call."""
        data = self.connection.received[self._read :]
        self._read += len(data)
        frames = read_frames(data)
        for found in frames:
            if found.opcode == CLOSE:
                assert self.closed_with is None, "two close frames"
                self.closed_with = found
        return frames

    def messages(self) -> list[JSON]:
        """Return the JSON of the messages that have come since the last call."""
        found = []
        for each in self.take():
            if each.opcode in (TEXT, CONTINUATION):
                self._parts.append(each.payload)
                if each.fin:
                    found.append(json.loads(b"".join(self._parts)))
                    self._parts.clear()
        return found

    def answers(self) -> list[JSON]:
        """Return the answers that have come; events before them count as taken."""
        return [m for m in self.messages() if m["type"] == "res"]

    def events(self, *names: str) -> list[JSON]:
        """Return the events of *names*; all else that has come counts as taken."""
        return [m for m in self.messages() if m.get("event") in names]

    def ask(self, method: str, params: Any = None, **more: Any) -> str:
        """Send a request; return its id."""
        self._ids += 1
        request: JSON = {"type": "req", "id": f"r{self._ids}", "method": method, **more}
        if params is not None:
            request["params"] = params
        self.send(request)
        return str(request["id"])

    def call(self, method: str, params: Any = None) -> JSON:
        """Send a request; return its last answer so far."""
        wanted = self.ask(method, params)
        self._control.advance(0)
        answers = [m for m in self.messages() if m.get("id") == wanted]
        assert answers, f"{method} was not answered"
        return answers[-1]

    def log_in(self, **changes: Any) -> JSON:
        """Connect with the shared token; return the whole answer."""
        self.send(
            {
                "type": "req",
                "id": "connect",
                "method": "connect",
                "params": connect_params(**changes),
            }
        )
        self._control.advance(0)
        answers = [m for m in self.messages() if m.get("id") == "connect"]
        assert len(answers) == 1
        return answers[0]

    def stall(self) -> None:
        """Read nothing any more."""
        self.connection.socket.fill()

    def read_on(self) -> None:
        """Read again."""
        self.connection.socket.drain()
        self._control.advance(0)

    @property
    def close(self) -> tuple[int | None, str] | None:
        """Code and reason of the close frame that has come, if any.

        All frames before it count as taken.
        """
        self.take()
        found = self.closed_with
        return None if found is None else (found.code, found.reason)


class Control(Gateway):
    """A gateway with its WebSocket edge, and its state in *folder*."""

    def __init__(
        self, folder: Path, config: JSON | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.folder = folder
        self._held: list[tuple[Any, Deferred[Any]]] | None = None
        self.provider_health = self.agents.setup.failover.health
        self.approvals = Approvals(clock=self.clock, unix_time=self.unix_time)
        self.settings = self._settings(config or {})
        self.control = self._build_control(self.settings)
        self.site.resource = Root(self.site.resource, self.control.resource)

    def client(self, peer: str | None = None, **headers: str) -> Client:
        """Open a WebSocket, from the address *peer* or from another machine."""
        address = None if peer is None else IPv4Address("TCP", peer, 50_000)
        return Client(self, headers, address)

    def member(self, peer: str | None = None, **changes: Any) -> Client:
        """Open a WebSocket and connect."""
        client = self.client(peer)
        answer = client.log_in(**changes)
        assert answer["ok"], answer
        return client

    def close(self) -> None:
        super().close()
        assert self.control.hub.members == 0
        assert self.control.hub.feeds == 0

    def hold_threads(self) -> None:
        """Let no work in a thread be done, until ``release_threads``."""
        self._held = []

    def release_threads(self) -> None:
        """Do the work that was held back."""
        held, self._held = self._held, None
        for work, done in held or ():
            maybeDeferred(work).chainDeferred(done)
        self.advance(0)

    def _run_in_thread(self, work: Any) -> Deferred[Any]:
        if self._held is None:
            return maybeDeferred(work)
        done: Deferred[Any] = Deferred()
        self._held.append((work, done))
        return done

    def _settings(self, config: JSON) -> Settings:
        path = self.folder / "moltbot.json"
        if not path.exists():
            path.write_text(json.dumps(config))
        has_secret = "auth" in config.get("gateway", {})
        options = CommandLine(
            config=str(path), token=None if has_secret else Secret(TOKEN)
        )
        environ = {"MOLTBOT_STATE_DIR": str(self.folder / "state")}
        return load_settings(options, environ, self.folder)

    def _build_control(self, settings: Settings) -> ControlPlane:
        return build_control_plane(
            current=Current(settings),
            status=ReloadStatus(unix_time=self.unix_time),
            agents=self.agents,
            store=self.store,
            limiter=self.limiter,
            approvals=self.approvals,
            allowlist=Allowlist(
                settings.state / ALLOWLIST_FILE,
                unix_time=self.unix_time,
                run_in_thread=self._run_in_thread,
            ),
            keys=self.keys,
            meters=self.meters,
            host="box",
            reactor=self.clock,
            unix_time=self.unix_time,
            run_in_thread=self._run_in_thread,
            find_log=lambda: None,
            system_events=SystemEvents(),
        )
