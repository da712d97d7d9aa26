"""Restarts under load while an init system holds the socket: who is refused or cut?

The next process starts when the one before has ended, as under systemd; meanwhile
connections wait in the socket.  The drain time is shorter than a stream, so that each
restart cuts some off: these have to be told.
"""

from __future__ import annotations

import re
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.streams import Load

STREAMS_A_SECOND = 50
RESTARTS = 10
CHUNKS, PACE = 32, 0.04
DRAIN_SECONDS = 1
BETWEEN_SECONDS = 4.0
BACKLOG = 1024
_READY = re.compile(r"(listening) on")


def measure(rate: int = STREAMS_A_SECOND, restarts: int = RESTARTS) -> dict[str, Any]:
    """Return what became of the streams, and of the turns that were acknowledged."""
    with (
        processes.provider(CHUNKS, PACE) as provider_port,
        socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as held,
        tempfile.TemporaryDirectory() as folder,
    ):
        config = processes.configuration(provider_port, drainSeconds=DRAIN_SECONDS)
        processes.write(config, Path(folder))
        load = Load(held.getsockname()[1], rate)
        thread = threading.Thread(target=load.run)
        gaps = []
        try:
            for number in range(restarts + 1):
                with _process(Path(folder), held, number):
                    if not number:
                        thread.start()
                    time.sleep(BETWEEN_SECONDS)
                    if number == restarts:
                        load.stop()
                        thread.join()
                    stopped = time.monotonic()
                gaps.append(time.monotonic() - stopped)
        finally:
            load.stop()
        states = _states(Path(folder) / "sessions.sqlite3")
        logs = "".join(log.read_text() for log in Path(folder).glob("*.log*"))
    return {
        "name": f"{rate} streams a second, {restarts} restarts",
        "streams": load.begun,
        **{name: load.outcomes[name] for name in ("whole", "told", "sent away")},
        "broken": len(load.broken),
        "first_broken": load.broken[:3],
        "different_texts": len(load.texts),
        "lost": sum(states.get(run) != "done" for run in load.whole),
        "told_and_not_stored": sum(states.get(run) != "aborted" for run in load.told),
        "interrupted": sum(state == "interrupted" for state in states.values()),
        "failures": logs.count("Traceback"),
        "longest_stop_seconds": round(max(gaps), 2),
    }


@contextmanager
def _process(folder: Path, held: socket.socket, number: int) -> Iterator[None]:
    """Start one gateway on *held*, once the one before is gone; then stop it."""
    log = folder / f"twistd-{number}.log"
    # What an init system does between fork and exec: the socket is number 3.
    launch = f'exec 3<&{held.fileno()}; LISTEN_PID=$$ exec "$@"'
    command = [
        *("sh", "-c", launch, "sh"),
        *processes.command(log),
        "--endpoint=systemd:domain=INET:name=gateway",
    ]
    environ = {**processes.environment(folder), "LISTEN_FDS": "1"}
    environ["LISTEN_FDNAMES"] = "gateway"
    with subprocess.Popen(
        command, env=environ, pass_fds=[held.fileno()], stderr=subprocess.DEVNULL
    ) as process:
        try:
            processes.in_log(log, _READY, process)
            yield
        finally:
            process.terminate()
            status = process.wait(30)
    if status:
        raise RuntimeError(f"the gateway ended with {status}:\n{log.read_text()}")


def _states(path: Path) -> dict[str, str]:
    """Return how each run ended, by its id."""
    with closing(sqlite3.connect(path)) as store:
        return dict(store.execute("SELECT run_id, state FROM runs"))
