"""The bodies of answers, as JSON Schemas for the OpenAPI document."""

from __future__ import annotations

from typing import Any

import msgspec

from moltbot_gw.wire.run_view import RunView

Json = dict[str, Any]

FOLDER = "#/components/schemas/"
"""Where references to schemas point."""

STRING: Json = {"type": "string"}
_COUNT: Json = {"type": "integer", "minimum": 0}


def an_object(required: Json, optional: Json | None = None) -> Json:
    """Return the schema of an object with these members, and with no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def reference(name: str) -> Json:
    """Return what stands for the schema *name*."""
    return {"$ref": FOLDER + name}


_TOOL_CALL = an_object(
    {
        "id": STRING,
        "type": {"const": "function"},
        "function": an_object({"name": STRING, "arguments": STRING}),
    }
)
_USAGE = an_object(
    {"prompt_tokens": _COUNT, "completion_tokens": _COUNT, "total_tokens": _COUNT},
    {
        "prompt_tokens_details": an_object({"cached_tokens": _COUNT}),
        "completion_tokens_details": an_object({"reasoning_tokens": _COUNT}),
    },
)
_CHOICE = an_object(
    {
        "index": {"const": 0},
        "message": an_object(
            {"role": {"const": "assistant"}, "content": {"type": ["string", "null"]}},
            {
                "reasoning_content": STRING,
                "tool_calls": {"type": "array", "items": _TOOL_CALL, "minItems": 1},
            },
        ),
        "finish_reason": {"enum": ["stop", "length", "tool_calls", "content_filter"]},
    }
)
SCHEMAS: Json = {
    "Error": an_object(
        {
            "error": an_object(
                {
                    "message": {"type": "string", "minLength": 1},
                    "type": STRING,
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                }
            )
        }
    ),
    "Model": an_object(
        {
            "id": STRING,
            "object": {"const": "model"},
            "created": _COUNT,
            "owned_by": STRING,
        }
    ),
    "Models": an_object(
        {
            "object": {"const": "list"},
            "data": {"type": "array", "items": reference("Model"), "minItems": 1},
        }
    ),
    "Completion": an_object(
        {
            "id": STRING,
            "object": {"const": "chat.completion"},
            "created": _COUNT,
            "model": STRING,
            "choices": {
                "type": "array",
                "items": _CHOICE,
                "minItems": 1,
                "maxItems": 1,
            },
            "usage": _USAGE,
        }
    ),
    "Health": an_object({"status": {"const": "ok"}}),
    "Readiness": an_object(
        {"status": {"enum": ["ok", "unready"]}},
        {"checks": {"type": "object", "additionalProperties": STRING}},
    ),
    "Run": msgspec.json.schema_components([RunView])[1]["RunView"],
}
"""All that are referred to, but for those of requests."""
