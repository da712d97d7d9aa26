"""Start the programs under measurement, and read what they cost from /proc."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

TOKEN = "benchmark-token-benchmark-token"
_TICKS = os.sysconf("SC_CLK_TCK")
_LISTENING = re.compile(r"listening on http://127\.0\.0\.1:(\d+)\n")
START_SECONDS = 60.0  # under valgrind all takes fifty times as long


def cpu_seconds(pid: int) -> float:
    """Return user and system time of the process *pid*, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_kib(pid: int) -> int:
    """Return the resident memory of *pid* in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@contextmanager
def provider(chunks: int, pace: float) -> Iterator[int]:
    """Run the fake provider; give its port."""
    with module("benchmarks.provider", [str(chunks), str(pace)]) as (_, port):
        yield port


@contextmanager
def proxy(
    provider_port: int, *, under: Sequence[str] = ()
) -> Iterator[tuple[int, int]]:
    """Run Twisted's reverse proxy before the provider; give its pid and port.

    *under* is another program, with its options, that runs a Python program.
    """
    with module("benchmarks.proxy", [str(provider_port)], under) as (process, port):
        yield process.pid, port


@attrs.frozen
class Running:
    """A gateway that runs: *folder* has all its files, *output* what it prints."""

    pid: int
    port: int
    folder: Path
    log: Path
    output: Path

    def told(self) -> str:
        """Return all that was logged or printed; twistd begins a new log each MB."""
        logs = self.log.parent.glob(f"{self.log.name}*")
        return "".join(path.read_text() for path in (*logs, self.output))


def configuration(
    provider_port: int, *, stall: float = 300.0, **more: Any
) -> dict[str, Any]:
    """Return a configuration with that provider; see ``gateway``."""
    return {
        "gateway": {
            "auth": {"token": TOKEN},
            "http": {
                "endpoints": {"chatCompletions": {"enabled": True}},
                "stallTimeoutSeconds": stall,
            },
            "limits": {"maxQueuedRuns": 5000},
            **more,
        },
        "models": {
            "providers": {
                "bench": {
                    "baseUrl": f"http://127.0.0.1:{provider_port}/v1",
                    "apiKey": "x",
                    "api": "openai-completions",
                    "models": [{"id": "m1", "name": "m1"}],
                }
            }
        },
        "agents": {
            "defaults": {"model": {"primary": "bench/m1"}, "maxConcurrent": 4000}
        },
    }


@contextmanager
def gateway(
    provider_port: int, *, stall: float = 300.0, under: Sequence[str] = (), **more: Any
) -> Iterator[tuple[int, int]]:
    """Run the gateway before the provider; give its pid and port.

    *stall* is the stall time-out in seconds; *under* as for ``proxy``; *more* are
    further members of the ``gateway`` section of its configuration.
    """
    config = configuration(provider_port, stall=stall, **more)
    with (
        tempfile.TemporaryDirectory() as folder,
        daemon(config, folder, under) as running,
    ):
        yield running.pid, running.port


@contextmanager
def daemon(
    config: dict[str, Any], folder: str, under: Sequence[str] = ()
) -> Iterator[Running]:
    """Run the gateway with *config*, which becomes ``moltbot.json`` in *folder*.

    *under* as for ``proxy``.
    """
    place = Path(folder)
    write(config, place)
    log = place / "twistd.log"
    output = place / "output"
    with (
        output.open("wb") as sink,
        subprocess.Popen(
            [*under, *command(log), "--port=0"],
            env=environment(place),
            stdout=sink,
            stderr=sink,
        ) as process,
    ):
        try:
            port = int(in_log(log, _LISTENING, process))
            yield Running(process.pid, port, place, log, output)
        finally:
            process.terminate()
            status = process.wait(20)
    if status:
        raise RuntimeError(f"the gateway ended with {status}:\n{output.read_text()}")


def write(config: dict[str, Any], folder: Path) -> None:
    """Put *config* where a gateway with that ``environment`` finds it."""
    replace(folder / "moltbot.json", json.dumps(config))


def replace(path: Path, text: str) -> None:
    """Let *path* hold *text*; whoever reads it meanwhile finds the old or the new."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a gateway that keeps everything in *folder*."""
    place = str(folder)
    return {**os.environ, "HOME": place, "MOLTBOT_STATE_DIR": place}


def command(log: Path) -> list[str]:
    """Return the words that run a gateway."""
    twistd = [str(Path(sys.executable).parent / "twistd"), "-n", "--pidfile="]
    return [*twistd, "--logfile", str(log), "moltbot-gateway"]


def descriptors(pid: int) -> int:
    """Return how many files and sockets process *pid* has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def load(port: int, clients: int, requests: int, *, stream: bool) -> dict[str, Any]:
    """Run the load against *port*; return what it printed."""
    arguments = [str(port), str(clients), str(requests), TOKEN]
    arguments.append("stream" if stream else "whole")
    command = [sys.executable, "-m", "benchmarks.load", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    result: dict[str, Any] = json.loads(done.stdout)
    if result["done"] != requests:
        raise RuntimeError(f"only {result['done']} of {requests} were answered")
    return result


@contextmanager
def module(
    name: str, arguments: Sequence[str], under: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the module *name*; give its process and the port that it prints first.

    *under* as for ``proxy``.
    """
    command = [*(under or [sys.executable]), "-m", name, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def in_log(
    log: Path,
    pattern: re.Pattern[str],
    process: subprocess.Popen[bytes] | None = None,
) -> str:
    """Return the first group of *pattern*, once a line of *log* has it."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        match = pattern.search(log.read_text() if log.exists() else "")
        if match:
            return match[1]
        if process is not None and process.poll() is not None:
            break
        time.sleep(0.05)
    files = (log, log.with_name("output"))
    told = [path.read_text()[-2000:] for path in files if path.exists()]
    raise RuntimeError("the gateway did not start:\n" + "".join(told))
