"""The configuration file as a thing to look at and to edit.

For the methods ``config.get``, ``.set``, ``.patch``, ``.apply`` and the command
``moltbot config``.  Every method reads the disk, and parsing JSON5 takes 0.2 s for
8 KB: not to be called in the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .edit import INVALID_BEFORE, Mode, Plan, plan_change, plan_edit
from .issues import ConfigError
from .keypath import MISSING, KeyPath, set_at, unset_at
from .paths import config_path
from .reading import Reader, Reading
from .refusal import EditRefused
from .snapshot import Snapshot, make_snapshot
from .writing import write_config

READ_ONLY = "the configuration is read-only (CLAWDBOT_NIX_MODE=1)"


@dataclass(frozen=True)
class ConfigFile:
    """The file *path*, which need not exist, in the given environment."""

    environ: Mapping[str, str] = field(repr=False)
    home: Path
    path: Path

    @property
    def _reader(self) -> Reader:
        return Reader(self.environ, self.home, self.path)

    def snapshot(self) -> Snapshot:
        """Return what a client may see of the file; never raises for its content."""
        return make_snapshot(self.path, self._reader.read_file())

    def effective(self) -> Any:
        """Return the tree with includes, variables and defaults, secrets in clear.

        For the file's owner only.  Raises `ConfigError` when the file is not valid.
        """
        reading = self._reader.read_file()
        if not reading.valid:
            raise ConfigError(self.path, reading.issues)
        return reading.effective

    def written(self) -> Any:
        """Return the tree that the file itself spells, without includes and defaults.

        For the file's owner only.  None if there is no file that can be read.
        """
        return self._reader.read_file().written

    def edit(self, mode: Mode, raw: str, base_hash: str | None) -> Snapshot:
        """Make an edit that came over the network and return the outcome.

        Raises `EditRefused`, and the file is as it was.
        """
        old = self._reader.read_file()
        return self._write(old, plan_edit(self._reader, old, raw, mode, base_hash))

    def set_value(self, path: KeyPath, value: Any) -> Snapshot:
        """Set one value, on the host; nothing is protected from the owner.

        Raises `KeyPathError` for a path that leads nowhere and `EditRefused`: with
        the issues of the file when it is not valid as it is, of the outcome otherwise.
        """
        old = self._valid()
        return self._write(
            old, plan_change(self._reader, old, set_at(old.written, path, value))
        )

    def unset_value(self, path: KeyPath) -> Snapshot | None:
        """Remove one value, on the host; None if the file itself has none there.

        Raises `EditRefused` as above.
        """
        old = self._valid()
        tree = unset_at(old.written, path)
        if tree is MISSING:
            return None
        return self._write(old, plan_change(self._reader, old, tree))

    def _valid(self) -> Reading:
        reading = self._reader.read_file()
        if not reading.valid:
            raise EditRefused(INVALID_BEFORE, reading.issues)
        return reading

    def _write(self, old: Reading, plan: Plan) -> Snapshot:
        if self.environ.get("CLAWDBOT_NIX_MODE") == "1":
            raise EditRefused(READ_ONLY)
        write_config(self.path, plan.text, expected_hash=old.hash)
        return make_snapshot(self.path, plan.reading)


def find_config_file(
    environ: Mapping[str, str], home: Path, path: Path | None = None
) -> ConfigFile:
    """Return the file *path*, or the one in the usual places."""
    return ConfigFile(environ, home, path or config_path(environ, home))


def read_snapshot(
    environ: Mapping[str, str], home: Path, path: Path | None = None
) -> Snapshot:
    """Return what a client may see of the configuration file."""
    return find_config_file(environ, home, path).snapshot()
