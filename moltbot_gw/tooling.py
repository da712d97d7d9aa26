"""What a tool of an agent is: a name, parameters, and a coroutine that does it.

Tools know nothing of runs, and runs nothing of particular tools; both know this module.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import msgspec

from moltbot_gw.messages import Content, ToolSpec

MAX_PROBLEM_CHARS = 500


class ToolFailed(Exception):
    """A tool could not do what it was asked; the model reads *message* and goes on.

    It is no failure of the run.  The message names the parameter and the fix, and may
    show what the model may see anyhow.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool found or did.

    *content* is what the model reads; *details* the same for programs, as JSON values.
    """

    content: Content
    details: Mapping[str, Any] | None = None


def json_result(value: Mapping[str, Any]) -> ToolResult:
    """Return *value* as text that is easy to read, and as JSON values."""
    data = msgspec.json.encode(value)
    text = msgspec.json.format(data, indent=2).decode()
    return ToolResult(content=text, details=msgspec.json.decode(data))


class ToolParams(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of a tool's parameters, by their names on the wire.

    A field's words for the model stand in ``Annotated[..., Meta(description=...)]``.
    """


@attrs.frozen(kw_only=True, eq=False)
class ToolContext:
    """On whose behalf a tool is called.

    *session_key* is the store's; *model* reads ``provider/model``; *workspace* may not
    exist.  *settings* are what somebody has set for the session, for tools that look at
    it (``exec``).  *update* shows watchers what the tool has brought so far, as text;
    call it as often as there is something.
    """

    run_id: str
    agent_id: str
    session_key: str
    session_id: str
    model: str
    workspace: Path
    call_id: str
    update: Callable[[str], None]
    exec_security: str | None = None
    exec_ask: str | None = None
    exec_host: str | None = None


@attrs.frozen(kw_only=True, eq=False)
class Tool:
    """One tool.

    *run* gets parameters of the type *params* and may take as long as the run may;
    cancelling it must leave nothing behind (no process, no socket, no half file).  It
    raises ``ToolFailed``; any other exception is a defect of ours, which the model is
    told of in general words.  *aliases* are other names of parameters that models are
    used to.  *label* returns a few words on a call for people (a path, a command).
    """

    name: str
    description: str
    params: type[ToolParams]
    run: Callable[[Any, ToolContext], Awaitable[ToolResult]]
    aliases: Mapping[str, str] = {}
    label: Callable[[Any], str | None] = lambda params: None
    _spec: ToolSpec = attrs.field(init=False)

    @_spec.default
    def _make_spec(self) -> ToolSpec:
        return ToolSpec(
            name=self.name,
            description=self.description,
            parameters=schema_of(self.params),
        )

    def spec(self) -> ToolSpec:
        """Return what models are told of it."""
        return self._spec

    def parse(self, arguments: str) -> Any:
        """Return checked parameters; raise ``ToolFailed`` that says what is wrong.

        *arguments* is JSON text as a model wrote it; empty means none.
        """
        try:
            found = msgspec.json.decode(arguments or "{}")
            if not isinstance(found, dict):
                raise ToolFailed(f"{self.name}: the arguments must be a JSON object.")
            for alias, name in self.aliases.items():
                if alias in found:
                    found.setdefault(name, found.pop(alias))
            return msgspec.convert(found, self.params)
        except (ValueError, RecursionError) as error:
            # msgspec's ValidationError is a ValueError and names the place.
            problem = str(error)[:MAX_PROBLEM_CHARS]
            raise ToolFailed(f"{self.name}: bad arguments: {problem}") from None


@cache
def schema_of(params: type[ToolParams]) -> dict[str, Any]:
    """Return the JSON Schema of *params*, whole in itself.

    Providers differ in what they take of JSON Schema; a plain object without
    references is taken by all.
    """
    (schema,), components = msgspec.json.schema_components([params])
    found: dict[str, Any] = components[schema["$ref"].rpartition("/")[2]]
    return {
        "type": "object",
        "properties": {
            name: _plain(field) for name, field in found.get("properties", {}).items()
        },
        "required": list(found.get("required", ())),
    }


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    """Return *field* without defaults, and without the choice of null."""
    field = {key: value for key, value in field.items() if key != "default"}
    choices = [c for c in field.pop("anyOf", ()) if c != {"type": "null"}]
    if len(choices) == 1:
        field = {**choices[0], **field}
    elif choices:
        field["anyOf"] = choices
    return field
