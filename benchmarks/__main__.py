"""``python -m benchmarks [KIND]``: tables, and JSON at the end."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from benchmarks import (
    cpu,
    instructions,
    memory,
    reload,
    restart,
    slowhttp,
    soak,
    websocket,
)
from benchmarks.watching import MOST_STALL


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    kinds = ["cpu", "memory", "websocket", "reload", "restart", "all"]
    kinds += ["slowhttp", "soak", "instructions"]
    parser.add_argument("what", choices=kinds, nargs="?")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each (5)")
    parser.add_argument("--requests", type=int, default=800, help="a round (800)")
    parser.add_argument(
        "--flood-mb",
        type=int,
        default=25,
        help="MB meant for each of those that never read, in steps of 5 (25)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        help="of the soak, after its warm-up (10)",
    )
    parser.add_argument(
        "--rate", type=float, default=12.0, help="visits a second of the soak (12)"
    )
    parser.add_argument(
        "--reloads",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="in the soak, change the configuration and send SIGHUP meanwhile",
    )
    options = parser.parse_args()
    if options.what == "soak":
        sys.exit(soak_gateway(options.minutes, options.rate, options.reloads))
    results: dict[str, Any] = {}
    if options.what in ("cpu", "all", None):
        results["cpu"] = measure_cpu(options.rounds, options.requests)
    if options.what in ("memory", "all", None):
        results["memory"] = measure_memory()
    if options.what in ("websocket", "all", None):
        results["websocket"] = measure_websocket(options.flood_mb)
    # Not in all: these two need a program of their own.
    if options.what == "slowhttp":
        results["slowhttp"] = measure_slowhttp()
    if options.what == "instructions":
        results["instructions"] = measure_instructions(options.requests)
    if options.what in ("reload", "all", None):
        results["reload"] = measure_reload()
    if options.what in ("restart", "all", None):
        results["restart"] = measure_restart()
    print(json.dumps(results))


def measure_cpu(rounds: int, requests: int) -> list[dict[str, Any]]:
    """Print and return CPU a request beside the reverse proxy."""
    results = []
    print("CPU a request, median of the rounds' ratios")
    print(f"{'':24}{'gateway us':>12}{'proxy us':>12}{'ratio':>8}")
    for stream, clients in (
        (False, 1),
        (False, 16),
        (False, 64),
        (True, 1),
        (True, 16),
    ):
        result = cpu.measure(
            stream=stream,
            clients=clients,
            # A paced stream takes its time; alone it would take all the time.
            requests=requests if clients > 1 else requests // (8 if stream else 2),
            rounds=rounds,
            pace=0.001 if stream else 0.0,
        )
        ours, theirs = min(result["gateway_us"]), min(result["proxy_us"])
        name = _name_of(clients, stream=stream)
        print(f"{name:24}{ours:>12}{theirs:>12}{result['ratio']:>8}", flush=True)
        results.append(result)
    return results


def measure_instructions(requests: int) -> list[dict[str, Any]]:
    """Print and return instructions a request beside the reverse proxy."""
    results = []
    print("Thousands of instructions a request")
    print(f"{'':24}{'gateway':>12}{'proxy':>12}{'ratio':>8}")
    for clients in (1, 16):
        # Each takes fifty times as long as without valgrind.
        result = instructions.measure(clients=clients, requests=requests // 4)
        ours, theirs = result["gateway_thousands"], result["proxy_thousands"]
        name = _name_of(clients, stream=False)
        print(f"{name:24}{ours:>12}{theirs:>12}{result['ratio']:>8}", flush=True)
        results.append(result)
    return results


def _name_of(clients: int, *, stream: bool) -> str:
    kind = "32 chunks streamed" if stream else "whole"
    return f"{kind}, {clients} client{'s' if clients > 1 else ''}"


def measure_memory() -> list[dict[str, Any]]:
    """Print and return the gateway's memory at rest and for clients that do nothing."""
    results = []
    print(f"{'memory':56}{'MiB':>8}{'KiB each':>10}")
    for result in memory.measure():
        each = result.get("kib_each", "")
        print(f"{result['name']:56}{result['mib']:>8}{each:>10}", flush=True)
        results.append(result)
    return results


def measure_websocket(flood_megabytes: int) -> list[dict[str, Any]]:
    """Print and return what crowds of WebSocket clients cost, and who lost text."""
    results = []
    print(f"{'WebSocket':56}{'MiB':>8}{'growth':>8}{'CPU s':>8}{'missed':>8}{'cut':>6}")
    for result in websocket.measure(flood_megabytes):
        missed = result["incomplete_readers"] + result["incomplete_stalled"]
        print(
            f"{result['name']:56}{result['mib']:>8}{result['growth_mib']:>8}"
            f"{result['cpu_seconds']:>8}{missed:>8}{result['stalled_cut']:>6}",
            flush=True,
        )
        results.append(result)
    return results


def measure_slowhttp() -> list[dict[str, Any]]:
    """Print and return how a healthy client does beside a thousand slow ones."""
    results = []
    print("A healthy client's completion beside slow ones (median, 95 % in ms)")
    print(f"{'':16}{'quiet':>16}{'attacked':>16}{'ratio':>8}{'fds':>8}{'MiB':>8}")
    for result in slowhttp.measure():
        quiet, attacked = (
            " / ".join(str(ms) for ms in result[name])
            for name in ("quiet_ms", "attacked_ms")
        )
        print(
            f"{result['mode']:16}{quiet:>16}{attacked:>16}{result['ratio']:>8}"
            f"{result['most_descriptors']:>8}{result['mib']:>8}",
            flush=True,
        )
        results.append(result)
    return results


def measure_reload() -> list[dict[str, Any]]:
    """Print and return what becomes of streams while the configuration changes."""
    results = []
    print(f"{'reload':40}{'streams':>8}{'broken':>8}{'taken':>7}{'refused':>8}  MiB")
    for result in reload.measure():
        memory = " ".join(str(mib) for mib in result["mib"])
        print(
            f"{result['name']:40}{result['streams']:>8}{result['broken']:>8}"
            f"{result['taken']:>7}{result['refused']:>8}  {memory}",
            flush=True,
        )
        results.append(result)
    return results


def measure_restart() -> dict[str, Any]:
    """Print and return what becomes of streams while the gateway is restarted."""
    result = restart.measure()
    for name, value in result.items():
        print(f"{name:24}{value}", flush=True)
    return result


def soak_gateway(minutes: float, rate: float, reloads: bool) -> int:
    """Print how a soak went; return 0 if it went well."""
    result = soak.measure(
        seconds=minutes * 60, warm_up=min(minutes * 24, 240), rate=rate, reloads=reloads
    )
    before, after, stall = result["before"], result["after"], result["stall"]
    print(f"visits       {result['visits']}: {result['load']['visits']}")
    print(f"put off      {result['load']['put_off']}")
    print(f"runs         {result['runs']} (with those of the warm-up)")
    print(f"files        {before['files']} before, {after['files']} after")
    print(f"memory       {before['kib']} KiB before, {after['kib']} KiB after")
    grown = result["slope_kib_a_minute"]
    print(f"growth       {grown} KiB a minute; at most {soak.MOST_SLOPE:g} are good")
    print(f"not at rest  {after['busy'] or 'nothing'}")
    print(
        f"stall        {stall['longest'] * 1000:.1f} ms, in the bucket up to"
        f" {stall['bucket']:g} s; {stall['late']:g} of {stall['ticks']:g} ticks were"
        f" over {MOST_STALL:g} s; load average {result['load_average']}"
    )
    beside = result["bystander"] * 1000
    print(f"bystander    {beside:.1f} ms late was a process that does nothing")
    faults = result["faults"]
    if grown > soak.MOST_SLOPE:
        faults.append("memory grows")
    if stall["longest"] > max(MOST_STALL, result["bystander"]):
        faults.append("the reactor stalled for too long")
    print("\n".join(f"BAD: {fault}" for fault in faults) or "all is well")
    print(json.dumps(result))
    return 1 if faults else 0


if __name__ == "__main__":
    main()
