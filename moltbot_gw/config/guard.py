"""What may not be changed over the network, whatever the client's rights are.

Who may do what, which tools agents have, where the gateway listens, which files it
reads and writes, and where stored secrets are sent is decided by who has the machine.
A client that could edit these would make itself anything else.

Two configurations are compared by what they come to (includes, variables, defaults),
so no spelling gets round it; agents are compared by their id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .effective import assumed_tree
from .include import INCLUDE
from .issues import Issue, Place, dotted
from .merge import same
from .model_agents import normalize_agent_id
from .providerkeys import key_variables
from .reading import Reading
from .redaction import REDACTED, secret_places, strings
from .refusal import EditRefused
from .substitute import references
from .tree import find_value

PROTECTED: tuple[Place, ...] = (
    ("gateway", "auth"),
    ("gateway", "bind"),
    ("gateway", "customBindHost"),
    ("gateway", "endpoints"),
    ("gateway", "mode"),
    ("gateway", "tls"),
    ("gateway", "trustedProxies"),
    ("gateway", "allowedHosts"),
    ("gateway", "controlUi"),
    ("gateway", "tailscale"),
    ("gateway", "remote"),
    ("gateway", "http", "cors"),
    ("gateway", "limits", "maxAuthFailuresPerMinute"),
    ("gateway", "metrics"),
    ("gateway", "limits", "maxConnectionsPerAddress"),
    ("tools", "exec"),
    ("tools", "elevated"),
    ("tools", "agentToAgent"),
    ("tools", "profile"),
    ("tools", "allow"),
    ("tools", "alsoAllow"),
    ("tools", "deny"),
    ("tools", "byProvider"),
    ("tools", "sandbox"),
    ("tools", "subagents"),
    ("tools", "fs"),
    ("agents", "defaults", "elevatedDefault"),
    ("agents", "defaults", "sandbox"),
    ("agents", "defaults", "workspace"),
    ("agents", "defaults", "repoRoot"),
    ("logging", "file"),
    ("session", "store"),
    ("approvals",),
    ("env",),
)
_OF_AGENT: tuple[Place, ...] = (
    ("workspace",),
    ("agentDir",),
    ("tools",),
    ("sandbox",),
)
_DESTINATION = ("baseUrl", "caFile")


def check_spelling(before: Any, after: Any, sent: Any) -> None:
    """Raise `EditRefused` for what a client may not spell, whatever it comes to.

    *before* and *after* are the trees that the two texts spell, *sent* what the client
    sent, with the markers of hidden values.  Call it before *after* is given a meaning:
    included files and variables are not even to be looked at for a client.
    """
    _check_spelled(sent)
    _check_includes(before, after)
    _check_references(before, after)


def check_meaning(old: Reading, new: Reading, sent: Any) -> None:
    """Raise `EditRefused` if the valid *new* may not follow *old* over the network."""
    before = assumed_tree(old.tree) if old.effective is None else old.effective
    after = new.effective
    for place in PROTECTED:
        was, is_now = (_pruned(find_value(tree, place)) for tree in (before, after))
        if not same(was, is_now):
            raise _refusal(place, "is only changed in the file, on the host")
    _check_agents(before, after)
    _check_destinations(before, after, sent, new)


def _check_spelled(sent: Any) -> None:
    """Refuse a protected secret that is written out: a right guess would show."""
    texts = dict(strings(sent))
    for place in secret_places(sent):
        hidden = texts.get(place) == REDACTED
        if not hidden and any(place[: len(p)] == p for p in PROTECTED):
            raise _refusal(place, f"can only be sent back as {REDACTED}")


def _check_agents(before: Any, after: Any) -> None:
    old, new = _by_agent(before), _by_agent(after)
    for agent, place in sorted(old.keys() | new.keys()):
        if not same(old.get((agent, place)), new.get((agent, place))):
            at = ("agents", "list", agent, *place)
            raise _refusal(at, "is only changed in the file, on the host")


def _by_agent(tree: Any) -> dict[tuple[str, Place], Any]:
    """Return what is protected of each agent, by the agent's id and the place in it."""
    entries = find_value(tree, ("agents", "list"))
    found = {}
    for entry in entries if isinstance(entries, list) else ():
        name = find_value(entry, ("id",))
        for place in _OF_AGENT:
            value = _pruned(find_value(entry, place))
            if isinstance(name, str) and value is not None:
                found[normalize_agent_id(name), place] = value
    return found


def _check_includes(before: Any, after: Any) -> None:
    old, new = list(_includes(before, ())), list(_includes(after, ()))
    for place, names in [*old, *new]:
        if not _has(old, place, names) or not _has(new, place, names):
            raise _refusal(place, "is only changed in the file, on the host")


def _includes(tree: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == INCLUDE:
                yield (*place, key), value
            else:
                yield from _includes(value, (*place, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _includes(value, (*place, index))


def _has(found: list[tuple[Place, Any]], place: Place, names: Any) -> bool:
    return any(place == other and same(names, value) for other, value in found)


def _check_references(before: Any, after: Any) -> None:
    """Refuse ``${VAR}`` where the same text was not before: it would read VAR out."""
    known = {(_without_indexes(place), text) for place, text in strings(before)}
    for place, text in strings(after):
        if references(text) and (_without_indexes(place), text) not in known:
            message = "a reference to a variable is only added in the file, on the host"
            raise _refusal(place, message)


def _without_indexes(place: Place) -> Place:
    return tuple("[]" if isinstance(step, int) else step for step in place)


def _check_destinations(before: Any, after: Any, sent: Any, new: Reading) -> None:
    """Refuse to send a secret that the client does not know to another server."""
    hidden = {
        place for place in secret_places(after) if not _is_spelled(sent, after, place)
    }
    for place, entry in _servers(after, ()):
        old = _at(before, place)
        if isinstance(old, dict) and all(
            same(old.get(key), entry.get(key)) for key in _DESTINATION
        ):
            continue
        if any(secret[: len(place)] == place for secret in hidden):
            message = "another server needs its own apiKey and headers in the same edit"
            raise _refusal((*place, "baseUrl"), message)
        if place[:2] == ("models", "providers") and _has_variable(str(place[-1]), new):
            message = (
                "the environment has a key for this provider; "
                "its server is only changed in the file, on the host"
            )
            raise _refusal((*place, "baseUrl"), message)


def _servers(tree: Any, place: Place) -> Iterator[tuple[Place, dict[str, Any]]]:
    if isinstance(tree, dict):
        if "baseUrl" in tree:
            yield place, tree
        for key, value in tree.items():
            yield from _servers(value, (*place, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _servers(value, (*place, index))


def _is_spelled(sent: Any, after: Any, place: Place) -> bool:
    """Say whether the value of *after* at *place* is the client's own.

    Indexes of *sent* may be of another item, for included lists are joined: the value
    itself has to be the same.
    """
    value = _at(sent, place)
    return value not in (None, REDACTED) and same(value, _at(after, place))


def _at(tree: Any, place: Place) -> Any:
    for step in place:
        if isinstance(tree, dict):
            tree = tree.get(str(step))
        elif isinstance(tree, list) and isinstance(step, int) and step < len(tree):
            tree = tree[step]
        else:
            return None
    return tree


def _has_variable(provider: str, reading: Reading) -> bool:
    names = key_variables(provider)
    return any(reading.environ.get(name, "").strip() for name in names)


def _pruned(tree: Any) -> Any:
    """Return *tree* without empty objects, None if nothing is left."""
    if not isinstance(tree, dict):
        return tree
    kept = {key: _pruned(value) for key, value in tree.items()}
    return {key: value for key, value in kept.items() if value is not None} or None


def _refusal(place: Place, message: str) -> EditRefused:
    path = dotted(place)
    return EditRefused(f"{path} {message}", (Issue(path, message),))
