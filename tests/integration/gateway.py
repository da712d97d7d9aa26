"""The whole gateway in the reactor of the test, on a free port of loopback."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from moltbot_gw.agents.service import AgentService
from moltbot_gw.building import build_gateway
from moltbot_gw.service import GatewayService
from moltbot_gw.settings import CommandLine, Settings, load_settings
from tests.integration.waiting import reactor, until, within
from tests.support.fake_provider import FakeProvider

TOKEN = "test-token-0123456789abcdef"
PROVIDER_KEY = "sk-provider-0123456789abcdef"


def configuration(provider: FakeProvider | None, **more: Any) -> dict[str, Any]:
    """Return a configuration with the agents ``main`` and ``beta``, and *more* in it.

    With a *provider*, ``main`` runs its model ``m1`` and ``beta`` its ``m2``.
    """
    config: dict[str, Any] = {
        "gateway": {
            "auth": {"token": TOKEN},
            "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
        },
        "agents": {
            "defaults": {"skipBootstrap": True},
            "list": [
                {"id": "main", "default": True, "workspace": "/nonexistent/main"},
                {"id": "beta", "name": "Beta", "workspace": "/nonexistent/beta"},
            ],
        },
    }
    if provider is not None:
        config["models"] = {
            "providers": {
                "local": {
                    "baseUrl": provider.base_url,
                    "apiKey": PROVIDER_KEY,
                    "api": "openai-completions",
                    "models": [{"id": "m1", "name": "1"}, {"id": "m2", "name": "2"}],
                }
            }
        }
        for entry, model in zip(config["agents"]["list"], ("m1", "m2"), strict=True):
            entry["model"] = f"local/{model}"
    return _merged(config, more)


def _merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in more.items():
        old = merged.get(name)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = _merged(old, value) if both else value  # type: ignore[arg-type]
    return merged


@implementer(ILogObserver)
class Gateway:
    """A running gateway: its port, its parts that tests look at, its log."""

    def __init__(
        self, folder: Path, config: dict[str, Any], state: Path | None = None
    ) -> None:
        path = folder / "moltbot.json"
        path.write_text(json.dumps(config))
        environ = {"MOLTBOT_STATE_DIR": str(state or folder / "state")}
        options = CommandLine(config=str(path), port=0)
        self.log: list[str] = []
        self.failures: list[str] = []
        globalLogPublisher.addObserver(self)

        def read() -> Settings:
            return load_settings(options, environ, folder)

        self._service: GatewayService = build_gateway(read(), reactor, read)

    async def start(self) -> Gateway:
        """Listen, and wait until the store was tried."""
        self._service.privilegedStartService()
        self._service.startService()
        await until(lambda: self._service._ports.open)
        (self._listening,) = [one.port for one in self._service._ports.open]
        address: Any = self._listening.getHost()
        self.port: int = address.port
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        return self

    async def stop(self) -> None:
        """Stop in the daemon's own way; nothing unforeseen was logged."""
        # A stop with clients connected is a test of its own.
        await until(lambda: not self.connections, 3.0)
        await self.stop_now()

    async def stop_now(self) -> None:
        """Stop, whoever is connected."""
        await within(10, self._service.stopService())
        globalLogPublisher.removeObserver(self)
        assert not self.failures, "\n".join(self.failures)

    def reload(self) -> None:
        """Read the configuration's file anew."""
        self._service.reload()

    async def prune(self) -> None:
        """Prune now, instead of in a while."""
        await self._service._prune()

    @property
    def agents(self) -> AgentService:
        """Who owns the runs."""
        return self._service._agents

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return self._service._site.connections

    @property
    def listening_socket(self) -> Any:
        """The kernel's socket; its options pass to the connections."""
        port: Any = self._listening
        return port.socket

    async def when_idle(self) -> None:
        """Return when no run and no connection is left."""
        await until(lambda: self.agents.idle and not self.connections)

    def __call__(self, event: LogEvent) -> None:
        """Note a line of the log; the publisher calls this."""
        if not event.get("log_namespace", "").startswith("moltbot_gw"):
            return
        line = formatEvent(event)
        self.log.append(line)
        if "log_failure" in event:
            self.failures.append(f"{line}\n{event['log_failure'].getTraceback()}")


async def with_provider(
    clean: None, provider: FakeProvider, tmp_path: Path
) -> AsyncIterator[Gateway]:
    """A gateway in front of the fake provider."""
    gateway = await Gateway(tmp_path, configuration(provider)).start()
    yield gateway
    await gateway.stop()


# -- a client that does what a test says


def request_bytes(body: object, token: str = TOKEN, **headers: str) -> bytes:
    """Return a POST of *body* to the completions, after which the connection closes."""
    data = json.dumps(body).encode()
    fields = {
        "Host": "localhost",
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Content-Length": str(len(data)),
        "Connection": "close",
    }
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in fields.items()]
    top = "\r\n".join(["POST /v1/chat/completions HTTP/1.1", *lines, "", ""])
    return top.encode() + data


def ask(text: str, **members: object) -> dict[str, object]:
    """Return the body of a request that says *text*."""
    return {"messages": [{"role": "user", "content": text}], **members}


@attrs.frozen
class Reply:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """Return what a stream carries, its end marker as a string."""
        data = [part for part in self.body.decode().split("\n\n") if part]
        payloads = [p.removeprefix("data: ") for p in data if p.startswith("data: ")]
        return [p if p == "[DONE]" else json.loads(p) for p in payloads]

    def text(self) -> str:
        """Return the assistant's words in a stream."""
        return "".join(
            choice["delta"].get("content") or ""
            for event in self.events()
            if event != "[DONE]"
            for choice in event.get("choices", ())
        )


class Client(Protocol):
    """One connection: collects what comes while it reads."""

    transport: Any

    def __init__(self) -> None:
        self.received = bytearray()
        self.closed: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.closed.callback(None)

    def pause(self) -> None:
        self.transport.pauseProducing()

    def resume(self) -> None:
        self.transport.resumeProducing()

    async def reply(self) -> Reply:
        """Return the answer once the gateway has closed the connection."""
        await within(20, self.closed)
        return parse(bytes(self.received))


class _Stored:
    """What ``HTTPResponse`` needs of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def parse(data: bytes) -> Reply:
    """Return the whole answer in *data*; raise if it is cut."""
    stored: Any = _Stored(data)
    response = HTTPResponse(stored)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, headers, response.read())


async def connect(gateway: Gateway, kind: type[Client] = Client) -> Client:
    """Return a new connection to *gateway*."""
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", gateway.port)
    client: Client = await connectProtocol(endpoint, kind())
    return client


async def send(gateway: Gateway, body: object, **headers: str) -> Client:
    """Return a new connection on which *body* was sent."""
    client = await connect(gateway)
    client.transport.write(request_bytes(body, **headers))
    return client


async def post(gateway: Gateway, body: object, **headers: str) -> Reply:
    """Return the answer to *body*."""
    client = await send(gateway, body, **headers)
    return await client.reply()
