"""The tokens that gateways gave to this device, one for each role, in a file.

The file is ``<state>/identity/device-auth.json`` of the original: ``{version: 1,
deviceId, tokens: {<role>: {token, role, scopes, updatedAtMs}}}``, for its owner only.
A file that cannot be read, or of another device, counts as empty: a token is a
convenience, and the shared secret gets the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from twisted.logger import Logger

from moltbot_gw import privatefile
from moltbot_gw.config import Secret

MAX_FILE_BYTES = 65_536


class DeviceTokens:
    """The file at *path*, as seen by the device *device_id*."""

    _log = Logger()

    def __init__(self, path: Path, device_id: str) -> None:
        self._path = path
        self._device_id = device_id

    def find(self, role: str) -> Secret | None:
        """Return the token for *role*, if one is kept."""
        entry = self._read().get(role)
        token = entry.get("token") if isinstance(entry, dict) else None
        return Secret(token) if isinstance(token, str) and token else None

    def keep(self, role: str, token: Secret, scopes: Sequence[str], at_ms: int) -> None:
        """Write the token for *role*; only logs when the disk refuses."""
        entry = {
            "token": token.reveal(),
            "role": role,
            "scopes": list(scopes),
            "updatedAtMs": at_ms,
        }
        self._write({**self._read(), role: entry})

    def forget(self, role: str) -> None:
        """Delete the token for *role*."""
        self._write({name: one for name, one in self._read().items() if name != role})

    def _read(self) -> dict[str, Any]:
        try:
            data = privatefile.read(self._path, MAX_FILE_BYTES)
            document = msgspec.json.decode(data or b"")
        except (OSError, ValueError, RecursionError):
            return {}
        if (
            not isinstance(document, dict)
            or document.get("deviceId") != self._device_id
        ):
            return {}
        tokens = document.get("tokens")
        return tokens if isinstance(tokens, dict) else {}

    def _write(self, tokens: dict[str, Any]) -> None:
        document = {"version": 1, "deviceId": self._device_id, "tokens": tokens}
        try:
            text = msgspec.json.format(msgspec.json.encode(document), indent=2)
            privatefile.write(self._path, text + b"\n")
        except OSError as error:
            self._log.warn("cannot keep the device's token: {why}", why=error.strerror)
