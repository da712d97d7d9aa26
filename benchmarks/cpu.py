"""CPU of one request, against Twisted's reverse proxy in front of the same provider."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks import processes


def measure(
    *, stream: bool, clients: int, requests: int, rounds: int, pace: float
) -> dict[str, Any]:
    """Return CPU a request in microseconds of both, round by round, and the ratio.

    The rounds alternate, so that both meet the same noise; the ratio is the median of
    the rounds' ratios.
    """
    ours: list[float] = []
    theirs: list[float] = []
    with (
        processes.provider(32, pace) as provider_port,
        processes.gateway(provider_port) as (gateway_pid, gateway_port),
        processes.proxy(provider_port) as (proxy_pid, proxy_port),
    ):
        targets = ((gateway_pid, gateway_port, ours), (proxy_pid, proxy_port, theirs))
        for _, port, _ in targets:
            processes.load(port, clients, max(50, clients), stream=stream)
        for _ in range(rounds):
            for pid, port, costs in targets:
                before = processes.cpu_seconds(pid)
                processes.load(port, clients, requests, stream=stream)
                spent = processes.cpu_seconds(pid) - before
                costs.append(spent / requests * 1e6)
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "stream": stream,
        "clients": clients,
        "requests": requests,
        "gateway_us": [round(cost) for cost in ours],
        "proxy_us": [round(cost) for cost in theirs],
        "ratio": round(median(ratios), 2),
    }
