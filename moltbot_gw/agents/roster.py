"""The configured agents: who there is, whom a request means, what model they run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from moltbot_gw.agents.catalog import Catalog, ModelRef
from moltbot_gw.agents.keys import split_key
from moltbot_gw.config import (
    DEFAULT_MODEL,
    AgentEntry,
    Config,
    ModelChoice,
    expand_home,
    normalize_agent_id,
)

ECHO_MODEL = "echo/echo"
"""What an agent runs when nothing at all is configured."""

_PRODUCT = r"(?:moltbot|clawdbot|openclaw)"
_MODEL = re.compile(
    rf"(?:{_PRODUCT}[:/]|agent:)(?P<id>[a-z0-9][a-z0-9_-]{{0,63}})", re.IGNORECASE
)


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """One configured agent, with all defaults filled in.

    *fallbacks* are tried when its model fails, and then its model, if another was asked
    for; unless *has_own_fallbacks*: they were meant for this agent, and are all.
    """

    id: str
    name: str | None
    theme: str | None
    emoji: str | None
    avatar: str | None = None
    workspace: Path
    model: ModelRef
    fallbacks: tuple[ModelRef, ...] = ()
    has_own_fallbacks: bool = False
    timeout: float
    thinking: str | None = None
    bootstrap_max_chars: int


class Roster(msgspec.Struct, frozen=True, kw_only=True):
    """All agents by id, in the order of the configuration, and the default one.

    *catalog* has the models that they may be asked to use.
    """

    agents: Mapping[str, Agent]
    default_id: str
    catalog: Catalog = Catalog(Config())

    def owner_id(self, store_key: str) -> str:
        """Return the agent's id in a session's key; one without belongs to the default.

        The configuration may know that agent no more.
        """
        return split_key(store_key)[0] or self.default_id

    def owner(self, store_key: str) -> Agent:
        """Return who goes on with a session: its agent, else the default one."""
        default = self.agents[self.default_id]
        return self.agents.get(self.owner_id(store_key), default)

    def from_model(self, model: str | None) -> str | None:
        """Return the agent id that a request's ``model`` names; None if it names none.

        ``moltbot:default`` is the default agent, unless an agent has that id.
        """
        match = _MODEL.fullmatch(model or "")
        if match is None:
            return None
        agent_id = match["id"].lower()
        if agent_id == "default" and agent_id not in self.agents:
            return self.default_id
        return agent_id


def build_roster(
    config: Config,
    home: Path,
    profile: str | None = None,
    workspaces: Path | None = None,
) -> Roster:
    """Return the agents of *config*; one called ``main`` when it lists none.

    *profile* is ``CLAWDBOT_PROFILE``: it is part of the default workspace's name.
    Workspaces that are not configured lie in *workspaces*, if that is given.
    """
    entries = config.agents.list or (AgentEntry(id="main"),)
    default = next((entry for entry in entries if entry.default), entries[0])
    default_id = normalize_agent_id(default.id)
    catalog = Catalog(config)
    agents = {}
    for entry in entries:
        agent_id = normalize_agent_id(entry.id)
        is_default = agent_id == default_id
        folder = _configured_workspace(config, entry, is_default)
        if folder is None:
            folder = _usual_workspace(agent_id, is_default, profile, workspaces)
        agents[agent_id] = _agent(config, entry, agent_id, home, folder, catalog)
    return Roster(agents=agents, default_id=default_id, catalog=catalog)


def _agent(
    config: Config,
    entry: AgentEntry,
    agent_id: str,
    home: Path,
    folder: str,
    catalog: Catalog,
) -> Agent:
    identity = entry.identity
    own = entry.model.fallbacks if isinstance(entry.model, ModelChoice) else None
    shared = config.agents.defaults.model or ModelChoice()
    fallbacks = own if own is not None else shared.fallbacks or ()
    return Agent(
        id=agent_id,
        name=(identity.name if identity else None) or entry.name,
        theme=identity.theme if identity else None,
        emoji=identity.emoji if identity else None,
        avatar=identity.avatar if identity else None,
        workspace=Path(expand_home(folder, home)),
        model=_model(config, entry, catalog),
        fallbacks=tuple(catalog.find(name) for name in fallbacks),
        has_own_fallbacks=own is not None,
        timeout=float(config.agents.defaults.timeout_seconds),
        thinking=config.agents.defaults.thinking_default,
        bootstrap_max_chars=config.agents.defaults.bootstrap_max_chars,
    )


def _configured_workspace(
    config: Config, entry: AgentEntry, is_default: bool
) -> str | None:
    own = entry.workspace or None
    return own or (config.agents.defaults.workspace or None if is_default else None)


def _usual_workspace(
    agent_id: str, is_default: bool, profile: str | None, folder: Path | None
) -> str:
    stem = "~/clawd" if folder is None else str(folder / "workspace")
    if not is_default:
        return f"{stem}-{agent_id}"
    named = folder is None and profile and profile != "default"
    return f"{stem}-{profile}" if named else stem


def _model(config: Config, entry: AgentEntry, catalog: Catalog) -> ModelRef:
    chosen = (
        entry.model.primary if isinstance(entry.model, ModelChoice) else entry.model
    )
    defaults = config.agents.defaults
    if not chosen and defaults.model is not None:
        chosen = defaults.model.primary
    if not chosen:
        chosen = DEFAULT_MODEL if config.models.providers else ECHO_MODEL
    return catalog.find(chosen)
