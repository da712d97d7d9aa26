"""``config.*``: the configuration file, seen without its secrets and edited whole.

What is written is taken over like any other change of the file, without a restart; so
the answers of ``patch`` and ``apply`` have none to tell of.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

from msgspec import Meta
from twisted.logger import Logger

from moltbot_gw import __version__
from moltbot_gw.config.edit import Mode
from moltbot_gw.config.file import ConfigFile
from moltbot_gw.config.refusal import EditRefused
from moltbot_gw.config.schema import json_schema, ui_hints
from moltbot_gw.config.snapshot import Snapshot, issues_to_wire
from moltbot_gw.interfaces import RunInThread
from moltbot_gw.ws.calls import Call, Method, NoParams, Params, invalid

_log = Logger()

Raw = Annotated[str, Meta(min_length=1)]


class SetParams(Params, frozen=True, kw_only=True):
    """A whole configuration as JSON5, and the hash of the text that it replaces."""

    raw: Raw
    base_hash: str | None = None


class ApplyParams(SetParams, frozen=True, kw_only=True):
    """The same, or a patch; what is said for a restart has no meaning here."""

    session_key: str | None = None
    note: str | None = None
    restart_delay_ms: Annotated[int, Meta(ge=0)] | None = None


class ConfigMethods:
    """Reads and edits *file*, always in a thread."""

    def __init__(self, *, file: ConfigFile, run_in_thread: RunInThread) -> None:
        self._file = file
        self._run_in_thread = run_in_thread

    def methods(self) -> list[Method]:
        """Return the methods of this module."""
        return [
            Method("config.get", "admin", NoParams, self.get),
            Method("config.set", "admin", SetParams, self.set),
            Method("config.apply", "admin", ApplyParams, self.apply),
            Method("config.patch", "admin", ApplyParams, self.patch),
            Method("config.schema", "admin", NoParams, self.schema),
        ]

    async def get(self, call: Call, params: NoParams) -> Any:
        """Show the file, with every secret hidden."""
        snapshot = await self._run_in_thread(self._file.snapshot)
        return snapshot.to_wire()

    async def schema(self, call: Call, params: NoParams) -> Any:
        """Describe what the file may hold."""
        schema, hints = await self._run_in_thread(lambda: (json_schema(), ui_hints()))
        generated = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return {
            "schema": schema,
            "uiHints": hints,
            "version": __version__,
            "generatedAt": generated,
        }

    async def set(self, call: Call, params: SetParams) -> Any:
        """Replace the file."""
        return _written(await self._edit(call, "set", params))

    async def apply(self, call: Call, params: ApplyParams) -> Any:
        """Replace the file, for clients that expect a restart after it."""
        return _written(await self._edit(call, "apply", params)) | _NO_RESTART

    async def patch(self, call: Call, params: ApplyParams) -> Any:
        """Merge something into the file."""
        return _written(await self._edit(call, "patch", params)) | _NO_RESTART

    async def _edit(self, call: Call, mode: Mode, params: SetParams) -> Snapshot:
        try:
            snapshot = await self._run_in_thread(
                lambda: self._file.edit(mode, params.raw, params.base_hash)
            )
        except EditRefused as refused:
            issues = issues_to_wire(refused.issues)
            details = {"issues": issues} if issues else None
            raise invalid(refused.message, details=details) from None
        _log.info(
            "the configuration was changed by {client} (config.{mode})",
            client=call.caller.client.id,
            mode=mode,
        )
        return snapshot


_NO_RESTART: dict[str, Any] = {
    "restart": None,
    "sentinel": {"path": None, "payload": {}},
}


def _written(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "ok": True,
        "path": str(snapshot.path),
        "config": snapshot.config,
        "hash": snapshot.hash,
    }
