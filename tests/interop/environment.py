"""A virtual environment with LangChain, made once into a folder that is kept."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.interop.package import NotInstallable, cache_folder

_REQUIREMENTS = Path(__file__).with_name("langchain-requirements.txt")
_INSTALL = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
_INSTALL_SECONDS = 600.0


def langchain_python() -> Path:
    """Return an interpreter that has LangChain; raise ``NotInstallable``."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()[:8]
    folder = cache_folder() / f"langchain-{version}-{digest}"
    if not folder.is_dir():
        _install(folder)
    return folder / "bin" / "python"


def _install(folder: Path) -> None:
    """Install beside *folder*, and move it there when it is whole."""
    with tempfile.TemporaryDirectory(
        dir=folder.parent, ignore_cleanup_errors=True
    ) as name:
        work = Path(name) / "work"
        _do(sys.executable, "-m", "venv", str(work))
        _do(str(work / "bin" / "python"), *_INSTALL, "-r", str(_REQUIREMENTS))
        try:
            work.rename(folder)
        except OSError:
            # Somebody else was faster; theirs is as good.
            if not folder.is_dir():
                raise


def _do(*command: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise NotInstallable(f"pip took over {_INSTALL_SECONDS:g} s") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise NotInstallable(f"pip cannot install: {last}")
