"""The settings of a session, and the JSON text that keeps them in its row.

Nothing guards that text as the hash chain guards the entries; what a fault of the disk
has made unreadable is noticed, and who would act upon it is told.  It is read as bytes,
because ``sqlite3`` fails a whole list for one row that is not UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from moltbot_gw.sessions.faults import SettingsDamaged
from moltbot_gw.stored import SessionSettings

_UNSET = SessionSettings()
_UNSET_TEXT = b"{}"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(SessionSettings).decode


def read(stored: bytes, session_id: str) -> SessionSettings:
    """Return the settings in *stored*; raise ``SettingsDamaged`` if they are lost."""
    if stored == _UNSET_TEXT:
        return _UNSET
    try:
        return _decode(stored)
    except ValueError as error:  # msgspec's own, or UnicodeDecodeError
        raise SettingsDamaged(session_id) from error


def read_if_whole(stored: bytes) -> SessionSettings:
    """Return the settings in *stored*, none at all if they are lost.

    For who only shows them, or is about to mend them.
    """
    try:
        return read(stored, "")
    except SettingsDamaged:
        return _UNSET


def changed(
    settings: SessionSettings, changes: Mapping[str, str | None]
) -> SessionSettings:
    """Return *settings* with the attributes that *changes* names."""
    return msgspec.structs.replace(settings, **changes)


def write(settings: SessionSettings) -> str:
    """Return the text of *settings*."""
    return _encode(settings).decode()


def after_reset(stored: bytes) -> str:
    """Return what a reset leaves of the settings in *stored*.

    Source: upstream ``src/gateway/server-methods/sessions.ts``, ``sessions.reset``.
    The model stays as well: who has chosen one wants it for the next conversation too.
    """
    old = read_if_whole(stored)
    return write(
        SessionSettings(
            label=old.label,
            thinking_level=old.thinking_level,
            verbose_level=old.verbose_level,
            reasoning_level=old.reasoning_level,
            response_usage=old.response_usage,
            model=old.model,
            send_policy=old.send_policy,
        )
    )
