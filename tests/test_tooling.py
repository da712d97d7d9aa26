"""A tool's parameters: what models are told of them, and what becomes of theirs."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from msgspec import Meta

from moltbot_gw.messages import ToolSpec
from moltbot_gw.tooling import Tool, ToolContext, ToolFailed, ToolParams, ToolResult


class ReadParams(ToolParams, frozen=True, kw_only=True):
    path: Annotated[str, Meta(description="Path of the file")]
    first_line: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="From here")
    ] = None
    extract_mode: Literal["text", "markdown"] = "text"
    env: dict[str, str] = {}


async def _read(params: ReadParams, context: ToolContext) -> ToolResult:
    return ToolResult(content=params.path)


READ = Tool(
    name="read",
    description="Read a file.",
    params=ReadParams,
    run=_read,
    aliases={"file_path": "path"},
)


def test_models_are_told_a_plain_schema() -> None:
    assert READ.spec() == ToolSpec(
        name="read",
        description="Read a file.",
        parameters={
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "Path of the file"},
                "firstLine": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "From here",
                },
                "extractMode": {"enum": ["markdown", "text"]},
                "env": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "required": ["path"],
        },
    )


def test_arguments_become_checked_parameters() -> None:
    parsed = READ.parse('{"path": "a", "firstLine": 3, "unknown": 1}')
    assert parsed == ReadParams(path="a", first_line=3)


def test_an_alias_stands_for_its_parameter_unless_that_is_there() -> None:
    assert READ.parse('{"file_path": "a"}').path == "a"
    assert READ.parse('{"file_path": "a", "path": "b"}').path == "b"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("", "missing required field `path`"),
        ("[]", "must be a JSON object"),
        ("{", "truncated"),
        ('{"path": 1}', "$.path"),
        ('{"path": "a", "firstLine": 0}', "$.firstLine"),
        ('{"path": "a", "extractMode": "x"}', "$.extractMode"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_a_bad_call_says_what_is_wrong(arguments: str, problem: str) -> None:
    with pytest.raises(ToolFailed, match=r"^read: ") as failed:
        READ.parse(arguments)
    assert problem in failed.value.message
