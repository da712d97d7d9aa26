"""Any server that speaks Anthropic Messages, always streamed."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from moltbot_gw.events import Completion
from moltbot_gw.interfaces import IModelProvider, IRunSink
from moltbot_gw.messages import ModelRequest
from moltbot_gw.providers.client import ProviderClient
from moltbot_gw.providers.httpmodel import HTTPModel, ModelFormat, ServerSettings
from moltbot_gw.wire.anthropic import MessageStreamDecoder, decode_message
from moltbot_gw.wire.anthropic_request import ModelLimits, encode_request
from moltbot_gw.wire.openai import decode_error

_UNLISTED = ModelLimits()


@implementer(IModelProvider)
class AnthropicProvider:
    """Streams messages from one server."""

    def __init__(
        self,
        settings: ServerSettings,
        limits: Mapping[str, ModelLimits],
        client: ProviderClient,
        clock: IReactorTime,
    ) -> None:
        """*limits* has those of the models that are known."""
        self._limits = limits
        message_format = ModelFormat(
            encode=self._encode,
            decoder=MessageStreamDecoder,
            decode_reply=decode_message,
            decode_error=decode_error,
        )
        self._model = HTTPModel(settings, message_format, client, clock)

    def stream(self, request: ModelRequest, sink: IRunSink) -> Awaitable[Completion]:
        return self._model.stream(request, sink)

    def close(self) -> Deferred[None]:
        return self._model.close()

    def _encode(self, request: ModelRequest) -> bytes:
        return encode_request(request, self._limits.get(request.model, _UNLISTED))
