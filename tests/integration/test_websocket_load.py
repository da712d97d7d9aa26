"""Crowds of WebSocket clients on one run, in a size for every day.

``python -m benchmarks websocket`` has the large ones.
"""

from __future__ import annotations

import pytest

from benchmarks.websocket import RUN_CHUNKS, measure_crowd
from moltbot_gw.ws.socket import CLOSE_SECONDS

pytestmark = pytest.mark.skipif(
    "not __import__('os').path.exists('/proc/self/status')", reason="needs /proc"
)

STALL_SECONDS = 2.0
RUN_BYTES = 5_000_000
GROWTH_MIB = 64
"""Without bounds it would be several times as much: 10 MB for each of 20."""

PATIENCE = 40.0


def test_a_crowd_reads_a_run_of_many_deltas_whole() -> None:
    result = measure_crowd(
        "deltas",
        readers=54,
        stalled=6,
        runs=1,
        text="hi",
        pace=0.001,
        patience=PATIENCE,
    )
    assert result["chars"] == RUN_CHUNKS * len("lorem ipsum ")
    assert result["incomplete_readers"] == result["readers_lost"] == 0
    assert result["incomplete_stalled"] == 0
    assert result["growth_mib"] < GROWTH_MIB


def test_those_who_never_read_are_cut_and_cost_the_readers_nothing() -> None:
    result = measure_crowd(
        "flood",
        readers=20,
        stalled=20,
        runs=2,
        text=f"bench:flood {RUN_BYTES}",
        stall=STALL_SECONDS,
        linger=STALL_SECONDS + CLOSE_SECONDS + 1.0,
        patience=PATIENCE,
    )
    assert result["chars"] == 2 * RUN_BYTES
    assert result["incomplete_readers"] == result["readers_lost"] == 0
    assert result["stalled_cut"] == 20
    assert result["growth_mib"] < GROWTH_MIB
