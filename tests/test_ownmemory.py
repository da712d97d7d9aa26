"""Nobody of the same user reads the gateway's environment or memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from moltbot_gw import ownmemory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux has prctl")

_DUMPABLE = "ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)"

# Root reads everything, so it becomes nobody; which hides by itself, so that is undone.
_SPIED_ON = """
import ctypes, os, sys
from moltbot_gw.ownmemory import hide_memory

def look():
    child = os.fork()
    if not child:
        try:
            open(f"/proc/{os.getppid()}/environ", "rb").read()
            open(f"/proc/{os.getppid()}/mem", "rb").close()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
before = look()
assert hide_memory()
os.listdir("/proc/self/fd")
print(before, look())
"""

_SERVED = f"""
import ctypes
from moltbot_gw.tap import Options, makeService
options = Options()
options.parseOptions(["--dev", "--port=0"])
print({_DUMPABLE})
makeService(options)
print({_DUMPABLE})
"""


def run(script: str, home: Path) -> list[str]:
    """Return the words that *script* prints, as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": str(home), "PYTHONPATH": ":".join(sys.path)},
        timeout=60,
    )
    return done.stdout.split()


def test_another_program_of_the_same_user_reads_nothing(tmp_path: Path) -> None:
    assert run(_SPIED_ON, tmp_path) == ["0", "1"]


def test_the_daemon_hides_before_it_serves(tmp_path: Path) -> None:
    assert run(_SERVED, tmp_path)[-2:] == ["1", "0"]


@pytest.mark.parametrize("platform", ["darwin", "freebsd14"])
def test_other_systems_do_without(
    monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    monkeypatch.setattr(ownmemory.sys, "platform", platform)
    assert not ownmemory.hide_memory()


def test_a_libc_without_prctl_is_no_reason_to_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ownmemory.ctypes, "CDLL", lambda *_, **__: object())
    assert not ownmemory.hide_memory()
