"""What was needed once, and is large, is not kept for good."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from moltbot_gw import heap

BLOCK = 16 * 1024 * 1024

# The first block makes glibc take its size for usual, the small ones lie behind the
# second.
_KEPT = f"""
import sys
from moltbot_gw.heap import give_back

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

if sys.argv[1] == "give back":
    assert give_back()
block = bytes(b"x" * {BLOCK})
del block
before = resident()
block = bytes(b"x" * {BLOCK})
small = [bytes(1000) for _ in range(1000)]
del block
print(resident() - before)
"""


def kept(how: str) -> int:
    """Return how many bytes a process has kept of what it has freed."""
    command = [sys.executable, "-c", _KEPT, how]
    return int(subprocess.run(command, capture_output=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc has mallopt")
def test_large_blocks_go_back_to_the_system() -> None:
    assert kept("give back") < BLOCK / 4
    # What happens without; else this test would show nothing.
    assert kept("-") > BLOCK / 2


def test_other_libraries_go_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda *_, **__: object())
    assert not heap.give_back()


def test_windows_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: object) -> None:
        raise TypeError("a name is needed")

    monkeypatch.setattr(heap.ctypes, "CDLL", missing)
    assert not heap.give_back()
