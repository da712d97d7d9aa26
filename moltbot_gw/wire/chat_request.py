"""The request body of ``POST /v1/chat/completions``, as the contract allows it.

Source: OpenAI API reference, "Create chat completion", narrowed and widened by our own
contract (docs/differences.rst).  Unknown members are ignored at every level.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import Meta, Struct

from moltbot_gw.errors import InvalidRequest
from moltbot_gw.messages import (
    AssistantMessage,
    Content,
    ImagePart,
    Message,
    NamedTool,
    SamplingOptions,
    TextPart,
    ToolCall,
    ToolChoice,
    ToolMessage,
    ToolSpec,
    UserMessage,
    text_of,
)
from moltbot_gw.wire.jsontext import decode_body

MAX_MESSAGES = 10_000
MAX_PARTS = 1_000
"""Of one message.  The longest conversations of editors have some hundreds of either;
a body full of empty ones would hold up everybody else for seconds."""

MAX_TYPES = 50_000
"""Members called ``type`` in the whole body: parts, tools and what is in them."""

MAX_TOOLS = 512
TOOL_NAME = r"^[A-Za-z0-9_.:-]{1,128}(?![\s\S])"

_REMOTE = re.compile(r"https?://", re.IGNORECASE)

_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_Limit = Annotated[int, Meta(ge=1, le=2**53)]

# JSON has no cycles: the garbage collector need not know of what is made of it.


class _Text(Struct, tag="text", tag_field="type", gc=False):
    text: str


class _InputText(Struct, tag="input_text", tag_field="type", gc=False):
    text: str


class _ImageURL(Struct, gc=False):
    url: str
    detail: str | None = None


class _Image(Struct, tag="image_url", tag_field="type", gc=False):
    image_url: _ImageURL


_Parts = Annotated[
    list[Union[_Text, _InputText, _Image]], Meta(min_length=1, max_length=MAX_PARTS)
]
_WireContent = Union[str, _Parts]


class _System(Struct, tag="system", tag_field="role", gc=False):
    content: _WireContent


class _Developer(Struct, tag="developer", tag_field="role", gc=False):
    content: _WireContent


class _User(Struct, tag="user", tag_field="role", gc=False):
    content: _WireContent
    name: str | None = None


class _Function(Struct, gc=False):
    name: str
    arguments: str = "{}"


class _ToolCall(Struct, gc=False):
    id: str
    function: _Function


class _Assistant(Struct, tag="assistant", tag_field="role", gc=False):
    content: Union[str, _Parts, None] = None
    tool_calls: Annotated[list[_ToolCall], Meta(max_length=MAX_PARTS)] | None = None


class _Tool(Struct, tag="tool", tag_field="role", gc=False):
    content: _WireContent
    tool_call_id: str | None = None
    name: str | None = None


class _FunctionResult(Struct, tag="function", tag_field="role", gc=False):
    content: _WireContent
    name: str | None = None


_WireMessage = Union[_System, _Developer, _User, _Assistant, _Tool, _FunctionResult]


class _StreamOptions(Struct, gc=False):
    include_usage: bool | None = None


class _FunctionSpec(Struct, gc=False):
    name: Annotated[str, Meta(pattern=TOOL_NAME)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _ClientTool(Struct, tag="function", tag_field="type", gc=False):
    function: _FunctionSpec


class _ChosenFunction(Struct, gc=False):
    name: str


class _Chosen(Struct, tag="function", tag_field="type", gc=False):
    function: _ChosenFunction


class _Body(Struct, gc=False):
    messages: Annotated[list[_WireMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
    model: str | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    user: Annotated[str, Meta(max_length=256)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    frequency_penalty: _Penalty | None = None
    presence_penalty: _Penalty | None = None
    max_tokens: _Limit | None = None
    max_completion_tokens: _Limit | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | list[str] | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    parallel_tool_calls: bool | None = None
    tools: Annotated[list[_ClientTool], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: Union[Literal["none", "auto", "required"], _Chosen, None] = None
    n: Annotated[int, Meta(ge=1, le=1)] | None = None


_decoder = msgspec.json.Decoder(_Body)
_HINTS = {
    "role": "use system, developer, user, assistant, tool or function",
    "type": "use text, input_text or image_url in messages, function in tools",
    "name": "use 1 to 128 of the characters A-Z a-z 0-9 _ . : -",
    "n": "only one choice is made; leave n out",
    "messages": "send at least one message",
}


class PicturePlace(msgspec.Struct, frozen=True, gc=False):
    """Where a picture is: in which of the request's messages, in which of its parts.

    *path* is that of its URL in the body as the client has sent it.
    """

    message: int
    part: int
    path: str


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A valid request.

    *system* joins all system and developer texts with a blank line; *messages* holds
    the others in their order, at least one.  *model* is None when unsaid, *user* is
    stripped and None when blank.  *image_path* is the path of the first picture;
    *pictures* are those that *messages* have, with URLs as the client wrote them:
    ``data:``, or ``http:`` and ``https:`` if it may name those.
    """

    model: str | None
    messages: tuple[Message, ...]
    system: str
    options: SamplingOptions
    stream: bool
    include_usage: bool
    user: str | None
    image_path: str | None = None
    pictures: tuple[PicturePlace, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice = "auto"


def parse_chat_request(body: bytes, *, remote_images: bool = False) -> ChatRequest:
    """Parse and check *body*; raise ``InvalidRequest`` or a subclass.

    Pictures may be at addresses of the web if *remote_images* says so.
    """
    if body.count(b'"role"') > MAX_MESSAGES or body.count(b'"type"') > MAX_TYPES:
        # Counted before they are made; quotes inside of a text are escaped.
        raise InvalidRequest(
            f"messages: send at most {MAX_MESSAGES} messages, and at most {MAX_PARTS}"
            " parts in each.",
            param="messages",
        )
    wire = decode_body(body, _decoder, _HINTS)
    image_path = _check_images(wire.messages, remote_images)
    system: list[str] = []
    messages: list[Message] = []
    pictures: list[PicturePlace] = []
    for index, message in enumerate(wire.messages):
        place = f"messages[{index}]"
        if isinstance(message, (_System, _Developer)):
            system.append(text_of(_content(message.content)))
        else:
            pictures += _pictures(message, len(messages), place)
            messages.append(_message(message, place))
    if not messages:
        raise InvalidRequest(
            "messages: a message of role user, assistant or tool is missing.",
            param="messages",
        )
    streaming = wire.stream_options
    return ChatRequest(
        model=wire.model,
        messages=tuple(messages),
        system="\n\n".join(text for text in system if text),
        options=_options(wire),
        stream=bool(wire.stream),
        include_usage=bool(streaming and streaming.include_usage),
        user=(wire.user or "").strip() or None,
        image_path=image_path,
        pictures=tuple(pictures),
        tools=_tools(wire.tools or ()),
        tool_choice=_tool_choice(wire),
    )


def request_schema(folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the body's JSON Schema (2020-12), and those that it refers to by name.

    *folder* stands before a name in ``$ref``, as ``#/components/schemas/``.
    """
    template = folder + "{name}"
    (whole,), parts = msgspec.json.schema_components([_Body], ref_template=template)
    return parts.pop(whole["$ref"].removeprefix(folder)), parts


def _tools(wire: Sequence[_ClientTool]) -> tuple[ToolSpec, ...]:
    tools: dict[str, ToolSpec] = {}
    for index, tool in enumerate(wire):
        spec = tool.function
        if spec.name in tools:
            place = f"tools[{index}].function.name"
            raise InvalidRequest(
                f"{place}: another tool has this name already.", param=place
            )
        tools[spec.name] = ToolSpec(
            name=spec.name,
            description=spec.description,
            parameters=spec.parameters,
            strict=spec.strict,
        )
    return tuple(tools.values())


def _tool_choice(wire: _Body) -> ToolChoice:
    choice = wire.tool_choice or "auto"
    names = {tool.function.name for tool in wire.tools or ()}
    if not isinstance(choice, _Chosen):
        if choice == "required" and not names:
            raise InvalidRequest(
                "tool_choice: there are no tools to choose from.", param="tool_choice"
            )
        return choice
    if choice.function.name not in names:
        raise InvalidRequest(
            "tool_choice.function.name: no such tool is among tools.",
            param="tool_choice.function.name",
        )
    return NamedTool(choice.function.name)


def _check_images(messages: list[_WireMessage], remote: bool) -> str | None:
    """Return the path of the first picture; raise for one that cannot be had."""
    first = None
    for index, message in enumerate(messages):
        for place, part in _images(message):
            path = f"messages[{index}].content[{place}]"
            first = first or path
            url = part.image_url.url
            if url.startswith("data:") or (remote and _REMOTE.match(url)):
                continue
            raise InvalidRequest(
                f"{path}.image_url.url: images at other addresses are not fetched;"
                f" send a data: URL{' or an https: one' if remote else ''}.",
                param=f"{path}.image_url.url",
            )
    return first


def _pictures(
    wire: _User | _Assistant | _Tool | _FunctionResult, number: int, place: str
) -> list[PicturePlace]:
    """Return the places of pictures that the message *number* keeps."""
    if isinstance(wire, _Assistant):
        return []  # of those only the words are kept
    return [
        PicturePlace(number, part, f"{place}.content[{part}].image_url.url")
        for part, _ in _images(wire)
    ]


def _images(message: _WireMessage) -> list[tuple[int, _Image]]:
    if not isinstance(message.content, list):
        return []
    parts = enumerate(message.content)
    return [(place, part) for place, part in parts if isinstance(part, _Image)]


def _options(wire: _Body) -> SamplingOptions:
    stop = (wire.stop,) if isinstance(wire.stop, str) else tuple(wire.stop or ())
    return SamplingOptions(
        temperature=wire.temperature,
        top_p=wire.top_p,
        frequency_penalty=wire.frequency_penalty,
        presence_penalty=wire.presence_penalty,
        max_tokens=wire.max_completion_tokens or wire.max_tokens,
        seed=wire.seed,
        stop=stop or None,
        response_format=wire.response_format,
        reasoning_effort=wire.reasoning_effort,
        parallel_tool_calls=wire.parallel_tool_calls if wire.tools else None,
    )


def _message(wire: _User | _Assistant | _Tool | _FunctionResult, place: str) -> Message:
    if isinstance(wire, _User):
        return UserMessage(_content(wire.content), wire.name)
    if isinstance(wire, _Assistant):
        return _assistant(wire, place)
    content = _content(wire.content)
    if isinstance(wire, _Tool):
        return ToolMessage(content, wire.tool_call_id, wire.name)
    return ToolMessage(content, None, wire.name)


def _assistant(wire: _Assistant, place: str) -> AssistantMessage:
    calls = tuple(
        ToolCall(call.id, call.function.name, call.function.arguments)
        for call in wire.tool_calls or ()
    )
    if wire.content is None and not calls:
        raise InvalidRequest(
            f"{place}.content: null is only allowed beside tool_calls.",
            param=f"{place}.content",
        )
    content = _content(wire.content or "")
    return AssistantMessage(text=text_of(content), tool_calls=calls)


def _content(wire: str | list[Any]) -> Content:
    if isinstance(wire, str):
        return wire
    return tuple(
        ImagePart(part.image_url.url, part.image_url.detail)
        if isinstance(part, _Image)
        else TextPart(part.text)
        for part in wire
    )
