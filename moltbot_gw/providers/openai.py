"""Any server that speaks OpenAI Chat Completions, always streamed."""

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
from moltbot_gw.wire.openai import ChatStreamDecoder, decode_error, decode_reply
from moltbot_gw.wire.openai_request import Dialect, encode_request


@implementer(IModelProvider)
class OpenAIProvider:
    """Streams chat completions from one server."""

    def __init__(
        self,
        settings: ServerSettings,
        dialects: Mapping[str, Dialect],
        default_dialect: Dialect,
        client: ProviderClient,
        clock: IReactorTime,
    ) -> None:
        """*dialects* has those of some models; the others have *default_dialect*."""
        self._dialects = dialects
        self._default_dialect = default_dialect
        chat_format = ModelFormat(
            encode=self._encode,
            decoder=lambda model: ChatStreamDecoder(),
            decode_reply=lambda body, model: decode_reply(body),
            decode_error=decode_error,
        )
        self._model = HTTPModel(settings, chat_format, client, clock)

    def stream(self, request: ModelRequest, sink: IRunSink) -> Awaitable[Completion]:
        return self._model.stream(request, sink)

    def close(self) -> Deferred[None]:
        return self._model.close()

    def _encode(self, request: ModelRequest) -> bytes:
        dialect = self._dialects.get(request.model, self._default_dialect)
        return encode_request(request, dialect)
