"""The site: what every connection of the HTTP edge shares, and the access log."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web.resource import IResource
from twisted.web.server import Site

from moltbot_gw.agents.report import RunReport
from moltbot_gw.errors import GatewayError
from moltbot_gw.http.accesslog import AccessLog
from moltbot_gw.http.channel import GatewayChannel
from moltbot_gw.http.crowd import Crowd
from moltbot_gw.http.gate import NOBODY
from moltbot_gw.http.policy import SitePolicy
from moltbot_gw.http.request import GatewayRequest
from moltbot_gw.principals import Principal
from moltbot_gw.tallies import Counts


class Stream(Protocol):
    """An answer that goes on: *paused* while its client takes nothing."""

    paused: bool

    @property
    def unread(self) -> int:
        """How many characters wait for the client in its run."""


class GatewaySite(Site):
    """Builds hardened channels, and logs one line a request without its query.

    *streams* are the event streams that are open.  Since the start *answers* counts
    requests by route (``-`` for none), status and name of the key, *stalled* the
    connections that were cut because their client took nothing, *crowded_out* those
    that were one too many.  *policy* may be replaced at any time.
    """

    noisy = False
    requestFactory = GatewayRequest

    def __init__(
        self,
        resource: IResource,
        *,
        policy: SitePolicy,
        clock: IReactorTime,
        access_log: AccessLog,
        max_connections: int = 2**31,
    ) -> None:
        super().__init__(
            resource, timeout=None, reactor=clock, parsePOSTFormSubmission=False
        )
        self.policy = policy
        self._clock = clock
        self._access_log = access_log
        self._crowd = Crowd(
            most=max_connections,
            # Who is counted must be counted by the same rule when he goes.
            most_per_address=policy.max_connections_per_address,
            trusted=policy.trusted_proxies,
            clock=clock,
        )
        self._channels: dict[GatewayChannel, object] = {}
        self.streams: set[Stream] = set()
        self.answers = Counts("route", "status", "key")
        self.stalled = 0
        self.crowded_out = 0
        self._empty: Deferred[None] | None = None
        self.winding_up = False

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if not self._crowd.admits(getattr(addr, "host", None)):
            self.crowded_out += 1
            return None
        channel = GatewayChannel(self._clock)
        channel.factory = self
        channel.site = self
        channel.requestFactory = self.requestFactory
        return channel

    def wind_up(self) -> None:
        """Take one request more of each connection that has had none; close the idle.

        Whoever is answered from now on is told to connect again for the next request.
        """
        self.winding_up = True
        for channel in tuple(self._channels):
            channel.wind_up()

    async def close(self, seconds: float, error: GatewayError) -> None:
        """Close all connections once all is sent; by force after *seconds*.

        A request that is on its way, or may be, is answered with *error*: its client
        has found the port open, and shall not be cut off without a word.
        """
        if not self._channels:
            self._access_log.flush()
            return
        empty = self._empty = Deferred()
        timer = self._clock.callLater(seconds, self.abort_all)
        for channel in tuple(self._channels):
            channel.leave(error)
        try:
            await empty
        finally:
            if timer.active():
                timer.cancel()
            self._access_log.flush()

    def opened(self, channel: GatewayChannel) -> None:
        """Note a new connection."""
        host = getattr(channel.transport.getPeer(), "host", None)
        self._channels[channel] = host
        self._crowd.enter(host)

    def lost(self, channel: GatewayChannel) -> None:
        """Forget a connection."""
        self._crowd.leave(self._channels.pop(channel))
        if not self._channels and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._channels)

    def abort_all(self) -> None:
        """Close all connections at once; what was not yet sent is lost."""
        for channel in tuple(self._channels):
            channel.abort()

    def startFactory(self) -> None:
        """Twisted's access log, and its clock that ticks every second, are not used."""

    def stopFactory(self) -> None:
        """Write the last lines of the access log."""
        self._access_log.flush()

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/1.1 alone: HTTP/2 would go round our channel."""
        return [b"http/1.1"]

    def log(self, request: GatewayRequest) -> None:  # type: ignore[override]
        """Log a finished request."""
        method = _word(request.method)
        route = request.route.name if request.route else "-"
        millis = int((self._clock.seconds() - request.started) * 1000)
        request_id = request.request_id.decode("ascii")
        key = _key_of(request.principal)
        self.answers.add(route, str(request.code), key)
        if request.run_report is None:
            run_id = request.run_id or "-"
            report = RunReport(f"run={run_id}", {"run_id": run_id})
        else:
            report = request.run_report()
        named = f" key={key}" if key else ""
        self._access_log.note(
            f"{method} {route} {request.code} {millis} ms"
            f" request={request_id} {report.words}{named}",
            method=method,
            route=route,
            status=request.code,
            millis=millis,
            request_id=request_id,
            key=key,
            **report.fields,
        )

    def log_refusal(
        self,
        request: GatewayRequest | None,
        method: bytes,
        error: GatewayError,
        request_id: bytes,
    ) -> None:
        """Log a request (None: not even that) that was refused before it was whole."""
        word = _word(method)
        name = request.route.name if request and request.route else "-"
        shown_id = request_id.decode("ascii")
        key = _key_of(request.principal) if request else ""
        self.answers.add(name, str(error.status), key)
        named = f" key={key}" if key else ""
        self._access_log.note(
            f"{word} {name} {error.status} {error.code} request={shown_id}{named}",
            method=word,
            route=name,
            status=error.status,
            code=error.code,
            request_id=shown_id,
            key=key,
        )


def _key_of(principal: Principal) -> str:
    """Return the name of the key that was used, empty for none and for the secret."""
    return "" if principal is NOBODY else principal.name


def _word(method: bytes) -> str:
    """Return a method as one short printable word."""
    return method[:16].decode("ascii", "replace")
