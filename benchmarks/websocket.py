"""Many WebSocket clients on one run: who loses text, and what the stalled ones cost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from benchmarks import processes

RUN_CHUNKS = 2000
CLIENTS, STALLED = 500, 10
FLOOD_CLIENTS = 200
FLOOD_RUN_BYTES = 5_000_000
STALL_SECONDS = 10.0
PATIENCE = 900.0


def measure(flood_megabytes: int = 250) -> Iterator[dict[str, Any]]:
    """Give the results one by one; *flood_megabytes* is a multiple of five."""
    yield measure_crowd(
        f"{CLIENTS} clients, one run of {RUN_CHUNKS} deltas, {STALLED} stalled",
        readers=CLIENTS - STALLED,
        stalled=STALLED,
        runs=1,
        text="hi",
        pace=0.002,
    )
    runs = max(flood_megabytes * 1_000_000 // FLOOD_RUN_BYTES, 1)
    meant = runs * FLOOD_RUN_BYTES // 1_000_000
    yield measure_crowd(
        f"{FLOOD_CLIENTS} readers beside {FLOOD_CLIENTS} that never read, {meant} MB",
        readers=FLOOD_CLIENTS,
        stalled=FLOOD_CLIENTS,
        runs=runs,
        text=f"bench:flood {FLOOD_RUN_BYTES}",
        linger=STALL_SECONDS + 5.0,
    )


def measure_crowd(
    name: str,
    *,
    readers: int,
    stalled: int,
    runs: int,
    text: str,
    pace: float = 0.0,
    stall: float = STALL_SECONDS,
    linger: float = 0.0,
    patience: float = PATIENCE,
) -> dict[str, Any]:
    """Let *readers* and *stalled* clients listen to *runs* runs, each asked by *text*.

    The provider sends a delta each *pace* seconds, or all at once.  *stall* is the
    gateway's stall time-out; *linger* seconds after the last run the stalled read what
    is left.  Raises ``RuntimeError`` after *patience* seconds.
    """
    with (
        processes.provider(RUN_CHUNKS, pace) as provider_port,
        processes.gateway(provider_port, stall=stall) as (pid, port),
    ):
        numbers = [str(number) for number in (readers, stalled, runs)]
        arguments = [str(port), processes.TOKEN, *numbers, text]
        arguments += [str(linger), str(patience)]
        command = [sys.executable, "-m", "benchmarks.listeners", *arguments]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as crowd:
            try:
                result = _watch(crowd, pid)
            finally:
                crowd.kill()
    growth = result["peak_kib"] - result["rest_kib"]
    return {
        "name": name,
        "mib": round(result.pop("peak_kib") / 1024, 1),
        "growth_mib": round(growth / 1024, 1),
        "kib_each": round(growth / max(stalled, 1)),
        "rest_mib": round(result.pop("rest_kib") / 1024, 1),
        **result,
    }


def _watch(crowd: subprocess.Popen[str], pid: int) -> dict[str, Any]:
    """Start the runs; return what the *crowd* says, and what the gateway *pid* took."""
    assert crowd.stdin is not None
    assert crowd.stdout is not None
    if crowd.stdout.readline() != "ready\n":
        raise RuntimeError("not all clients could connect")
    rest = processes.resident_kib(pid)
    cpu = processes.cpu_seconds(pid)
    peak = _Peak(pid)
    crowd.stdin.write("go\n")
    crowd.stdin.flush()
    report = crowd.stdout.readline()
    highest = peak.stop()
    if not report:
        raise RuntimeError("not all readers saw the end of the last run")
    return {
        "cpu_seconds": round(processes.cpu_seconds(pid) - cpu, 2),
        "rest_kib": rest,
        "peak_kib": highest,
        **json.loads(report),
    }


class _Peak:
    """Watches the memory of a process, ten times a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._highest = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Return the most KiB that were seen."""
        self._stopped.set()
        self._thread.join()
        return self._highest

    def _watch(self) -> None:
        while not self._stopped.is_set():
            self._highest = max(self._highest, processes.resident_kib(self._pid))
            time.sleep(0.1)
