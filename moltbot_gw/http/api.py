"""The Klein router: canonical paths to handlers, and failures to answers.

Klein stays behind this module.  The gate has decided path, method and right before; the
error handlers here keep Klein's and Twisted's HTML pages away from our clients.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from klein import Klein
from klein.resource import KleinResource
from twisted.logger import Logger
from twisted.python.failure import Failure
from werkzeug.exceptions import HTTPException

from moltbot_gw.errors import GatewayError, InternalError, NotFound
from moltbot_gw.http.answers import prepare_error
from moltbot_gw.http.completions import CompletionsHandler
from moltbot_gw.http.models import ModelsHandler
from moltbot_gw.http.request import GatewayRequest
from moltbot_gw.wire.chat_response import render_error
from moltbot_gw.wire.sse import DONE

_log = Logger()


def build_api(completions: CompletionsHandler, models: ModelsHandler) -> KleinResource:
    """Return the leaf resource that serves the HTTP edge."""
    app = Klein()
    app.url_map.strict_slashes = False
    app.url_map.redirect_defaults = False
    app.url_map.merge_slashes = False

    @app.route("/v1/chat/completions", methods=["POST"])
    def post_completion(request: Any) -> Coroutine[Any, Any, bytes | None]:
        return completions.post(request)

    @app.route("/v1/models", methods=["GET"])
    def get_models(request: Any) -> bytes:
        return models.get_list(request)

    @app.route("/v1/models/<path:name>", methods=["GET"])
    def get_model(request: Any, name: str) -> bytes:
        return models.get_one(request, name)

    @app.handle_errors(Exception)
    def answer_failure(request: Any, failure: Failure) -> bytes | None:
        return _answer_failure(request, failure)

    return app.resource()


def _answer_failure(request: GatewayRequest, failure: Failure) -> bytes | None:
    error = failure.value
    if isinstance(error, HTTPException):
        error = NotFound("There is nothing at this path.")
    if not isinstance(error, GatewayError):
        _log.failure(
            "request {id} failed", failure=failure, id=request.request_id.decode()
        )
        error = InternalError(
            f"The gateway failed; its log knows more under request id"
            f" {request.request_id.decode()}."
        )
    if not request.startedWriting:
        return prepare_error(request, error)
    request.write(b"data: " + render_error(error) + b"\n\n" + DONE)
    request.end_broken()
    return None
