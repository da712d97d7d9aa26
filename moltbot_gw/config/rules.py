"""Rules that compare several parts of a configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from .issues import Fault, Place
from .logpatterns import compile_pattern
from .model import Config
from .model_agents import AgentEntry

_AVATAR_URL = re.compile(r"(?:https?://|data:)", re.IGNORECASE)
_PART = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*", re.ASCII)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def check_rules(config: Config, state: Path) -> list[Fault]:
    """Return what is wrong with *config* beyond single sections.

    *state* is the state directory, where agents without ``agentDir`` have theirs.
    """
    return [
        *_duplicate_agents(config, state),
        *_bad_avatars(config),
        *_bad_patterns(config),
        *_bad_parts(config),
    ]


def _duplicate_agents(config: Config, state: Path) -> Iterator[Fault]:
    ids: dict[str, int] = {}
    folders: dict[str, int] = {}
    for index, agent in enumerate(config.agents.list):
        place: Place = ("agents", "list", index)
        folder = _agent_dir(agent, state)
        if agent.id in ids:
            message = f"the same agent id as agents.list.{ids[agent.id]}"
            yield Fault((*place, "id"), message)
        elif folder in folders:
            message = (
                f"the same agentDir as agents.list.{folders[folder]}; "
                "agents must not share one"
            )
            yield Fault((*place, "agentDir"), message)
        ids.setdefault(agent.id, index)
        folders.setdefault(folder, index)


def _agent_dir(agent: AgentEntry, state: Path) -> str:
    if agent.agent_dir and agent.agent_dir.strip():
        return os.path.abspath(agent.agent_dir.strip())
    return str(state / "agents" / agent.id / "agent")


def _bad_avatars(config: Config) -> Iterator[Fault]:
    for index, agent in enumerate(config.agents.list):
        avatar = ((agent.identity and agent.identity.avatar) or "").strip()
        workspace = agent.workspace or config.agents.defaults.workspace
        if avatar and not _is_avatar(avatar, workspace):
            place = ("agents", "list", index, "identity", "avatar")
            message = "expected an http(s) or data URL or a path inside the workspace"
            yield Fault(place, message)


def _is_avatar(avatar: str, workspace: str | None) -> bool:
    if _AVATAR_URL.match(avatar):
        return True
    if avatar.startswith("~") or _SCHEME.match(avatar):
        return False
    path = os.path.normpath(avatar)
    if not os.path.isabs(path):
        return path.split(os.sep)[0] != os.pardir
    root = os.path.abspath(workspace) if workspace else None
    return root is not None and os.path.commonpath([root, path]) == root


def _bad_patterns(config: Config) -> Iterator[Fault]:
    """A pattern that cannot be used would let through what it should hide."""
    for index, text in enumerate(config.logging.redact_patterns or ()):
        try:
            compile_pattern(text)
        except ValueError as error:
            yield Fault(("logging", "redactPatterns", index), str(error))


def _bad_parts(config: Config) -> Iterator[Fault]:
    for name in config.logging.levels:
        if not _PART.fullmatch(name):
            message = "expected a dotted name, such as moltbot_gw.http"
            yield Fault(("logging", "levels", name), message)
