"""What a configuration asks for and this gateway does not do: one line each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .issues import Fault, Place, dotted
from .toolnotices import find_odd_lists
from .tree import find_value, has_place

_TOOLS = (
    "profile",
    "allow",
    "alsoAllow",
    "deny",
    "byProvider",
    "sandbox",
    "exec",
    "fs",
)
_EXEC = (
    "host",
    "security",
    "ask",
    "pathPrepend",
    "passEnv",
    "backgroundMs",
    "timeoutSec",
    "cleanupMs",
    "notifyOnExit",
)
_SERVED: dict[Place, tuple[str, ...]] = {
    (): (
        "gateway",
        "agents",
        "models",
        "session",
        "tools",
        "auth",
        "env",
        "logging",
        "ui",
        "meta",
        "wizard",
    ),
    ("agents", "defaults"): (
        "model",
        "models",
        "workspace",
        "skipBootstrap",
        "bootstrapMaxChars",
        "timeoutSeconds",
        "maxConcurrent",
        "thinkingDefault",
        "verboseDefault",
        "contextTokens",
        "compaction",
    ),
    ("agents", "defaults", "compaction"): (
        "mode",
        "reserveTokensFloor",
        "maxHistoryShare",
    ),
    ("auth",): ("cooldowns",),
    ("ui",): ("assistant",),
    ("gateway", "controlUi"): (
        "allowedOrigins",
        "allowInsecureAuth",
        "dangerouslyDisableDeviceAuth",
    ),
    ("tools",): (*_TOOLS, "subagents", "web", "agentToAgent", "limits"),
    ("tools", "web"): ("fetch",),
    ("tools", "exec"): _EXEC,
}
"""Sections of which only these keys are served."""

_SERVED_OF_AGENT = (
    "id",
    "default",
    "name",
    "workspace",
    "agentDir",
    "model",
    "identity",
    "tools",
)
_IGNORED = "is not served by this gateway and is ignored"
_NO_SANDBOX = (
    "is not served by this gateway, tools run without one; "
    "only its mode counts, for tools.sandbox.tools"
)
_MAIN_KEY: Place = ("session", "mainKey")
_UNSERVED: tuple[Place, ...] = (
    ("gateway", "nodes"),
    ("gateway", "remote"),
    ("gateway", "tailscale"),
    ("gateway", "http", "endpoints", "responses"),
    ("env", "shellEnv"),
    ("models", "bedrockDiscovery"),
)


def find_notices(tree: Any) -> tuple[str, ...]:
    """Return a line for the log about each part of *tree* that has no effect."""
    return tuple(
        f'config: "{dotted(place)}" {message}' for place, message in find_unserved(tree)
    )


def find_unserved(tree: Any) -> list[Fault]:
    """Return a note for each part of the valid *tree* that has no effect.

    Or has another one than it seems to have.
    """
    faults = [
        Fault(place, _NO_SANDBOX if place[-1] == "sandbox" else _IGNORED)
        for place in _unserved_places(tree)
    ]
    faults += find_odd_lists(tree)
    if find_value(tree, _MAIN_KEY) not in (None, "main"):
        faults.append(Fault(_MAIN_KEY, 'is always "main"; the value is ignored'))
    return faults


def _unserved_places(tree: Any) -> Iterator[Place]:
    for place, served in _SERVED.items():
        for key in find_value(tree, place) or ():
            if key not in served:
                yield (*place, key)
    for place in _UNSERVED:
        if has_place(tree, place):
            yield place
    for index, agent in enumerate(find_value(tree, ("agents", "list")) or ()):
        for key in agent:
            if key not in _SERVED_OF_AGENT:
                yield ("agents", "list", index, key)
        tools = agent.get("tools") or {}
        for key in tools:
            if key not in _TOOLS:
                yield ("agents", "list", index, "tools", key)
        for key in tools.get("exec") or ():
            if key not in _EXEC:
                yield ("agents", "list", index, "tools", "exec", key)
