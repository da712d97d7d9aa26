"""The ``agents`` section: who answers, with which model, in which workspace."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import Meta

from .fields import Count, Flag, Positive, Section, Strings, Text, doc
from .issues import BadField
from .model_tools import AgentTools
from .secret import Unread

DEFAULT_MODEL = "anthropic/claude-opus-4-5"
"""The model of an agent when neither it nor the defaults name one."""

_BUILTIN_ALIASES = {
    "anthropic/claude-opus-4-5": "opus",
    "anthropic/claude-sonnet-4-5": "sonnet",
    "openai/gpt-5.2": "gpt",
    "openai/gpt-5-mini": "gpt-mini",
    "google/gemini-3-pro-preview": "gemini",
    "google/gemini-3-flash-preview": "gemini-flash",
}
_NOT_IN_ID = re.compile(r"[^a-z0-9_-]+", re.ASCII)

OnOff = Literal["on", "off"]


def normalize_agent_id(text: str) -> str:
    """Return *text* in the form that ids are compared in.

    Lower case ``[a-z0-9][a-z0-9_-]{0,63}``; other characters become ``-``.  Empty when
    nothing usable is in *text*.
    """
    return _NOT_IN_ID.sub("-", text.strip().lower()).lstrip("-_")[:64].rstrip("-")


class ModelChoice(Section, frozen=True, kw_only=True):
    """A model and those to try when it fails."""

    primary: Annotated[Text, doc("provider/model or an alias")] = None
    fallbacks: Annotated[
        Strings | None, doc("in this order; an empty list means none at all")
    ] = None


ModelName = Union[str, ModelChoice, None]


class ModelSettings(Section, frozen=True, kw_only=True):
    """One model that agents may use."""

    alias: Annotated[Text, doc("a short name for it")] = None
    params: Annotated[dict[str, Any], doc("request fields for the provider")] = {}


class MemoryFlush(Section, frozen=True, kw_only=True):
    """Saving memories before a compaction; accepted, and without effect here."""

    enabled: Flag = None
    soft_threshold_tokens: Count | None = None
    prompt: Text = None
    system_prompt: Text = None


class Compaction(Section, frozen=True, kw_only=True):
    """Shortening of long conversations."""

    mode: Annotated[
        Literal["default", "safeguard"],
        doc("safeguard names failed tool calls and files behind a summary"),
    ] = "safeguard"
    reserve_tokens_floor: Annotated[
        Count | None,
        doc("of the context window, kept free for the answer; 16384 at least"),
    ] = None
    max_history_share: Annotated[
        Annotated[float, Meta(ge=0.1, le=0.9)] | None,
        doc("of the rest, for the recent messages that a summary leaves as they are"),
    ] = None
    memory_flush: MemoryFlush | None = None


class SubagentDefaults(Section, frozen=True, kw_only=True):
    """Agents that agents start."""

    max_concurrent: Positive = 8
    archive_after_minutes: Count = 60
    model: ModelName = None


class Sandbox(Section, frozen=True, kw_only=True):
    """Which sessions were to run in a sandbox; there is none here.

    Only the mode counts: it says in which sessions ``tools.sandbox.tools`` does.
    """

    mode: Annotated[
        Literal["off", "non-main", "all"] | None,
        doc("sessions for which tools.sandbox.tools counts"),
    ] = None
    workspace_access: Unread | None = None
    session_tools_visibility: Unread | None = None
    scope: Unread | None = None
    per_session: Unread | None = None
    workspace_root: Unread | None = None
    docker: Unread | None = None
    browser: Unread | None = None
    prune: Unread | None = None


class AgentDefaults(Section, frozen=True, kw_only=True):
    """What holds for every agent that does not say otherwise."""

    model: ModelChoice | None = None
    image_model: ModelChoice | None = None
    models: Annotated[
        dict[str, ModelSettings],
        doc("by provider/model; when not empty, no other model may be asked for"),
    ] = {}
    workspace: Annotated[Text, doc("folder of the default agent")] = None
    skip_bootstrap: Annotated[
        bool, doc("do not make workspaces and their first files")
    ] = False
    bootstrap_max_chars: Annotated[
        Positive, doc("of each workspace file in the prompt")
    ] = 20_000
    repo_root: Text = None
    user_timezone: Text = None
    time_format: Literal["auto", "12", "24"] | None = None
    envelope_timezone: Text = None
    envelope_timestamp: OnOff | None = None
    envelope_elapsed: OnOff | None = None
    context_tokens: Annotated[
        Positive | None, doc("caps the context window of every model")
    ] = None
    thinking_default: Annotated[
        Literal["off", "minimal", "low", "medium", "high", "xhigh"] | None,
        doc("how long models think, where nothing else says so"),
    ] = None
    verbose_default: Annotated[
        Literal["off", "on", "full"] | None,
        doc("how much clients are told of tools, where their session says nothing"),
    ] = None
    elevated_default: Literal["off", "on", "ask", "full"] | None = None
    timeout_seconds: Annotated[Positive, doc("longest run")] = 600
    max_concurrent: Annotated[Positive, doc("runs at the same time, all agents")] = 4
    compaction: Compaction = Compaction()
    subagents: SubagentDefaults = SubagentDefaults()
    context_pruning: Unread | None = None
    heartbeat: Unread | None = None
    sandbox: Sandbox | None = None
    block_streaming_default: OnOff | None = None
    block_streaming_break: Unread | None = None
    block_streaming_chunk: Unread | None = None
    block_streaming_coalesce: Unread | None = None
    human_delay: Unread | None = None
    typing_mode: Unread | None = None
    typing_interval_seconds: Unread | None = None
    media_max_mb: Unread | None = None
    cli_backends: Unread | None = None
    memory_search: Unread | None = None

    def __post_init__(self) -> None:
        models = {
            ref: msgspec.structs.replace(settings, alias=_BUILTIN_ALIASES.get(ref))
            if settings.alias is None
            else settings
            for ref, settings in self.models.items()
        }
        msgspec.structs.force_setattr(self, "models", models)


class Identity(Section, frozen=True, kw_only=True):
    """How an agent presents itself."""

    name: Annotated[Text, doc("what it is called")] = None
    theme: Annotated[Text, doc("what it is like, in a few words")] = None
    emoji: Annotated[Text, doc("its sign")] = None
    avatar: Annotated[
        Text, doc("http(s) or data URL, or a path inside the workspace")
    ] = None


class AgentSubagents(Section, frozen=True, kw_only=True):
    """Agents that this agent may start."""

    allow_agents: Strings | None = None
    model: ModelName = None


class AgentEntry(Section, frozen=True, kw_only=True):
    """One agent."""

    id: Annotated[
        str,
        doc("made lower case; characters outside a-z 0-9 _ - become -"),
    ]
    default: Annotated[bool, doc("answers when a request names no agent")] = False
    name: Annotated[Text, doc("for people")] = None
    workspace: Annotated[
        Text, doc("its folder; default beside that of the default agent")
    ] = None
    agent_dir: Annotated[Text, doc("accepted; two agents cannot have the same")] = None
    model: Annotated[ModelName, doc("provider/model, an alias, or an object")] = None
    identity: Identity | None = None
    group_chat: Unread | None = None
    heartbeat: Unread | None = None
    human_delay: Unread | None = None
    memory_search: Unread | None = None
    subagents: AgentSubagents | None = None
    sandbox: Sandbox | None = None
    tools: AgentTools | None = None

    def __post_init__(self) -> None:
        agent_id = normalize_agent_id(self.id)
        if not agent_id:
            raise BadField(("id",), "an agent id needs a letter a-z or a digit")
        msgspec.structs.force_setattr(self, "id", agent_id)


class Agents(Section, frozen=True, kw_only=True):
    """All agents; without a list there is one, ``main``."""

    defaults: AgentDefaults = AgentDefaults()
    list: Annotated[tuple[AgentEntry, ...], doc("who there is")] = ()
