"""Whom a completion means: its agent and its session, from headers and body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from twisted.web.http_headers import Headers

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.ids import new_uuid
from moltbot_gw.agents.keys import (
    BadSessionKey,
    anonymous_key,
    check_key,
    split_key,
    store_key,
    user_key,
)
from moltbot_gw.agents.roster import Roster
from moltbot_gw.config import normalize_agent_id
from moltbot_gw.errors import Forbidden, InvalidRequest, ModelNotFound
from moltbot_gw.principals import AGENT_NOT_ALLOWED, ALL_AGENTS, OWNER, Principal
from moltbot_gw.wire.chat_request import ChatRequest

OwnHeaders = Mapping[bytes, Sequence[bytes]]
"""Values of headers by their names in lower case."""

_NAMES = ("moltbot", "clawdbot", "openclaw")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a completion goes; see ``RunRequest`` for the two keys and *model*."""

    agent_id: str
    session_key: str
    store_key: str
    new_session_id: str
    anonymous: bool
    model: ModelRef | None = None


class Said(msgspec.Struct, frozen=True):
    """A header's value, and the name under which it came."""

    value: str
    name: str


def find_target(
    own: OwnHeaders,
    chat: ChatRequest,
    roster: Roster,
    *,
    global_scope: bool,
    principal: Principal = OWNER,
) -> Target:
    """Return where *chat* of *principal* goes, by the request's *own* headers.

    Raises ``Forbidden``, ``ModelNotFound`` for an agent that is not configured,
    ``InvalidRequest`` for headers that disagree, and for keys and models that a client
    may not use.
    """
    target = _find(own, chat, roster, global_scope, principal)
    asked = find_header(own, "model")
    if asked is None:
        return target
    model = roster.catalog.find(asked.value)
    if not roster.catalog.allows(model, roster.agents[target.agent_id].model):
        raise InvalidRequest(
            f'{asked.name}: the model "{asked.value[:100]}" may not be asked for; see'
            " models.providers and agents.defaults.models.",
            param=asked.name,
            code="model_not_allowed",
        )
    return msgspec.structs.replace(target, model=model)


def _find(
    own: OwnHeaders,
    chat: ChatRequest,
    roster: Roster,
    global_scope: bool,
    principal: Principal,
) -> Target:
    header = find_header(own, "agent-id") or find_header(own, "agent")
    key = find_header(own, "session-key")
    asked, param = _asked_agent(header, chat, roster)
    if key is None:
        agent_id = roster.default_id if asked is None else asked
        _check_agent(agent_id, param, roster, principal)
        return _own_session(_unnamed(agent_id, chat, global_scope), param, principal)
    try:
        check_key(key.value)
    except BadSessionKey as error:
        raise InvalidRequest(f"{key.name}: {error}.", param=key.name) from None
    owner = split_key(key.value)[0]
    if owner is not None and asked is not None and owner != asked:
        raise InvalidRequest(
            f'{key.name}: this session belongs to the agent "{owner}", but "{asked}" is'
            " asked for.",
            param=key.name,
        )
    if owner is not None:
        asked, param = owner, key.name
    agent_id = roster.default_id if asked is None else asked
    _check_agent(agent_id, param, roster, principal)
    target = Target(
        agent_id=agent_id,
        session_key=key.value,
        store_key=store_key(key.value, agent_id, global_scope=global_scope),
        new_session_id=new_uuid(),
        anonymous=False,
    )
    return _own_session(target, key.name, principal)


def _unnamed(agent_id: str, chat: ChatRequest, global_scope: bool) -> Target:
    session_id = new_uuid()
    if chat.user is None:
        key = anonymous_key(agent_id, session_id)
    else:
        key = "global" if global_scope else user_key(agent_id, chat.user)
    return Target(
        agent_id=agent_id,
        session_key=key,
        store_key=key,
        new_session_id=session_id,
        anonymous=chat.user is None,
    )


def _asked_agent(
    header: Said | None, chat: ChatRequest, roster: Roster
) -> tuple[str | None, str]:
    if header is not None:
        return normalize_agent_id(header.value), header.name
    return roster.from_model(chat.model), "model"


def _own_session(target: Target, param: str, principal: Principal) -> Target:
    """Return *target*, unless its session is one of all agents and not all are his."""
    if split_key(target.store_key)[0] is None and principal.agents != ALL_AGENTS:
        raise Forbidden(
            f'{param}: the key "{principal.name}" may not use a session that all'
            " agents share.",
            param=param,
            code=AGENT_NOT_ALLOWED,
        )
    return target


def _check_agent(
    agent_id: str, param: str, roster: Roster, principal: Principal
) -> None:
    # The right comes first, so that it does not tell which other agents there are.
    principal.check_agent(agent_id, param)
    if agent_id not in roster.agents:
        raise ModelNotFound(f'{param}: there is no agent "{agent_id}".', param=param)


def own_headers(headers: Headers) -> OwnHeaders:
    """Return the headers that may be the product's own, for ``find_header``."""
    return {
        name.lower(): values
        for name, values in headers.getAllRawHeaders()
        if name[:2] in (b"X-", b"x-")
    }


def find_header(own: OwnHeaders, suffix: str) -> Said | None:
    """Return what the header ``x-moltbot-<suffix>`` says, under any product's name.

    Raises ``InvalidRequest`` if there are several, and they disagree.
    """
    if not own:
        return None
    said: Said | None = None
    for product in _NAMES:
        name = f"x-{product}-{suffix}"
        for raw in own.get(name.encode("ascii"), ()):
            value = raw.decode("ascii").strip()
            if not value:
                continue
            if said is not None and not _agree(suffix, said.value, value):
                raise InvalidRequest(
                    f"{said.name} and {name} disagree; send one of them.", param=name
                )
            said = said or Said(value, name)
    return said


def _agree(suffix: str, one: str, other: str) -> bool:
    """Whether two headers say the same; of agents, whatever their case."""
    if suffix not in ("session-key", "model"):
        return normalize_agent_id(one) == normalize_agent_id(other)
    return one == other
