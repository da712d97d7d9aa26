"""The ``tools`` section and the ``tools`` of one agent."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from msgspec import Meta

from .fields import Count, Flag, Positive, Section, Strings, Text, doc, ours
from .issues import BadField
from .secret import Secret, Unread

Profile = Literal["minimal", "coding", "messaging", "full"]


class ToolNames(Section, frozen=True, kw_only=True):
    """Which tools: names, ``group:*`` or wildcards."""

    allow: Annotated[Strings | None, doc("nothing but these")] = None
    also_allow: Annotated[Strings | None, doc("these beside those of the profile")] = (
        None
    )
    deny: Annotated[Strings | None, doc("none of these, whatever else is said")] = None

    def __post_init__(self) -> None:
        if self.allow and self.also_allow:
            message = "allow and alsoAllow exclude each other; put all names in allow"
            raise BadField(("alsoAllow",), message)


class ToolPolicy(ToolNames, frozen=True, kw_only=True):
    """Which tools, starting from a profile."""

    profile: Annotated[Profile | None, doc("what to begin with")] = None


class ToolScope(Section, frozen=True, kw_only=True):
    """Tools in a narrower place."""

    tools: ToolNames | None = None


class ApplyPatch(Section, frozen=True, kw_only=True):
    """The patch tool."""

    enabled: Flag = None
    allow_models: Strings | None = None


class Exec(Section, frozen=True, kw_only=True):
    """The command tool."""

    host: Annotated[
        Literal["sandbox", "gateway", "node"] | None, doc("only gateway is served")
    ] = None
    security: Annotated[
        Literal["deny", "allowlist", "full"] | None,
        doc("deny: none; allowlist: those allowed; full: all"),
    ] = None
    ask: Annotated[
        Literal["off", "on-miss", "always"] | None,
        doc("when operators are asked first"),
    ] = None
    node: Text = None
    path_prepend: Annotated[
        Strings | None, doc("folders to look for programs in first")
    ] = None
    safe_bins: Strings | None = None
    pass_env: Annotated[
        Strings | None,
        ours("variables that commands get though they are called like secrets"),
    ] = None
    background_ms: Annotated[
        Positive | None, doc("after how long a command goes on beside the run")
    ] = None
    timeout_sec: Annotated[Positive | None, doc("longest command")] = None
    cleanup_ms: Annotated[
        Positive | None, doc("how long the output of one that ended is kept")
    ] = None
    notify_on_exit: Annotated[
        Flag, doc("tell the session that one in the background has ended")
    ] = None
    apply_patch: ApplyPatch | None = None


class AgentExec(Exec, frozen=True, kw_only=True):
    """The command tool of one agent."""

    approval_running_notice_ms: Count | None = None


class Elevated(Section, frozen=True, kw_only=True):
    """Who may run commands outside the sandbox; channels are out of scope here."""

    enabled: Flag = None
    allow_from: Unread | None = None


class Perplexity(Section, frozen=True, kw_only=True):
    """One search service."""

    api_key: Secret | None = None
    base_url: Text = None
    model: Text = None


class WebSearch(Section, frozen=True, kw_only=True):
    """The search tool."""

    enabled: Flag = None
    provider: Literal["brave", "perplexity"] | None = None
    api_key: Secret | None = None
    max_results: Positive | None = None
    timeout_seconds: Positive | None = None
    cache_ttl_minutes: Count | None = None
    perplexity: Perplexity | None = None


class WebFetch(Section, frozen=True, kw_only=True):
    """The page reading tool."""

    enabled: Annotated[Flag, doc("let agents that may use it read pages")] = None
    max_chars: Annotated[Positive | None, doc("of one page, as text")] = None
    timeout_seconds: Annotated[Positive | None, doc("for one page")] = None
    cache_ttl_minutes: Annotated[Count | None, doc("how long a page is remembered")] = (
        None
    )
    max_redirects: Annotated[Count | None, doc("to follow for one page")] = None
    user_agent: Annotated[Text, doc("how it introduces itself")] = None


class Web(Section, frozen=True, kw_only=True):
    """The web tools."""

    search: WebSearch | None = None
    fetch: WebFetch | None = None


class FileAccess(Section, frozen=True, kw_only=True):
    """The file tools."""

    roots: Annotated[
        Strings | None,
        ours(
            "folders beside the workspace that read, write and edit may use; "
            "absolute or ~/; an agent's list replaces that of all agents"
        ),
    ] = None

    def __post_init__(self) -> None:
        for index, root in enumerate(self.roots or ()):
            # A leading ~ is the home directory already, when a file is loaded.
            if not os.path.isabs(root) or "\0" in root:
                message = 'expected an absolute path or one that begins with "~/"'
                raise BadField(("roots", index), message)


class AgentToAgent(Section, frozen=True, kw_only=True):
    """Messages between agents."""

    enabled: Annotated[bool, doc("let agents see and use each other's sessions")] = (
        False
    )
    allow: Annotated[Strings | None, doc("ids or wildcards of those that may")] = None


class LoopLimits(Section, frozen=True, kw_only=True):
    """How far agents may go with their tools."""

    rounds: Annotated[
        int, Meta(ge=1, le=1000), ours("how often a model is called in one run")
    ] = 50
    calls_per_round: Annotated[
        int, Meta(ge=1, le=128), ours("how many calls of one message are made")
    ] = 16
    result_bytes: Annotated[
        int, Meta(ge=1024), ours("what a model reads of one result at most")
    ] = 262_144


class AgentTools(ToolPolicy, frozen=True, kw_only=True):
    """The tools of one agent."""

    by_provider: Annotated[
        dict[str, ToolPolicy] | None, doc("narrower, by provider or provider/model")
    ] = None
    elevated: Elevated | None = None
    exec: AgentExec | None = None
    fs: FileAccess | None = None
    sandbox: ToolScope | None = None


class Tools(ToolPolicy, frozen=True, kw_only=True):
    """The tools of all agents."""

    by_provider: Annotated[
        dict[str, ToolPolicy] | None, doc("narrower, by provider or provider/model")
    ] = None
    exec: Exec | None = None
    fs: FileAccess | None = None
    web: Web | None = None
    agent_to_agent: AgentToAgent | None = None
    elevated: Elevated | None = None
    subagents: ToolScope | None = None
    sandbox: ToolScope | None = None
    limits: Annotated[LoopLimits | None, ours("bounds of the loop of tools")] = None
    message: Unread | None = None
    media: Unread | None = None
    links: Unread | None = None
