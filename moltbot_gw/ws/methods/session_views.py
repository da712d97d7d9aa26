"""Looking at sessions: the list, the previews, and finding one.

Source: upstream ``src/gateway/session-utils.ts``, ``sessions-resolve.ts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta
from msgspec.structs import replace

from moltbot_gw.config import normalize_agent_id
from moltbot_gw.errors import StoreFailed
from moltbot_gw.stored import SessionQuery, SessionSummary
from moltbot_gw.ws.calls import Call, MethodError, Params, Result, invalid
from moltbot_gw.ws.methods.loose import Positive, Text1
from moltbot_gw.ws.methods.session_tools import SessionTools
from moltbot_gw.ws.previews import Item, items_of, last_words, plain_title, title_of
from moltbot_gw.ws.rows import ListRow, list_row

MAX_ROWS = 2000
"""The longest list; the sessions that were touched last stand in it."""

MAX_TOLD = 100
"""So many rows of a list tell of their transcripts."""

MAX_TITLE_ENTRIES = 200
"""The first words are not looked for in a transcript longer than this."""

LAST_ENTRIES = 10
MAX_PREVIEWS = 64
MAX_NAMED = 10
MAX_ITEMS = 50
MAX_ITEM_CHARS = 2000

Label = Annotated[str, Meta(min_length=1, max_length=64)]


class ListParams(Params, frozen=True, kw_only=True):
    """Which sessions, and what of their transcripts."""

    limit: Positive | None = None
    active_minutes: Positive | None = None
    include_global: bool = False
    include_unknown: bool = False
    include_derived_titles: bool = False
    include_last_message: bool = False
    label: Label | None = None
    spawned_by: Text1 | None = None
    agent_id: Text1 | None = None
    search: str = ""


class PreviewParams(Params, frozen=True, kw_only=True):
    """Whose ends, and how much of them."""

    keys: Annotated[list[Text1], Meta(min_length=1)]
    limit: Positive = 12
    max_chars: Annotated[int, Meta(ge=20)] = 240


class ResolveParams(Params, frozen=True, kw_only=True):
    """One of *key*, *session_id* and *label*; the rest narrows the search."""

    key: Text1 | None = None
    session_id: Text1 | None = None
    label: Label | None = None
    agent_id: Text1 | None = None
    spawned_by: Text1 | None = None
    include_global: bool = False
    include_unknown: bool = False


class Preview(Result, frozen=True, kw_only=True):
    """The end of one session, under the key that the client gave."""

    key: str
    status: Literal["ok", "empty", "missing", "error"]
    items: list[Item]


class SessionViews:
    """The handlers."""

    def __init__(self, tools: SessionTools) -> None:
        self._tools = tools

    async def list_sessions(self, call: Call, params: ListParams) -> Any:
        """List the sessions, the newest first."""
        tools = self._tools
        now_ms = tools.now_ms()
        limit = min(params.limit or MAX_ROWS, MAX_ROWS)
        found = await tools.store.list_sessions(_query(params, now_ms, limit=limit))
        rows = [list_row(summary, tools.catalog) for summary in found]
        if params.include_derived_titles or params.include_last_message:
            for place, summary in enumerate(found[:MAX_TOLD]):
                rows[place] = await self._tell(rows[place], summary, params)
        roster = tools.agents.roster
        own = roster.agents[roster.default_id].model
        return {
            "ts": now_ms,
            "path": tools.store_path,
            "count": len(rows),
            "defaults": {
                "modelProvider": own.provider,
                "model": own.model,
                "contextTokens": own.context_window,
            },
            "sessions": rows,
        }

    async def preview(self, call: Call, params: PreviewParams) -> Any:
        """Show the last few messages of several sessions."""
        limit = min(params.limit, MAX_ITEMS)
        max_chars = min(params.max_chars, MAX_ITEM_CHARS)
        previews = [
            await self._preview(key, limit, max_chars)
            for key in params.keys[:MAX_PREVIEWS]
        ]
        return {"ts": self._tools.now_ms(), "previews": previews}

    async def resolve(self, call: Call, params: ResolveParams) -> Any:
        """Find the key of one session."""
        given = [params.key, params.session_id, params.label]
        count = sum(one is not None for one in given)
        if count > 1:
            raise invalid("Provide either key, sessionId, or label (not multiple)")
        if not count:
            raise invalid("Either key, sessionId, or label is required")
        if params.key is not None:
            return {"ok": True, "key": await self._by_key(params.key)}
        wish = ListParams(
            include_global=params.include_global,
            include_unknown=params.include_unknown,
            agent_id=params.agent_id,
            spawned_by=params.spawned_by,
            label=params.label,
        )
        query = _query(wish, self._tools.now_ms(), limit=MAX_NAMED)
        if params.label is not None:
            wanted = params.label
            return _the_only(
                await self._tools.store.list_sessions(query),
                f"No session found with label: {wanted}",
                f"Multiple sessions found with label: {wanted}",
            )
        wanted = params.session_id or ""
        return _the_only(
            await self._with_id(wanted, query),
            f"No session found: {wanted}",
            f"Multiple sessions found for sessionId: {wanted}",
        )

    async def _with_id(self, wanted: str, query: SessionQuery) -> list[SessionSummary]:
        """Return what *query* wants with this id, or with this key as its id."""
        store = self._tools.store
        found = await store.list_sessions(replace(query, session_id=wanted))
        named = await store.find_session(wanted)
        if named is not None and query.wants(named) and named not in found:
            found.append(named)
        return found

    async def _by_key(self, text: str) -> str:
        key = self._tools.key("sessions.resolve", text)
        if await self._tools.store.find_session(key) is None:
            raise invalid(f"No session found: {text}")
        return key

    async def _tell(
        self, row: ListRow, summary: SessionSummary, params: ListParams
    ) -> ListRow:
        """Return *row* with what the transcript tells of the session."""
        wants_title = params.include_derived_titles
        is_short = summary.messages <= MAX_TITLE_ENTRIES
        limit = MAX_TITLE_ENTRIES if wants_title and is_short else LAST_ENTRIES
        try:
            found = await self._tools.store.transcript(summary.session_key, limit)
        except StoreFailed:
            found = None  # one damaged session does not hide the others
        entries = found.entries if found else ()
        title = title_of(entries) if is_short else None
        return replace(
            row,
            derived_title=(title or plain_title(summary)) if wants_title else None,
            last_message_preview=(
                last_words(entries) if params.include_last_message else None
            ),
        )

    async def _preview(self, key: str, limit: int, max_chars: int) -> Preview:
        tools = self._tools
        try:
            found = await tools.store.transcript(
                tools.key("sessions.preview", key, "keys"), limit * 2
            )
        except MethodError:
            return Preview(key=key, status="missing", items=[])
        except StoreFailed:
            return Preview(key=key, status="error", items=[])
        if found is None:
            return Preview(key=key, status="missing", items=[])
        items = items_of(found.entries, limit, max_chars)
        return Preview(key=key, status="ok" if items else "empty", items=items)


def _query(params: ListParams, now_ms: int, *, limit: int) -> SessionQuery:
    """Return what *params* ask for, as the store understands it."""
    hidden = {"global": params.include_global, "unknown": params.include_unknown}
    agent_id, minutes = params.agent_id, params.active_minutes
    return SessionQuery(
        agent_id=None if agent_id is None else normalize_agent_id(agent_id),
        label=params.label,
        spawned_by=params.spawned_by,
        words=params.search.strip().lower(),
        updated_since_ms=None if minutes is None else now_ms - minutes * 60_000,
        hidden=frozenset(key for key, is_shown in hidden.items() if not is_shown),
        limit=limit,
    )


def _the_only(found: Sequence[SessionSummary], none: str, several: str) -> Any:
    """Return the answer for one session; *none* and *several* say why not."""
    if not found:
        raise invalid(none)
    if len(found) > 1:
        keys = ", ".join(summary.session_key for summary in found[:MAX_NAMED])
        raise invalid(f"{several} ({keys})")
    return {"ok": True, "key": found[0].session_key}
