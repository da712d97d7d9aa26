"""``GET /openapi.json``: what the HTTP edge serves, as an OpenAPI 3.1 document.

The request's schema is made from the very types that parse it; the answers are written
down in ``openapi_schemas``, and a test sends what the document allows to a real daemon.
A new endpoint is a new entry of ``_PATHS``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from moltbot_gw import __version__
from moltbot_gw.http.answers import prepare_json
from moltbot_gw.http.openapi_schemas import FOLDER, SCHEMAS, STRING, Json, reference
from moltbot_gw.http.request import GatewayRequest
from moltbot_gw.wire.chat_request import request_schema

_REASONS = {
    400: "The request is not well-formed, or a value is not allowed (see param).",
    401: "The secret is missing or wrong.",
    403: "The name in Host is not one that the gateway answers to.",
    404: "There is no such thing, or this endpoint is not enabled.",
    408: "The request did not come in time.",
    409: "The idempotency key belongs to another request.",
    413: "The body is too large.",
    414: "The request line is too long.",
    417: "Expect holds something other than 100-continue.",
    429: "Too many runs wait, or too many wrong secrets came from this address.",
    431: "The headers are too large.",
    500: "The gateway failed; its log knows more under the request id.",
    502: "The model's provider failed.",
    503: "The gateway is stopping.",
    504: "The model's provider, or the run, took too long.",
}
_ALWAYS = (400, 401, 403, 404, 408, 413, 414, 417, 429, 431, 500, 503)
_OF_RUNS = (409, 502, 504)
_OF_PROBES = tuple(status for status in _ALWAYS if status != 401)


def _header(name: str, description: str) -> Json:
    return {
        "name": name,
        "in": "header",
        "description": description,
        "schema": {"type": "string", "pattern": "^[!-~]+$", "maxLength": 256},
    }


def _answer(description: str, content: Json | None = None) -> Json:
    answer: Json = {
        "description": description,
        "headers": {"X-Request-Id": {"required": True, "schema": STRING}},
    }
    if content is not None:
        answer["content"] = content
    return answer


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _operation(
    summary: str, answer: Json, errors: tuple[int, ...] = _ALWAYS, **more: Any
) -> Json:
    """Return an operation that gives *answer* or one of *errors*."""
    envelope = _json(reference("Error"))
    failures = {str(s): _answer(_REASONS[s], envelope) for s in sorted(errors)}
    return {"summary": summary, **more, "responses": {"200": answer, **failures}}


def _heads(operation: Json) -> Json:
    """Return the same operation for HEAD, whose answers have no body."""
    answers = {
        status: {k: v for k, v in answer.items() if k != "content"}
        for status, answer in operation["responses"].items()
    }
    return {**operation, "responses": answers}


_MODELS = _operation(
    "List the agents, under the names that a request may call them by",
    _answer("The list.", _json(reference("Models"))),
)
_MODEL = _operation(
    "Show one of the models", _answer("The model.", _json(reference("Model")))
)
_COMPLETION = _operation(
    "Let an agent answer",
    _answer(
        "The answer; with stream: true its chunks as server-sent events, data: [DONE]"
        " at the end.",
        {
            **_json(reference("Completion")),
            "text/event-stream": {},
        },
    ),
    (*_ALWAYS, *_OF_RUNS),
    parameters=[
        _header("X-Moltbot-Agent-Id", "The agent, instead of one named in model."),
        _header("X-Moltbot-Session-Key", "The session that goes on."),
        _header("X-Moltbot-Model", "Another configured model, as provider/model."),
        _header("Idempotency-Key", "Under one key at most one run is made."),
    ],
    requestBody={"required": True, "content": _json(reference("ChatRequest"))},
)
_DOCUMENT = _operation(
    "Show this document", _answer("OpenAPI 3.1.", _json({"type": "object"}))
)
_HEALTH = _operation(
    "Ask whether the process answers",
    _answer("It does.", _json(reference("Health"))),
    _OF_PROBES,
    security=[],
)
_READINESS = _operation(
    "Ask whether to send it work",
    _answer("It is ready.", _json(reference("Readiness"))),
    _OF_PROBES,
    security=[],
)
_READINESS["responses"]["503"] = _answer(
    "It is not ready; this machine and who brings the secret are told why.",
    _json({"anyOf": [reference("Readiness"), reference("Error")]}),
)
_METRICS = _operation(
    "Show figures for Prometheus",
    _answer("Its text format.", {"text/plain": {"schema": STRING}}),
)
_RUN = _operation("Show a run", _answer("The run.", _json(reference("Run"))))
_STREAM = _operation(
    "Read a run from its beginning, or from Last-Event-ID on",
    _answer("Its chunks.", {"text/event-stream": {}}),
)
_STREAM["responses"]["204"] = _answer("It has ended, and all of it was read.")
_CANCEL = _operation("Cut a run off", _answer("It ended.", _json(reference("Run"))))
_CANCEL["responses"]["202"] = _answer("It will end.", _json(reference("Run")))


def _reading(operation: Json, *parameters: Json) -> Json:
    """Return a path that takes GET and HEAD."""
    path: Json = {"get": operation, "head": _heads(operation)}
    return {**path, "parameters": list(parameters)} if parameters else path


def _in_path(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": STRING}


_PATHS: Json = {
    "/v1/chat/completions": {"post": _COMPLETION},
    "/v1/models": _reading(_MODELS),
    "/v1/models/{name}": _reading(_MODEL, _in_path("name")),
    "/v1/runs/{id}": _reading(_RUN, _in_path("id")),
    "/v1/runs/{id}/stream": _reading(_STREAM, _in_path("id")),
    "/v1/runs/{id}/cancel": {"parameters": [_in_path("id")], "post": _CANCEL},
    "/healthz": _reading(_HEALTH),
    "/readyz": _reading(_READINESS),
    "/metrics": _reading(_METRICS),
    "/openapi.json": _reading(_DOCUMENT),
}


def render_openapi() -> bytes:
    """Return the document as JSON."""
    request, parts = request_schema(FOLDER)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Moltbot gateway", "version": __version__},
            "paths": _PATHS,
            "security": [{"secret": []}],
            "components": {
                "securitySchemes": {"secret": {"type": "http", "scheme": "bearer"}},
                "schemas": {**SCHEMAS, **parts, "ChatRequest": request},
            },
        }
    )


class OpenApiHandler:
    """Answers with the document, which is made once."""

    def __init__(self) -> None:
        self._body = render_openapi()

    def get(self, request: GatewayRequest) -> bytes:
        """Return the document."""
        return prepare_json(request, self._body)
