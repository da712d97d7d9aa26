"""The two files of paired and pending devices; everything here runs in a thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from moltbot_gw import privatefile
from moltbot_gw.devices import records
from moltbot_gw.devices.records import Books

_MAX_BYTES = 64 * 1024 * 1024

_Entries = TypeVar("_Entries")

Notices = tuple[str, ...]
"""What the operator should hear of; the thread does not log."""


class DeviceFiles:
    """Reads and writes books in *folder*, which is made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pending = folder / "pending.json"
        self._paired = folder / "paired.json"

    def load(self, now_ms: int) -> tuple[Books, Notices]:
        """Return what was saved; raise ``OSError`` if that cannot be read.

        A file that makes no sense is moved aside and counts as empty.
        """
        privatefile.clear_leftovers(self._folder)
        notices: list[str] = []
        books = Books(
            pending=_load(self._pending, records.decode_pending, now_ms, notices),
            paired=_load(self._paired, records.decode_paired, now_ms, notices),
        )
        return books, tuple(notices)

    def save(self, before: Books, after: Books) -> Notices:
        """Write what differs; after an ``OSError`` the files still say *before*.

        Devices go first, and then the failure to write the requests is only a notice:
        what is left in their file is stale, and gone after some minutes.
        """
        devices_saved = after.paired != before.paired
        if devices_saved:
            privatefile.write(self._paired, records.encode(after.paired))
        try:
            if after.pending != before.pending:
                privatefile.write(self._pending, records.encode(after.pending))
        except OSError as error:
            if not devices_saved:
                raise
            return (f"{self._pending} could not be written: {error.strerror}",)
        return ()


def _load(
    path: Path,
    decode: Callable[[bytes], dict[str, _Entries]],
    now_ms: int,
    notices: list[str],
) -> dict[str, _Entries]:
    data = privatefile.read(path, _MAX_BYTES)
    if data is None:
        return {}
    try:
        return decode(data)
    except (ValueError, RecursionError):
        aside = privatefile.set_aside(path, now_ms)
        notices.append(f"{path} is damaged; it is kept as {aside.name}")
        return {}
