"""Who is here: the gateway itself, its clients, and what reports of itself.

An entry is ``{host?, ip?, version?, platform?, deviceFamily?, modelIdentifier?, mode?,
lastInputSeconds?, reason?, tags?, text, ts, deviceId?, roles?, scopes?, instanceId?}``.
Entries live for ``TTL_SECONDS`` after they were last heard of; the gateway's own is
made afresh for every listing.

Source: upstream ``src/infra/system-presence.ts``.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from moltbot_gw.ws.calls import Caller

TTL_SECONDS = 300.0
MAX_ENTRIES = 200
MAX_TEXT_CHARS = 1000
MAX_FIELD_CHARS = 200
MAX_ITEMS = 32
"""Bounds of what one report may leave behind: texts and lists are cut."""

REPORTED = ("host", "ip", "version", "mode", "reason")
"""The fields whose change is news for the agent."""

_FAMILIES = {"darwin": "Mac", "linux": "Linux", "windows": "Windows"}
_PLACE = re.compile(r"Node:\s*(?P<host>[^·(]{1,200})(?:\((?P<ip>[^)·]{1,200})\))?")
_SAID = re.compile(r"(?P<name>app|mode|reason) (?P<value>[^·]{1,200})")
_LAST_INPUT = re.compile(r"last input (?P<seconds>[0-9]{1,9})s ago")


class Report(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """What is said of one who is here; None is unsaid."""

    host: str | None = None
    ip: str | None = None
    version: str | None = None
    platform: str | None = None
    device_family: str | None = None
    model_identifier: str | None = None
    mode: str | None = None
    last_input_seconds: float | None = None
    reason: str | None = None
    device_id: str | None = None
    instance_id: str | None = None
    roles: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None


class _Entry(Report, frozen=True, kw_only=True):
    """A report with its *text*, and when it was made (Unix ms)."""

    text: str
    ts: int


class Presence:
    """Keeps the entries by their keys; *version* goes up with each change of them."""

    def __init__(
        self, *, unix_time: Callable[[], float], version: str, host: str
    ) -> None:
        self._unix_time = unix_time
        self._own = _own_report(version, host)
        self._entries: dict[str, _Entry] = {}
        self.version = 1

    def connected(self, caller: Caller) -> None:
        """Enter a client, unless it is a command that comes and goes."""
        if caller.client.mode != "cli":
            self._enter(_key_of(caller), _shortened(_report_of(caller, "connect")))

    def disconnected(self, caller: Caller) -> bool:
        """Note that it has gone; whether the others should be told."""
        if caller.client.mode == "cli":
            return False
        self._enter(_key_of(caller), _shortened(_report_of(caller, "disconnect")))
        return True

    def update(self, text: str, report: Report) -> dict[str, str]:
        """Enter what *report* and *text* say; return what of ``REPORTED`` has changed.

        A text like ``Node: <host> (<ip>) · app <version> · mode <mode> · reason
        <reason>`` fills in what the report leaves unsaid.
        """
        said = _merged(_report_in(text), _shortened(report))
        key = said.device_id or said.instance_id or said.host or said.ip or text[:64]
        key = key.strip().lower()
        before = self._fresh().get(key)
        after = self._enter(key, said, text[:MAX_TEXT_CHARS])
        return {
            name: getattr(after, name)
            for name in REPORTED
            if getattr(after, name) is not None
            and (before is None or getattr(before, name) != getattr(after, name))
        }

    def entries(self) -> list[dict[str, Any]]:
        """Return all entries as clients see them, the newest first."""
        own = _entry(self._own, _own_text(self._own), self._now_ms())
        others = sorted(self._fresh().values(), key=lambda entry: -entry.ts)
        return [msgspec.to_builtins(entry) for entry in (own, *others)]

    def _enter(self, key: str, report: Report, text: str | None = None) -> _Entry:
        fresh = self._fresh()
        before = fresh.pop(key, None)
        merged = report if before is None else _merged(before, report)
        text = text or (before.text if before else _default_text(report))
        entry = fresh[key] = _entry(merged, text, self._now_ms())
        if len(fresh) >= MAX_ENTRIES:  # the gateway's own counts too
            del fresh[next(iter(fresh))]
        self.version += 1
        return entry

    def _fresh(self) -> dict[str, _Entry]:
        """Forget what is too old; the entries stand in the order of their times."""
        oldest = self._now_ms() - int(TTL_SECONDS * 1000)
        for key, entry in tuple(self._entries.items()):
            if entry.ts < oldest:
                del self._entries[key]
        return self._entries

    def _now_ms(self) -> int:
        return int(self._unix_time() * 1000)


def _key_of(caller: Caller) -> str:
    instance = caller.device_id or caller.client.instance_id or caller.conn_id
    return instance.strip().lower()


def _report_of(caller: Caller, reason: str) -> Report:
    client = caller.client
    return Report(
        host=client.display_name or client.id,
        ip=caller.address,
        version=client.version,
        platform=client.platform,
        device_family=client.device_family,
        model_identifier=client.model_identifier,
        mode=client.mode,
        reason=reason,
        device_id=caller.device_id,
        instance_id=caller.device_id or client.instance_id,
        roles=(caller.role,),
        scopes=tuple(sorted(caller.scopes)),
    )


def _own_report(version: str, host: str) -> Report:
    system = platform.system()
    return Report(
        host=host,
        version=version,
        platform=f"{system.lower()} {platform.release()}",
        device_family=_FAMILIES.get(system.lower(), system or None),
        model_identifier=platform.machine() or None,
        mode="gateway",
        reason="self",
    )


def _own_text(own: Report) -> str:
    return f"Gateway: {own.host} · app {own.version} · mode gateway · reason self"


def _default_text(report: Report) -> str:
    return f"Node: {report.host} · mode {report.mode}"


def _report_in(text: str) -> Report:
    """Return what a presence line says; nothing for any other text."""
    place = _PLACE.match(text)
    if place is None:
        return Report()
    said = {m["name"]: m["value"].strip() for m in _SAID.finditer(text)}
    idle = _LAST_INPUT.search(text)
    return Report(
        host=place["host"].strip() or None,
        ip=(place["ip"] or "").strip() or None,
        version=said.get("app"),
        mode=said.get("mode"),
        reason=said.get("reason"),
        last_input_seconds=float(idle["seconds"]) if idle else None,
    )


def _merged(old: Report, young: Report) -> Report:
    """Return *young*, with what it leaves unsaid taken from *old*."""
    said = {
        name: getattr(old, name)
        for name in Report.__struct_fields__
        if getattr(young, name) is None
    }
    return replace(young, **said)


def _entry(report: Report, text: str, ts: int) -> _Entry:
    said = {name: getattr(report, name) for name in Report.__struct_fields__}
    return _Entry(**said, text=text, ts=ts)


def _shortened(report: Report) -> Report:
    return Report(
        **{name: _short(getattr(report, name)) for name in Report.__struct_fields__}
    )


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip()[:MAX_FIELD_CHARS] or None
    if isinstance(value, tuple):
        return tuple(item[:MAX_FIELD_CHARS] for item in value[:MAX_ITEMS])
    return value
