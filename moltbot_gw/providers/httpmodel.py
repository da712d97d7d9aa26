"""One model service over HTTP, whatever format it speaks; answers are always streamed.

The format is a ``ModelFormat``.  All else is alike for every service: what a status
means, what is waited for and how long, and what a failure may say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionLost,
    DNSLookupError,
)
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.client import (
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.iweb import IResponse
from zope.interface import implementer

from moltbot_gw.errors import (
    ContextOverflow,
    FailureReason,
    ProviderFailed,
    ProviderOverloaded,
    ProviderTimedOut,
    ProviderUnauthorized,
)
from moltbot_gw.events import Completion, FinishReason, ModelEvent, Usage
from moltbot_gw.interfaces import IModelProvider, IRunSink
from moltbot_gw.logs.words import Words
from moltbot_gw.messages import ModelRequest
from moltbot_gw.providers.client import (
    CompressedAnswer,
    ProviderClient,
    discard,
    was_cancelled,
)
from moltbot_gw.providers.failures import (
    reason_in_stream,
    reason_of,
    retry_after_of,
)
from moltbot_gw.providers.headers import FixedHeaders
from moltbot_gw.providers.safetext import safe_text
from moltbot_gw.providers.streaming import (
    BodyTooLarge,
    BoundedBody,
    ProviderSilent,
    StreamCut,
    StreamDecoder,
    StreamingBody,
)
from moltbot_gw.wire.providererror import ProviderError
from moltbot_gw.wire.sse import EventTooLarge

_log = Logger()

MAX_ERROR_BYTES = 64 * 1024
MAX_REPLY_BYTES = 32 * 1024 * 1024
"""A whole completion from a server that does not stream."""

_KINDS: Mapping[FailureReason, type[ProviderFailed]] = {
    "rate_limit": ProviderOverloaded,
    "overloaded": ProviderOverloaded,
    "auth": ProviderUnauthorized,
    "timeout": ProviderTimedOut,
    "context_overflow": ContextOverflow,
}


class ModelFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What is particular to one format of requests and answers.

    *encode* returns the body of a request for a stream, *decoder* a decoder for one
    streamed answer of a model.  *decode_reply* reads the whole answer of a model on a
    server that does not stream, or raises ``ProviderError``; *decode_error* reads the
    body of an error status and never raises.
    """

    encode: Callable[[ModelRequest], bytes]
    decoder: Callable[[str], StreamDecoder]
    decode_reply: Callable[[bytes, str], tuple[list[ModelEvent], FinishReason, Usage]]
    decode_error: Callable[[bytes], ProviderError]


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One provider as it is configured.

    *headers* go with every request, those in *model_headers* with one model's.
    *secrets* never leave in a message.  Times are in seconds.
    """

    name: str
    url: str
    headers: FixedHeaders
    model_headers: Mapping[str, FixedHeaders]
    secrets: Sequence[str]
    idle_timeout: float

    def __repr__(self) -> str:
        """Leave out the headers: they hold the key."""
        return f"ServerSettings(name={self.name!r}, url={self.url!r})"


@implementer(IModelProvider)
class HTTPModel:
    """Asks one server, in one format."""

    def __init__(
        self,
        settings: ServerSettings,
        model_format: ModelFormat,
        client: ProviderClient,
        clock: IReactorTime,
    ) -> None:
        self._settings = settings
        self._format = model_format
        self._client = client
        self._clock = clock

    def close(self) -> Deferred[None]:
        return self._client.close()

    async def stream(self, request: ModelRequest, sink: IRunSink) -> Completion:
        response = await self._send(request)
        if response.code != 200:
            raise await self._refusal(response)
        content_type = response.headers.getRawHeaders(b"Content-Type", [b""])[0]
        is_json = content_type.split(b";")[0].strip().lower() == b"application/json"
        try:
            if is_json:
                completion = await self._read_whole(response, request.model, sink)
            else:
                completion = await StreamingBody(
                    sink,
                    self._format.decoder(request.model),
                    self._clock,
                    self._settings.idle_timeout,
                ).read(response)
        except ProviderSilent:
            raise self._failed("stopped sending", "timeout") from None
        except StreamCut:
            raise self._failed(
                "ended its answer in the middle", "server_error"
            ) from None
        except (EventTooLarge, BodyTooLarge):
            raise self._failed(
                "sent something that is too large", "server_error"
            ) from None
        except ProviderError as error:
            raise self._reported(error) from None
        return completion

    async def _send(self, request: ModelRequest) -> IResponse:
        settings = self._settings
        waiting = self._client.post(
            settings.model_headers.get(request.model, settings.headers),
            self._format.encode(request),
        )
        # In the turn after: what came in a stall is read between the two.
        later = self._clock.callLater
        timer = later(settings.idle_timeout, later, 0, waiting.cancel)
        try:
            return await waiting
        except CompressedAnswer:
            raise self._failed(
                "compressed its answer, unasked", "server_error"
            ) from None
        except (
            CancelledError,
            ConnectError,
            ConnectingCancelledError,
            ConnectionLost,
            DNSLookupError,
            ResponseFailed,
            ResponseNeverReceived,
        ) as error:
            if timer.active() and was_cancelled(error):
                raise CancelledError from None
            raise self._unreachable(error, timed_out=not timer.active()) from None
        finally:
            if timer.active():
                timer.cancel()

    async def _read_whole(
        self, response: IResponse, model: str, sink: IRunSink
    ) -> Completion:
        """Read an answer that is not streamed, from a server that does not stream."""
        body = await BoundedBody(
            MAX_REPLY_BYTES, self._clock, self._settings.idle_timeout, whole=True
        ).read(response)
        events, reason, usage = self._format.decode_reply(body, model)
        sink.extend(events)
        return Completion(finish_reason=reason, usage=usage)

    async def _refusal(self, response: IResponse) -> ProviderFailed:
        """Return the error that a status other than 200 stands for."""
        if 300 <= response.code < 400:
            discard(response)
            return self._failed(
                "answered with a redirect, which is not followed", "unreachable"
            )
        body = await BoundedBody(MAX_ERROR_BYTES, self._clock, 10.0, whole=False).read(
            response
        )
        error = self._format.decode_error(body)
        text = self._safe(error.message)
        _log.warn(
            "provider {name} answered {status}: {text}",
            name=self._settings.name,
            status=response.code,
            text=Words(text),
        )
        reason = reason_of(response.code, error)
        said = f"answered {response.code}" + (f": {text}" if text else "")
        if reason == "auth":
            said = "does not accept our key"
        return self._failed(said, reason, retry_after_of(response))

    def _reported(self, error: ProviderError) -> ProviderFailed:
        text = self._safe(error.message) or "gave no reason"
        _log.warn(
            "provider {name} failed in its answer: {text}",
            name=self._settings.name,
            text=Words(text),
        )
        return self._failed(f"failed: {text}", reason_in_stream(error))

    def _unreachable(self, error: Exception, *, timed_out: bool) -> ProviderFailed:
        reasons = getattr(error, "reasons", ())
        names = [type(error).__name__, *(r.type.__name__ for r in reasons)]
        _log.warn(
            "provider {name} cannot be reached: {reason}",
            name=self._settings.name,
            reason=", ".join(names),
        )
        if timed_out or isinstance(error, ConnectTimeout):
            return self._failed("did not answer in time", "timeout")
        what = "closed the connection without an answer"
        if isinstance(error, DNSLookupError):
            what = "cannot be found (its host name does not resolve)"
        elif isinstance(error, ConnectError):
            what = "cannot be reached"
        elif any("SSL" in reason.type.__module__ for reason in reasons) or any(
            "Verif" in name or "Certificate" in name for name in names
        ):
            what = "does not prove its identity (TLS)"
        return self._failed(what, "unreachable")

    def _failed(
        self, what: str, reason: FailureReason, retry_after: int | None = None
    ) -> ProviderFailed:
        return _KINDS.get(reason, ProviderFailed)(
            f'The model provider "{self._settings.name}" {what}.',
            reason=reason,
            retry_after=retry_after,
        )

    def _safe(self, text: str) -> str:
        return safe_text(text, self._settings.secrets).rstrip(".")
