"""The stages that a tool must pass, made from the lists of a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

import attrs

from moltbot_gw.config.issues import printable
from moltbot_gw.config.model_tools import Profile, ToolNames, ToolPolicy
from moltbot_gw.config.toolnames import PROFILES, SUBAGENTS_LACK, NameList

P = TypeVar("P", bound=ToolPolicy, covariant=True)

DEFAULT_PROFILE: Profile = "minimal"
"""The profile of an agent when no configuration says what it may use."""


@attrs.frozen
class Source:
    """A list of names, and where it stands, for people: ``tools.deny``."""

    where: str
    names: NameList


@attrs.frozen(kw_only=True)
class Finding:
    """What a stage says of a tool: *entry* of the list at *where* decided.

    *entry* is None when the tool is missing from that list.
    """

    allowed: bool
    where: str
    entry: str | None


@attrs.frozen(kw_only=True)
class Stage:
    """One step: a tool must be in one of *grants*, and in none of *denials*.

    Without *grants* everything that is not denied passes.
    """

    grants: tuple[Source, ...] = ()
    denials: tuple[Source, ...] = ()

    def judge(self, name: str) -> Finding | None:
        """Return what is found of *name*; None if this stage has nothing against it."""
        for source in self.denials:
            if entry := source.names.find(name):
                return Finding(allowed=False, where=source.where, entry=entry)
        for source in self.grants:
            if entry := source.names.find_allowed(name):
                return Finding(allowed=True, where=source.where, entry=entry)
        if self.grants:
            return Finding(allowed=False, where=self.grants[0].where, entry=None)
        return None


@attrs.frozen
class Scope(Generic[P]):
    """A part of the configuration with lists of tools, and its path for people."""

    path: str
    policy: P


def list_stage(path: str, lists: ToolNames | None) -> Stage:
    """Return the stage of ``allow`` and ``deny`` at *path*.

    ``alsoAllow`` without ``allow`` allows everything and those, which is everything.
    """
    if lists is None:
        return Stage()
    denials = _sources((f"{path}.deny", lists.deny))
    if not allows_something(lists):
        return Stage(denials=denials)
    return Stage(grants=_sources((f"{path}.allow", lists.allow)), denials=denials)


def allows_something(lists: ToolNames | None) -> bool:
    """Whether the ``allow`` of *lists* counts: it names a tool that is known."""
    return lists is not None and NameList(lists.allow or ()).names_a_tool


def profile_stage(
    scopes: Iterable[Scope[ToolPolicy]], fallback: Profile | None = None
) -> Stage:
    """Return the stage of the profile that the first of *scopes* names.

    With it goes the first ``alsoAllow`` among *scopes*, which may stand in another.
    Without any profile it is *fallback*, or nothing is held back.
    """
    scopes = tuple(scopes)
    named = [(f"{one.path}.profile", one.policy.profile) for one in scopes]
    named.append(("default profile", fallback))
    where, profile = next((pair for pair in named if pair[1]), ("", None))
    if profile is None:
        return Stage()
    adding = (one for one in scopes if one.policy.also_allow is not None)
    more = [(f"{one.path}.alsoAllow", one.policy.also_allow) for one in adding]
    return Stage(
        grants=_sources((f"{where} = {profile}", PROFILES[profile]), *more[:1])
    )


def provider_scopes(
    path: str, policies: Mapping[str, ToolPolicy] | None, provider: str, model: str
) -> tuple[Scope[ToolPolicy], ...]:
    """Return what ``byProvider`` has for *model* of *provider*: the model's own first.

    Keys are compared without regard to case.
    """
    entries = tuple((policies or {}).items())
    return tuple(
        Scope(f"{path}.byProvider[{printable(key)}]", policy)
        for wanted in (f"{provider}/{model}".lower(), provider.lower())
        for key, policy in entries
        if key.strip().lower() == wanted
    )


def subagent_stage(path: str, lists: ToolNames | None) -> Stage:
    """Return the stage for agents that agents start; nothing lifts its own deny."""
    own = Source("default deny for sub-agents", NameList(SUBAGENTS_LACK))
    stage = list_stage(path, lists)
    return attrs.evolve(stage, denials=(own, *stage.denials))


def _sources(*lists: tuple[str, Iterable[str] | None]) -> tuple[Source, ...]:
    return tuple(Source(where, NameList(names)) for where, names in lists if names)
