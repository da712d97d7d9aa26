"""Any server that speaks OpenAI Responses, always streamed."""

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
from moltbot_gw.wire.openai import decode_error
from moltbot_gw.wire.responses import ResponseStreamDecoder, decode_response
from moltbot_gw.wire.responses_request import ResponsesDialect, encode_request

_UNLISTED = ResponsesDialect()


@implementer(IModelProvider)
class ResponsesProvider:
    """Streams responses from one server."""

    def __init__(
        self,
        settings: ServerSettings,
        dialects: Mapping[str, ResponsesDialect],
        client: ProviderClient,
        clock: IReactorTime,
    ) -> None:
        """*dialects* has those of the models that are known."""
        self._dialects = dialects
        response_format = ModelFormat(
            encode=self._encode,
            decoder=ResponseStreamDecoder,
            decode_reply=decode_response,
            decode_error=decode_error,
        )
        self._model = HTTPModel(settings, response_format, client, clock)

    def stream(self, request: ModelRequest, sink: IRunSink) -> Awaitable[Completion]:
        return self._model.stream(request, sink)

    def close(self) -> Deferred[None]:
        return self._model.close()

    def _encode(self, request: ModelRequest) -> bytes:
        return encode_request(request, self._dialects.get(request.model, _UNLISTED))
