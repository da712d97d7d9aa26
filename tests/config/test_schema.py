from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from moltbot_gw.config.schema import json_schema, ui_hints


def at(path: str) -> Any:
    """Return the schema of the dotted key *path*; ``*`` is any key, ``[]`` an item."""
    schema: Any = json_schema()
    for name in path.split("."):
        inner = {"*": "additionalProperties", "[]": "items"}.get(name)
        schema = schema[inner] if inner else schema["properties"][name]
    return schema


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


def test_schema_is_draft_7_of_the_whole_file() -> None:
    schema = json_schema()
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert (schema["title"], schema["type"]) == ("MoltbotConfig", "object")
    assert {"gateway", "agents", "models", "channels"} <= schema["properties"].keys()
    assert json.loads(json.dumps(schema)) == schema
    assert not any("$ref" in part for part in objects(schema))


def test_section_refuses_other_keys_where_the_loader_does() -> None:
    assert at("gateway")["additionalProperties"] is False
    assert "additionalProperties" not in at("gateway.tls")
    assert at("env")["additionalProperties"] == {"type": "string", "writeOnly": True}


def test_values_have_type_limits_default_and_description() -> None:
    assert at("gateway.port") == {
        "type": "integer",
        "minimum": 1,
        "maximum": 65535,
        "description": "HTTP and WebSocket",
        "default": 18789,
    }
    assert at("gateway.http.bodyTimeoutSeconds")["exclusiveMinimum"] == 0
    assert at("models.providers.*.baseUrl")["minLength"] == 1
    assert at("gateway.auth.mode")["enum"] == ["token", "password"]
    assert at("channels") == {}


def test_secret_is_written_and_not_read() -> None:
    secret = {"type": "string", "writeOnly": True}
    assert at("gateway.auth.token").items() >= secret.items()
    assert at("models.providers.*.headers.*") == secret


def test_required_keys_are_named() -> None:
    assert at("models.providers.*")["required"] == ["baseUrl", "models"]
    assert at("models.providers.*.models.[]")["required"] == ["id", "name"]


def test_alternatives_are_all_there() -> None:
    name, choice = at("agents.list.[].model")["anyOf"]
    assert (name["type"], choice["type"]) == ("string", "object")
    flag, auto = at("commands.native")["anyOf"]
    assert (flag["type"], auto["enum"]) == ("boolean", ["auto"])


def test_hints_label_explain_and_mark_secrets() -> None:
    hints = ui_hints()
    assert hints["gateway.port"] == {"label": "Port", "help": "HTTP and WebSocket"}
    token = hints["gateway.auth.token"]
    assert (token["label"], token["sensitive"]) == ("Token", True)
    assert hints["models.providers.*.apiKey"]["label"] == "Api key"
    assert hints["models.providers.*.models[].headers.*"] == {"sensitive": True}
    assert "label" in hints["agents.list[].identity.avatar"]
