"""The Klein router: canonical paths to handlers, and failures to answers.

Klein stays behind this module: it has the routes, matches paths to them and calls their
handlers.  The gate has decided path, method and right before.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from werkzeug.exceptions import HTTPException

from moltbot_gw.errors import GatewayError, InternalError, NotFound
from moltbot_gw.http.answers import prepare_error
from moltbot_gw.http.completions import CompletionsHandler
from moltbot_gw.http.metrics import MetricsHandler
from moltbot_gw.http.models import ModelsHandler
from moltbot_gw.http.openapi import OpenApiHandler
from moltbot_gw.http.probes import ProbesHandler
from moltbot_gw.http.request import GatewayRequest
from moltbot_gw.http.routes import COMPLETIONS, MODELS, OPENAPI, Route
from moltbot_gw.http.runs import RunsHandler
from moltbot_gw.unheld import unheld
from moltbot_gw.wire.chat_response import render_error
from moltbot_gw.wire.sse import DONE

_log = Logger()


def build_api(
    completions: CompletionsHandler,
    models: ModelsHandler,
    runs: RunsHandler,
    probes: ProbesHandler,
    metrics: MetricsHandler,
) -> Api:
    """Return the leaf resource that serves the HTTP edge."""
    openapi = OpenApiHandler()
    app = Klein()
    app.url_map.strict_slashes = False
    app.url_map.redirect_defaults = False
    app.url_map.merge_slashes = False

    @app.route("/v1/chat/completions", methods=["POST"])
    def post_completion(request: Any) -> Coroutine[Any, Any, bytes | None]:
        return completions.post(request)

    @app.route("/openapi.json", methods=["GET"])
    def get_openapi(request: Any) -> bytes:
        return openapi.get(request)

    @app.route("/v1/models", methods=["GET"])
    def get_models(request: Any) -> bytes:
        return models.get_list(request)

    @app.route("/v1/models/<path:name>", methods=["GET"])
    def get_model(request: Any, name: str) -> bytes:
        return models.get_one(request, name)

    @app.route("/v1/runs/<run_id>", methods=["GET"])
    def get_run(request: Any, run_id: str) -> bytes:
        return runs.get(request, run_id)

    @app.route("/v1/runs/<run_id>/stream", methods=["GET"])
    def get_stream(request: Any, run_id: str) -> Coroutine[Any, Any, bytes | None]:
        return runs.stream(request, run_id)

    @app.route("/v1/runs/<run_id>/cancel", methods=["POST"])
    def cancel_run(request: Any, run_id: str) -> bytes:
        return runs.cancel(request, run_id)

    @app.route("/healthz", methods=["GET"])
    def get_health(request: Any) -> bytes:
        return probes.get_health(request)

    @app.route("/readyz", methods=["GET"])
    def get_readiness(request: Any) -> Coroutine[Any, Any, bytes]:
        return probes.get_readiness(request)

    @app.route("/metrics", methods=["GET"])
    def get_metrics(request: Any) -> Coroutine[Any, Any, bytes]:
        return metrics.get(request)

    return Api(app)


class Api(Resource):
    """Lets the handlers of a Klein application answer.

    Instead of Klein's own resource, for two reasons.  That one matches each request
    anew and asks its result whether it is one of five kinds of page, which cost half of
    a small request; here the matches of fixed paths are kept.  And it writes pages of
    HTML into streams that have failed.
    """

    isLeaf = True

    def __init__(self, app: Klein) -> None:
        super().__init__()
        self._app = app
        self._map = app.url_map.bind("gateway")
        self._fixed = {
            route: self._match(route, method)
            for route in (COMPLETIONS, MODELS, OPENAPI)
            for method in route.methods[:1]
        }

    def render(self, request: GatewayRequest) -> int:
        """Answer *request*; when its client goes, its handler is cancelled."""
        handling: Deferred[bytes | None] = maybeDeferred(self._handle, request)
        request.handling = handling
        handling.addBoth(_handled, request)
        return NOT_DONE_YET

    def _handle(self, request: GatewayRequest) -> Any:
        route = request.route
        assert route is not None
        found = self._fixed.get(route)
        if found is None:
            found = self._match(route, request.method.decode("ascii"))
        endpoint, arguments = found
        return self._app.execute_endpoint(endpoint, request, **arguments)

    def _match(self, route: Route, method: str) -> tuple[str, dict[str, Any]]:
        path = b"/" + b"/".join(route.segments)
        endpoint, arguments = self._map.match(path.decode("utf-8"), method)
        return endpoint, dict(arguments)


def _handled(result: bytes | Failure | None, request: GatewayRequest) -> None:
    """End *request* with what its handler came to: a body, or what it failed with."""
    try:
        body = _failed(result, request) if isinstance(result, Failure) else result
        if not request.is_gone:
            if body is None:
                request.finish()
            else:
                request.answer(body)
    except Exception:
        request.processingFailed(Failure())


def _failed(failure: Failure, request: GatewayRequest) -> bytes | None:
    unheld(failure)
    if request.is_gone:
        if not failure.check(CancelledError):
            _log.failure("request {id} failed", failure, id=request.request_id)
        return None
    return _answer_failure(request, failure)


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
