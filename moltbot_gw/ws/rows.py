"""Sessions as clients see them: rows of lists, and the entry behind a row.

Times are in Unix milliseconds.  The *model* is the one that the session was given, else
the one of its last run.

Source: upstream ``src/gateway/session-utils.ts``, ``src/commands/status.summary.ts``.
"""

from __future__ import annotations

from typing import Any, Literal

from moltbot_gw.agents.catalog import Catalog, ModelRef
from moltbot_gw.stored import SessionSettings, SessionSummary
from moltbot_gw.ws.calls import Result

Kind = Literal["direct", "group", "global", "unknown"]
MAX_PERCENT = 999

_PLAIN = tuple(name for name in SessionSettings.__struct_fields__ if name != "model")


class _Levels(Result, frozen=True, kw_only=True):
    """What every view of a session shows of its settings."""

    thinking_level: str | None = None
    verbose_level: str | None = None
    reasoning_level: str | None = None
    elevated_level: str | None = None


class _Settings(_Levels, frozen=True, kw_only=True):
    """What the longer views show, too."""

    label: str | None = None
    spawned_by: str | None = None
    response_usage: str | None = None
    send_policy: str | None = None
    model_provider: str | None = None
    model: str | None = None
    context_tokens: int | None = None


class ListRow(_Settings, frozen=True, kw_only=True):
    """A row of ``sessions.list``."""

    key: str
    kind: Kind
    session_id: str
    updated_at: int
    aborted_last_run: bool
    input_tokens: int
    output_tokens: int
    total_tokens: int
    derived_title: str | None = None
    last_message_preview: str | None = None


class Entry(_Settings, frozen=True, kw_only=True):
    """What is stored of a session, as those who change it are answered."""

    session_id: str
    updated_at: int
    aborted_last_run: bool
    input_tokens: int
    output_tokens: int
    total_tokens: int
    group_activation: str | None = None
    exec_host: str | None = None
    exec_security: str | None = None
    exec_ask: str | None = None
    exec_node: str | None = None
    provider_override: str | None = None
    model_override: str | None = None


class RecentRow(Result, frozen=True, kw_only=True):
    """A session in the overview of ``health``."""

    key: str
    updated_at: int
    age: int


class StatusRow(_Levels, frozen=True, kw_only=True):
    """A session in ``status``; *age* in milliseconds."""

    agent_id: str
    key: str
    kind: Kind
    session_id: str
    updated_at: int
    age: int
    aborted_last_run: bool
    input_tokens: int
    output_tokens: int
    total_tokens: int
    remaining_tokens: int | None
    percent_used: int | None
    model: str | None
    context_tokens: int | None
    flags: tuple[str, ...]


def kind_of(key: str) -> Kind:
    """Return what sort of conversation a key in the store means."""
    if key == "global":
        return "global"
    if key == "unknown":
        return "unknown"
    return "group" if ":group:" in key or ":channel:" in key else "direct"


def model_of(summary: SessionSummary, catalog: Catalog) -> ModelRef | None:
    """Return the session's model; None if it has not had any."""
    if summary.settings.model is not None:
        return catalog.find(summary.settings.model)
    if summary.provider is None or summary.model is None:
        return None
    return catalog.find(f"{summary.provider}/{summary.model}")


def list_row(summary: SessionSummary, catalog: Catalog) -> ListRow:
    """Return the row of a session, without what its transcript would tell."""
    return ListRow(
        key=summary.session_key,
        kind=kind_of(summary.session_key),
        **_common(summary, catalog, ListRow),
    )


def entry_of(summary: SessionSummary, catalog: Catalog) -> Entry:
    """Return what is stored of a session."""
    chosen = summary.settings.model
    override = None if chosen is None else catalog.find(chosen)
    return Entry(
        provider_override=override.provider if override else None,
        model_override=override.model if override else None,
        **_common(summary, catalog, Entry),
    )


def recent_row(summary: SessionSummary, now_ms: int) -> RecentRow:
    """Return the shortest view of a session."""
    return RecentRow(
        key=summary.session_key,
        updated_at=summary.updated_at_ms,
        age=max(0, now_ms - summary.updated_at_ms),
    )


def status_row(
    summary: SessionSummary, own: ModelRef | None, catalog: Catalog, now_ms: int
) -> StatusRow:
    """Return how full a session is; *own* is what its agent runs by itself."""
    ref = model_of(summary, catalog) or own
    window = ref.context_window if ref else None
    total = summary.total_tokens
    return StatusRow(
        agent_id=summary.agent_id,
        key=summary.session_key,
        kind=kind_of(summary.session_key),
        age=max(0, now_ms - summary.updated_at_ms),
        remaining_tokens=None if window is None else max(0, window - total),
        percent_used=_percent(total, window),
        model=ref.model if ref else None,
        context_tokens=window,
        flags=_flags(summary),
        **_counts(summary),
        **_settings(summary, StatusRow),
    )


def _common(
    summary: SessionSummary, catalog: Catalog, view: type[_Settings]
) -> dict[str, Any]:
    ref = model_of(summary, catalog)
    return {
        "model_provider": ref.provider if ref else None,
        "model": ref.model if ref else None,
        "context_tokens": ref.context_window if ref else None,
        **_counts(summary),
        **_settings(summary, view),
    }


def _counts(summary: SessionSummary) -> dict[str, Any]:
    return {
        "session_id": summary.session_id,
        "updated_at": summary.updated_at_ms,
        "aborted_last_run": summary.aborted_last_run,
        "input_tokens": summary.input_tokens,
        "output_tokens": summary.output_tokens,
        "total_tokens": summary.total_tokens,
    }


def _settings(summary: SessionSummary, view: type[_Levels]) -> dict[str, Any]:
    shown = view.__struct_fields__
    return {name: getattr(summary.settings, name) for name in _PLAIN if name in shown}


def _percent(total: int, window: int | None) -> int | None:
    if not window:
        return None
    return min(MAX_PERCENT, round(total * 100 / window))


def _flags(summary: SessionSummary) -> tuple[str, ...]:
    settings = summary.settings
    levels = (
        ("think", settings.thinking_level),
        ("verbose", settings.verbose_level),
        ("reasoning", settings.reasoning_level),
        ("elevated", settings.elevated_level),
    )
    flags = [f"{name}:{level}" for name, level in levels if level]
    if summary.aborted_last_run:
        flags.append("aborted")
    return (*flags, f"id:{summary.session_id}")
