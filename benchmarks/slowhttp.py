"""A healthy client beside a thousand slow ones, made by Debian's slowhttptest."""

from __future__ import annotations

import http.client
import json
import resource
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from benchmarks import processes

CONNECTIONS = 1000
SECONDS = 20
DESCRIPTORS = 8192
QUIET_REQUESTS = 300

MODES = {
    "slow headers": ["-H", "-i", "2", "-x", "24"],
    "slow bodies": ["-B", "-i", "2", "-s", "8192", "-x", "24"],
    "ranges": ["-R", "-a", "5", "-b", "3000"],
    "slow readers": ["-X", "-w", "1", "-y", "64", "-n", "1", "-z", "5", "-k", "10"],
}


def measure() -> Iterator[dict[str, Any]]:
    """Give the results one by one; times are medians and 95th percentiles in ms.

    Raises ``RuntimeError`` without slowhttptest.
    """
    program = shutil.which("slowhttptest")
    if program is None:
        raise RuntimeError("slowhttptest is missing (apt-get install slowhttptest)")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, DESCRIPTORS), hard))
    for mode, words in MODES.items():
        with (
            processes.provider(1, 0.0) as provider_port,
            processes.gateway(provider_port) as (pid, port),
        ):
            for _ in range(QUIET_REQUESTS // 3):
                _ask(port)
            quiet = [_ask(port) for _ in range(QUIET_REQUESTS)]
            yield {"mode": mode, **_attacked(program, words, pid, port, quiet)}


def _attacked(
    program: str, words: list[str], pid: int, port: int, quiet: list[float]
) -> dict[str, Any]:
    path = "/v1/chat/completions" if "-B" in words else "/v1/models"
    url = f"http://127.0.0.1:{port}{path}"
    size = ["-c", str(CONNECTIONS), "-r", str(CONNECTIONS // 2), "-l", str(SECONDS)]
    command = [program, *words, *size, "-u", url, "-p", "3", "-v", "0"]
    # It has no option for headers of one's own; the value of this one may have lines.
    command += ["-m", f"*/*\r\nAuthorization: Bearer {processes.TOKEN}"]
    attacked = []
    most = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        # It ends when all its connections were closed; then it comes again.
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as attack:
            while attack.poll() is None and time.monotonic() < end:
                attacked.append(_ask(port))
                if len(attacked) % 10 == 0:
                    most = max(most, processes.descriptors(pid))
            attack.kill()
    return {
        "quiet_ms": _milliseconds(quiet),
        "attacked_ms": _milliseconds(attacked),
        "ratio": round(statistics.median(attacked) / statistics.median(quiet), 2),
        "answered": len(attacked),
        "most_descriptors": most,
        "mib": round(processes.resident_kib(pid) / 1024, 1),
    }


def _ask(port: int) -> float:
    """Return how many seconds a completion over a connection of its own takes."""
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}]})
    headers = {"Authorization": f"Bearer {processes.TOKEN}"}
    started = time.perf_counter()
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    client.request("POST", "/v1/chat/completions", body, headers)
    answer = client.getresponse()
    answer.read()
    client.close()
    if answer.status != 200:
        raise RuntimeError(f"the healthy client got {answer.status}")
    return time.perf_counter() - started


def _milliseconds(seconds: list[float]) -> list[float]:
    cuts = statistics.quantiles(seconds, n=20)
    return [round(1000 * s, 2) for s in (statistics.median(seconds), cuts[-1])]
