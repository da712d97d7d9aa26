"""Hours of use in minutes: every kind of client, every fault; is anything left behind?

A gateway in a process of its own is warmed up and brought to rest, put under load, and
brought to rest again.  What is open and in use must then be what it was, memory must
not have grown steadily, and the log must tell of nothing unforeseen.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import attrs

from benchmarks import processes
from benchmarks.bystander import standing_by
from benchmarks.moods import FAULTS
from benchmarks.visitor import STALL_SECONDS
from benchmarks.watching import Sample, Watch, every, sampling, slope

RELOAD_SECONDS = 7.0

MOST_SLOPE = 512.0
"""KiB a minute that memory may grow under load, by least squares."""

SPARE_FILES = 2
"""How many files more may be open at rest than before the load."""

_METRICS = re.compile(r"metrics are at tcp:(\d+)\n")
_BAD_LINE = re.compile(
    r"#(?:error|critical)\]|Traceback|Unhandled|Exception ignored|was never awaited"
)
_REFUSED_CONFIG = "the configuration was not reloaded"
"""What stands in the log when a bad configuration is sent."""


def measure(
    *,
    seconds: float = 600.0,
    warm_up: float = 120.0,
    rate: float = 12.0,
    reloads: bool = False,
) -> dict[str, Any]:
    """Soak a gateway for *seconds* after *warm_up*, with *rate* visits a second.

    *reloads*: change its configuration and send SIGHUP meanwhile.  Returns figures and
    ``faults``: what is not as it should be, in words.  Stalls are told apart from
    these, in ``stall``.
    """
    with tempfile.TemporaryDirectory() as folder:
        with (
            processes.module("benchmarks.moods", []) as (_, provider),
            processes.daemon(configuration(provider), folder) as gateway,
        ):
            metrics = int(processes.in_log(gateway.log, _METRICS))
            watch = Watch(gateway.pid, metrics)
            began = _load(gateway.port, warm_up, rate, 1)
            before = watch.rest()
            samples: list[Sample] = []
            with (
                standing_by() as bystander,
                sampling(watch, samples),
                _reloading(gateway, on=reloads),
            ):
                load = _load(gateway.port, seconds, rate, 2)
            after = watch.rest()
            stall, figures = watch.stall(), watch.figures()
        # The stop is part of it.
        log = gateway.told()
    result = {
        "seconds": seconds,
        "visits": sum(load["visits"].values()),
        "load": load,
        "warm_up": began,
        "runs": _by_outcome(figures),
        "before": attrs.asdict(before),
        "after": attrs.asdict(after),
        "slope_kib_a_minute": round(slope(samples), 1),
        "most_kib": max(sample.kib for sample in samples),
        "most_files": max(sample.files for sample in samples),
        "kib": [sample.kib for sample in samples[:: max(len(samples) // 20, 1)]],
        "stall": stall,
        "bystander": bystander.longest,
        "load_average": os.getloadavg(),
        "log_lines": log.count("\n"),
    }
    return {**result, "faults": list(find_faults(result, log))}


def configuration(provider: int) -> dict[str, Any]:
    """Return a configuration with an agent for each mood of the *provider*."""
    base = f"http://127.0.0.1:{provider}/v1"
    names = ("steady", "quick", "acting", "asking", *FAULTS)
    # One provider for each, or a fault of one would be a cooldown of all.
    entries = {
        name: {
            "baseUrl": _refusing() if name == "refuse" else base,
            "apiKey": "x",
            "api": "openai-completions",
            "idleTimeoutSeconds": 1,
            "models": [{"id": name, "name": name}],
        }
        for name in (*names, "refuse")
    }
    agents: list[dict[str, Any]] = [
        {"id": name, "model": {"primary": f"{name}/{name}", "fallbacks": []}}
        for name in (*names[1:], "refuse")
    ]
    (acting,) = (agent for agent in agents if agent["id"] == "acting")
    exec_tool = {"security": "full", "ask": "off"}
    acting["tools"] = {"profile": "coding", "exec": exec_tool}
    broken = {"primary": "fail/fail", "fallbacks": ["steady/steady"]}
    agents.append({"id": "fallback", "model": broken})
    main = {"id": "main", "default": True, "model": "steady/steady"}
    return {
        "gateway": {
            "auth": {"token": processes.TOKEN},
            "http": {
                "endpoints": {"chatCompletions": {"enabled": True}},
                "stallTimeoutSeconds": STALL_SECONDS,
            },
            "limits": {"maxQueuedRuns": 1000},
            "metrics": {"endpoint": "tcp:0:interface=127.0.0.1"},
        },
        "models": {"providers": entries},
        "agents": {"defaults": {"maxConcurrent": 100}, "list": [main, *agents]},
    }


def find_faults(result: dict[str, Any], log: str) -> Iterator[str]:
    """Tell what is not as it should be, stalls aside."""
    for phase in ("warm_up", "load"):
        if result[phase]["problems"]:
            problems = "; ".join(result[phase]["first_problems"])
            yield f"{phase}: {result[phase]['problems']} visits went wrong: {problems}"
    for moment in ("before", "after"):
        if result[moment]["busy"]:
            yield f"not at rest {moment} the load: {result[moment]['busy']}"
    grown = result["after"]["files"] - result["before"]["files"]
    if grown > SPARE_FILES:
        yield f"{grown} files more are open than before the load"
    for line in log.splitlines():
        if _BAD_LINE.search(line) and _REFUSED_CONFIG not in line:
            yield f"the log: {line}"


def _load(port: int, seconds: float, rate: float, seed: int) -> dict[str, Any]:
    arguments = [str(value) for value in (port, seconds, rate, seed)]
    command = [sys.executable, "-m", "benchmarks.visits", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 180
    )
    if done.returncode or not done.stdout:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    result: dict[str, Any] = json.loads(done.stdout)
    if done.stderr:
        result["problems"] += 1
        result["first_problems"].append(done.stderr[-500:])
    return result


def _by_outcome(figures: Any) -> dict[str, float]:
    runs: dict[str, float] = {}
    for labels, count in figures["moltbot_runs_total"].items():
        outcome = dict(labels)["outcome"]
        runs[outcome] = runs.get(outcome, 0.0) + count
    return runs


def _refusing() -> str:
    """Return the URL of a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


@contextmanager
def _reloading(gateway: processes.Running, *, on: bool) -> Iterator[None]:
    """Give the gateway good and bad configurations by turns, at last a good one."""
    if not on:
        yield
        return
    path = gateway.folder / "moltbot.json"
    good = path.read_text()
    turns = iter(range(10**6))

    def reload() -> None:
        number = next(turns)
        config = json.loads(good)
        config["agents"]["list"][0]["name"] = f"Main {number}"
        processes.replace(path, "{ broken" if number % 3 == 2 else json.dumps(config))
        os.kill(gateway.pid, signal.SIGHUP)

    try:
        with every(RELOAD_SECONDS, reload):
            yield
    finally:
        processes.replace(path, good)
        with suppress(ProcessLookupError):
            os.kill(gateway.pid, signal.SIGHUP)
