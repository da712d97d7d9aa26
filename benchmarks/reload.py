"""Reloads under load: who is refused, whose turn is cut, and what is left in memory.

Before anything is measured, there is the same load for a while, with more reloads in it
than are measured: the runs that are remembered, the caches of SQLite and the gaps that
``malloc`` leaves between them fill up once, whatever is done.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.streams import Load

STREAMS_A_SECOND = 50
RELOADS, BAD_EVERY = 100, 5
CHUNKS, PACE = 32, 0.02
RELOAD_SECONDS = 0.6
WARM_UP_SECONDS = 75.0
WARM_UP_RELOADS = 300

_TAKEN = "the configuration was reloaded"
_REFUSED = "the configuration was not reloaded"


def measure(
    rate: int = STREAMS_A_SECOND, reloads: int = RELOADS
) -> Iterator[dict[str, Any]]:
    """Give the results: the load without a reload, to compare with, and with them."""
    for is_changing in (False, True):
        yield _measure(rate, reloads, is_changing=is_changing)


def _measure(rate: int, reloads: int, *, is_changing: bool) -> dict[str, Any]:
    with (
        processes.provider(CHUNKS, PACE) as provider_port,
        tempfile.TemporaryDirectory() as folder,
        processes.daemon(processes.configuration(provider_port), folder) as gateway,
    ):
        pid = gateway.pid
        load = Load(gateway.port, rate)
        thread = threading.Thread(target=load.run)
        thread.start()
        for number in range(1, WARM_UP_RELOADS + 1):
            _reload(gateway, number, is_changing=is_changing)
            time.sleep(WARM_UP_SECONDS / WARM_UP_RELOADS)
        before = processes.resident_kib(pid), processes.descriptors(pid)
        memory = [before[0]]
        warm_up_log = gateway.told()
        for number in range(1, reloads + 1):
            _reload(gateway, WARM_UP_RELOADS + number, is_changing=is_changing)
            time.sleep(RELOAD_SECONDS)
            memory.append(processes.resident_kib(pid))
        load.stop()
        thread.join()
        log = gateway.told()
        return {
            "name": f"{rate} streams a second, {reloads * is_changing} reloads",
            "streams": load.begun,
            "whole": load.outcomes["whole"],
            "broken": load.begun - load.outcomes["whole"],
            "first_broken": load.broken[:3],
            "different_texts": len(load.texts),
            "taken": log.count(_TAKEN) - warm_up_log.count(_TAKEN),
            "refused": log.count(_REFUSED) - warm_up_log.count(_REFUSED),
            "failures": log.count("Traceback"),
            "mib": [round(kib / 1024, 1) for kib in _quarters(memory)],
            "descriptors": [before[1], processes.descriptors(pid)],
        }


def _reload(gateway: processes.Running, number: int, *, is_changing: bool) -> None:
    if is_changing:
        _change(gateway.folder, number, bad=number % BAD_EVERY == 0)
        os.kill(gateway.pid, signal.SIGHUP)


def _change(folder: Path, number: int, *, bad: bool) -> None:
    path = folder / "moltbot.json"
    if bad:
        path.rename(folder / "good.json")
        path.write_text(f'{{"gateway": {{"port": "none", "x{number}": ')
        return
    good = folder / "good.json"
    if good.exists():
        good.replace(path)
    config = json.loads(path.read_text())
    config["gateway"]["limits"]["maxQueuedRuns"] = 5000 + number
    provider = config["models"]["providers"]["bench"]
    provider["apiKey"] = f"key-{number}"  # another provider, whose pool is another
    config["agents"]["list"] = [{"id": "main"}, {"id": f"agent-{number}"}]
    processes.write(config, folder)


def _quarters(memory: list[int]) -> list[int]:
    last = len(memory) - 1
    return [memory[last * part // 4] for part in range(5)]
