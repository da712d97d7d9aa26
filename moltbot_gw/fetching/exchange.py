"""One request to one server, over a connection of its own that is closed behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from moltbot_gw.fetching.addresses import IPAddress
from moltbot_gw.fetching.body import BodyReader, Unpacking, too_large
from moltbot_gw.fetching.meter import CheckedEndpoint
from moltbot_gw.fetching.urls import Target
from moltbot_gw.fetching.values import (
    Fetched,
    FetchFailed,
    FetchLimits,
    media_type_of,
)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BROKEN = (RequestTransmissionFailed, ResponseFailed, ResponseNeverReceived)


@implementer(IAgentEndpointFactory)
class _OneEndpoint:
    """Gives Twisted's agent the endpoint that we have made, whatever it reads."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self._endpoint


class Exchange:
    """Asks *target* at *addresses*, which were checked.

    ``ask`` first, then at most once ``read``; ``close`` always, in whatever state.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        target: Target,
        addresses: Sequence[IPAddress],
        tls_policy: IPolicyForHTTPS,
        limits: FetchLimits,
    ) -> None:
        self._reactor = reactor
        self._target = target
        self._limits = limits
        self._tls_policy = tls_policy
        self._endpoint = CheckedEndpoint(
            reactor=reactor,
            addresses=addresses,
            port=target.port,
            max_bytes=limits.max_bytes,
            secure=self._secure,
        )

    async def ask(self) -> IResponse:
        """Send the request; return the answer when its head is there."""
        agent = Agent.usingEndpointFactory(self._reactor, _OneEndpoint(self._endpoint))
        url = self._target.url.encode("ascii")
        try:
            response: IResponse = await agent.request(b"GET", url, self._headers())
        except (ConnectError, ConnectingCancelledError, *_BROKEN) as error:
            raise self._told(error) from error
        assert self._endpoint.meter is not None
        self._endpoint.meter.head_is_over()
        return response

    async def read(self, response: IResponse) -> Fetched:
        """Return *response* with its body; raise ``FetchFailed`` if nobody wants it."""
        content_type = _header(response, b"Content-Type")
        if not 200 <= response.code < 300:
            raise FetchFailed(f"{self._target.host} answered {response.code}.")
        if not self._limits.takes(media_type_of(content_type)):
            shown = media_type_of(content_type)[:80] or "of no type"
            raise FetchFailed(f"The answer is {shown}, which is not wanted here.")
        if (
            isinstance(response.length, int)
            and response.length > self._limits.max_bytes
        ):
            raise too_large(self._limits.max_bytes)
        encoding = _header(response, b"Content-Encoding").strip().lower()
        reader = BodyReader(Unpacking(encoding, self._limits.max_bytes))
        response.deliverBody(reader)
        meter = self._endpoint.meter
        assert meter is not None
        try:
            body = await reader.done
        except FetchFailed as error:
            raise (meter.trouble or error) from None
        if meter.trouble is not None:  # our own cut looks like the end of a body
            raise meter.trouble
        return Fetched(
            url=self._target.url,
            status=response.code,
            content_type=content_type,
            body=body,
        )

    def close(self) -> None:
        """Close the connection at once."""
        if self._endpoint.meter is not None:
            self._endpoint.meter.abort()

    def _secure(self, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        if self._target.scheme == "http":
            return endpoint
        creator = self._tls_policy.creatorForNetloc(
            self._target.host.encode("ascii"), self._target.port
        )
        return wrapClientTLS(creator, endpoint, self._reactor)

    def _headers(self) -> Headers:
        found = {
            "Host": self._target.netloc,
            "User-Agent": self._limits.user_agent,
            "Accept": self._limits.accept,
            "Accept-Encoding": "gzip",
        }
        headers: Headers = Headers()
        for name, value in found.items():
            headers.addRawHeader(name.encode("ascii"), value.encode("ascii", "replace"))
        return headers

    def _told(self, error: Exception) -> Exception:
        """Return what to raise for *error*: a failure in words, or that we gave up."""
        meter = self._endpoint.meter
        host = self._target.host
        reasons = _reasons(error)
        if meter is not None and meter.trouble is not None:
            return meter.trouble
        if any(
            isinstance(r, (CancelledError, ConnectingCancelledError)) for r in reasons
        ):
            return CancelledError()
        if any(isinstance(r, (SSL.Error, VerificationError)) for r in reasons):
            return FetchFailed(f"{host} does not prove who it is, or speaks no TLS.")
        if isinstance(error, ConnectError):
            return FetchFailed(f"{host} takes no connection.")
        return FetchFailed(f"{host} gave no answer that is HTTP.")


def find_location(response: IResponse) -> bytes | None:
    """Return where *response* redirects to, None if it is no redirect."""
    if response.code not in _REDIRECTS:
        return None
    values: Sequence[bytes] = response.headers.getRawHeaders(b"Location", ())
    if len(values) != 1:
        raise FetchFailed("The server redirects without saying where.")
    return values[0]


def _header(response: IResponse, name: bytes) -> str:
    values: Sequence[bytes] = response.headers.getRawHeaders(name, ())
    return values[-1].decode("latin-1") if values else ""


def _reasons(error: Exception) -> list[BaseException]:
    """Return *error* and what has caused it."""
    nested: list[Failure] = getattr(error, "reasons", [])
    return [error, *(f.value for f in nested if f.value is not None)]
