"""One conversation, as values: what sessions keep and what providers are sent."""

from __future__ import annotations

from typing import Any, Literal, Union

import msgspec

# Values of values: there are no circles for the garbage collector to find, and a client
# sends its whole conversation each time.


class TextPart(msgspec.Struct, frozen=True, tag="text", tag_field="type", gc=False):
    """Words inside a message of several parts."""

    text: str


class ImagePart(
    msgspec.Struct,
    frozen=True,
    tag="image",
    tag_field="type",
    omit_defaults=True,
    gc=False,
):
    """A picture in a message: *url* is a ``data:`` URL, *detail* the sender's hint."""

    url: str
    detail: str | None = None


Content = Union[str, tuple[Union[TextPart, ImagePart], ...]]
"""Plain text, or parts in their order."""


class ToolCall(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A call that the model asked for; *arguments* is JSON text as it wrote it.

    *for_client* says that the client's tool of this name was meant, not the agent's.
    """

    id: str
    name: str
    arguments: str
    for_client: bool = False


class UserMessage(
    msgspec.Struct,
    frozen=True,
    tag="user",
    tag_field="role",
    omit_defaults=True,
    gc=False,
):
    """What the person (or the program that speaks for them) said."""

    content: Content
    name: str | None = None


class AssistantMessage(
    msgspec.Struct,
    frozen=True,
    tag="assistant",
    tag_field="role",
    omit_defaults=True,
    gc=False,
):
    """What the model said.

    *text* may be empty beside tool calls.  *stop_reason* is the finish reason of a
    whole message, ``"aborted"`` or ``"error"`` of one that was cut off, and None for
    one that came from a client's own history.  *reasoning_state* is what the provider
    wants to read again (see ``events.ReasoningState``); only the format that wrote it
    understands it.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    stop_reason: str | None = None
    reasoning_state: str = ""


class ToolMessage(
    msgspec.Struct,
    frozen=True,
    tag="tool",
    tag_field="role",
    omit_defaults=True,
    gc=False,
):
    """The result of a tool call; the old ``function`` form has no *tool_call_id*.

    *is_error* says that the tool could not do it, and *content* why.
    """

    content: Content
    tool_call_id: str | None = None
    name: str | None = None
    is_error: bool = False


Message = Union[UserMessage, AssistantMessage, ToolMessage]


class SamplingOptions(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a client may ask of the model beside the words; None means unsaid.

    *response_format* is OpenAI's object as the client sent it; we do not read it.
    """

    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    parallel_tool_calls: bool | None = None


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A tool that a model may call; *parameters* is a JSON Schema, not read by us."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedTool(msgspec.Struct, frozen=True, gc=False):
    """The model must call this tool."""

    name: str


ToolChoice = Union[Literal["auto", "none", "required"], NamedTool]
"""Whether the model may, must not or must call a tool, and which."""


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call of a model: *messages* is never empty, *system* may be.

    *tool_choice* counts only where there are *tools*.
    """

    model: str
    system: str
    messages: tuple[Message, ...]
    options: SamplingOptions = SamplingOptions()
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice = "auto"


def text_of(content: Content) -> str:
    """Return the words of *content*, its text parts joined with newlines."""
    if isinstance(content, str):
        return content
    return "\n".join(part.text for part in content if isinstance(part, TextPart))
