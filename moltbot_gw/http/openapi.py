"""``GET /openapi.json``: what the HTTP edge serves, as an OpenAPI 3.1 document.

The request's schema is made from the very types that parse it; the answers are written
down here, and a test sends what the document allows to a real daemon.  A new endpoint
is a new entry of ``_PATHS``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from moltbot_gw import __version__
from moltbot_gw.http.answers import prepare_json
from moltbot_gw.http.request import GatewayRequest
from moltbot_gw.wire.chat_request import request_schema

Json = dict[str, Any]

_FOLDER = "#/components/schemas/"
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

_STRING: Json = {"type": "string"}
_COUNT: Json = {"type": "integer", "minimum": 0}


def _object(required: Json, optional: Json | None = None) -> Json:
    """Return the schema of an object with these members, and with no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _ref(name: str) -> Json:
    return {"$ref": _FOLDER + name}


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
        "headers": {"X-Request-Id": {"required": True, "schema": _STRING}},
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
    envelope = _json(_ref("Error"))
    failures = {str(s): _answer(_REASONS[s], envelope) for s in sorted(errors)}
    return {"summary": summary, **more, "responses": {"200": answer, **failures}}


def _heads(operation: Json) -> Json:
    """Return the same operation for HEAD, whose answers have no body."""
    answers = {
        status: {k: v for k, v in answer.items() if k != "content"}
        for status, answer in operation["responses"].items()
    }
    return {**operation, "responses": answers}


_TOOL_CALL = _object(
    {
        "id": _STRING,
        "type": {"const": "function"},
        "function": _object({"name": _STRING, "arguments": _STRING}),
    }
)
_USAGE = _object(
    {"prompt_tokens": _COUNT, "completion_tokens": _COUNT, "total_tokens": _COUNT},
    {
        "prompt_tokens_details": _object({"cached_tokens": _COUNT}),
        "completion_tokens_details": _object({"reasoning_tokens": _COUNT}),
    },
)
_CHOICE = _object(
    {
        "index": {"const": 0},
        "message": _object(
            {"role": {"const": "assistant"}, "content": {"type": ["string", "null"]}},
            {
                "reasoning_content": _STRING,
                "tool_calls": {"type": "array", "items": _TOOL_CALL, "minItems": 1},
            },
        ),
        "finish_reason": {"enum": ["stop", "length", "tool_calls", "content_filter"]},
    }
)
_SCHEMAS: Json = {
    "Error": _object(
        {
            "error": _object(
                {
                    "message": {"type": "string", "minLength": 1},
                    "type": _STRING,
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                }
            )
        }
    ),
    "Model": _object(
        {
            "id": _STRING,
            "object": {"const": "model"},
            "created": _COUNT,
            "owned_by": _STRING,
        }
    ),
    "Models": _object(
        {
            "object": {"const": "list"},
            "data": {"type": "array", "items": _ref("Model"), "minItems": 1},
        }
    ),
    "Completion": _object(
        {
            "id": _STRING,
            "object": {"const": "chat.completion"},
            "created": _COUNT,
            "model": _STRING,
            "choices": {
                "type": "array",
                "items": _CHOICE,
                "minItems": 1,
                "maxItems": 1,
            },
            "usage": _USAGE,
        }
    ),
}

_MODELS = _operation(
    "List the agents, under the names that a request may call them by",
    _answer("The list.", _json(_ref("Models"))),
)
_MODEL = _operation(
    "Show one of the models", _answer("The model.", _json(_ref("Model")))
)
_COMPLETION = _operation(
    "Let an agent answer",
    _answer(
        "The answer; with stream: true its chunks as server-sent events, data: [DONE]"
        " at the end.",
        {
            **_json(_ref("Completion")),
            "text/event-stream": {"schema": _STRING},
        },
    ),
    (*_ALWAYS, *_OF_RUNS),
    parameters=[
        _header("X-Moltbot-Agent-Id", "The agent, instead of one named in model."),
        _header("X-Moltbot-Session-Key", "The session that goes on."),
        _header("X-Moltbot-Model", "Another configured model, as provider/model."),
        _header("Idempotency-Key", "Under one key at most one run is made."),
    ],
    requestBody={"required": True, "content": _json(_ref("ChatRequest"))},
)
_DOCUMENT = _operation(
    "Show this document", _answer("OpenAPI 3.1.", _json({"type": "object"}))
)
_NAME = {"name": "name", "in": "path", "required": True, "schema": _STRING}

_PATHS: Json = {
    "/v1/chat/completions": {"post": _COMPLETION},
    "/v1/models": {"get": _MODELS, "head": _heads(_MODELS)},
    "/v1/models/{name}": {
        "parameters": [_NAME],
        "get": _MODEL,
        "head": _heads(_MODEL),
    },
    "/openapi.json": {"get": _DOCUMENT, "head": _heads(_DOCUMENT)},
}


def render_openapi() -> bytes:
    """Return the document as JSON."""
    request, parts = request_schema(_FOLDER)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Moltbot gateway", "version": __version__},
            "paths": _PATHS,
            "security": [{"secret": []}],
            "components": {
                "securitySchemes": {"secret": {"type": "http", "scheme": "bearer"}},
                "schemas": {**_SCHEMAS, **parts, "ChatRequest": request},
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
