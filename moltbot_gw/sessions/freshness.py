"""When a stored session is too old to go on with, and what kind a session is.

Source of the rules: upstream ``src/config/sessions/reset.ts``.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Literal

import attrs

SessionKind = Literal["dm", "group", "thread"]

_DEFAULT_IDLE_MINUTES = 60


@attrs.frozen(kw_only=True)
class ResetPolicy:
    """When a session starts afresh.

    ``daily``: when the local clock passes *at_hour* (0 to 23), and also after
    *idle_minutes* if they are given.  ``idle``: only after *idle_minutes*, 60 unless
    given.
    """

    mode: Literal["daily", "idle"] = attrs.field(
        default="daily", validator=attrs.validators.in_(("daily", "idle"))
    )
    at_hour: int = attrs.field(default=4, validator=attrs.validators.in_(range(24)))
    idle_minutes: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.ge(1))
    )


def fresh_after_ms(policy: ResetPolicy, now_ms: int, tz: tzinfo | None = None) -> int:
    """Return the Unix millisecond from which on a touched session is still fresh.

    *tz* None is the machine's own zone.
    """
    if policy.mode == "idle":
        return now_ms - (policy.idle_minutes or _DEFAULT_IDLE_MINUTES) * 60_000
    reset_ms = _last_reset_ms(policy.at_hour, now_ms, tz)
    if policy.idle_minutes is None:
        return reset_ms
    return max(reset_ms, now_ms - policy.idle_minutes * 60_000)


def _last_reset_ms(at_hour: int, now_ms: int, tz: tzinfo | None) -> int:
    """Return the last moment not after *now_ms* at which it was *at_hour* in *tz*.

    Days are counted on the wall clock and compared in real time.  An hour that the
    clock skips counts as the moment of the skip, one that comes twice counts at its
    first coming.  More than one step back is needed where a zone skipped a whole day
    (Pacific/Apia, 2011-12-30).
    """
    now = datetime.fromtimestamp(now_ms // 1000, tz)
    reset = now.replace(hour=at_hour, minute=0, second=0, microsecond=0, fold=0)
    while reset.timestamp() * 1000 > now_ms:
        reset -= timedelta(days=1)
    return int(reset.timestamp()) * 1000


def session_kind(session_key: str) -> SessionKind:
    """Return what *session_key* speaks of; a thread inside a group is a thread."""
    key = session_key.lower()
    if ":thread:" in key or ":topic:" in key:
        return "thread"
    if ":group:" in key or ":channel:" in key:
        return "group"
    return "dm"
