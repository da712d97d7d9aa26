"""Instructions of one whole answer, counted by valgrind: nearly the same each time.

They are those of the programs themselves, with all their threads.  What the kernel
does for them, and waiting for memory, is in the CPU time alone (``benchmarks.cpu``),
which varies by a fifth with what else the machine does.

Streams are not counted here: how many of their chunks come with one read is chance.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import processes

_WARM_UP = 60
"""Requests before any is counted: what is done once, and valgrind's own beginnings."""


def measure(*, clients: int, requests: int) -> dict[str, Any]:
    """Return thousands of instructions a request of both, and the ratio."""
    with (
        processes.provider(32, 0.0) as provider_port,
        tempfile.TemporaryDirectory() as folder,
    ):
        place = Path(folder)
        with processes.gateway(provider_port, under=_valgrind(place / "ours")) as ours:
            gateway = _count(*ours, place / "ours", clients, requests)
        with processes.proxy(provider_port, under=_valgrind(place / "theirs")) as proxy:
            theirs = _count(*proxy, place / "theirs", clients, requests)
    return {
        "clients": clients,
        "requests": requests,
        "gateway_thousands": round(gateway / 1000),
        "proxy_thousands": round(theirs / 1000),
        "ratio": round(gateway / theirs, 2),
    }


def _valgrind(out: Path) -> list[str]:
    """Return the words that run a Python program under valgrind, not counted yet."""
    options = ["--tool=callgrind", "--instr-atstart=no", "--quiet"]
    return ["valgrind", *options, f"--callgrind-out-file={out}", sys.executable]


def _count(pid: int, port: int, out: Path, clients: int, requests: int) -> float:
    """Return the instructions of one of *requests*."""
    processes.load(port, clients, _WARM_UP, stream=False)
    _control(pid, "--instr=on")
    processes.load(port, clients, _WARM_UP, stream=False)
    _control(pid, "--zero")
    processes.load(port, clients, requests, stream=False)
    _control(pid, "--dump")
    lines = out.with_name(f"{out.name}.1").read_text().splitlines()
    (total,) = (line.split()[1] for line in lines if line.startswith("totals:"))
    return int(total) / requests


def _control(pid: int, wish: str) -> None:
    subprocess.run(
        ["callgrind_control", wish, str(pid)], check=True, capture_output=True
    )
