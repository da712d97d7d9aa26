"""A process that is killed has lost nothing that it acknowledged."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from moltbot_gw.sessions import SqliteSessionStore
from tests.sessions.support import DONE, Pump

_VICTIM = """
import sys
from pathlib import Path
from moltbot_gw.sessions import SqliteSessionStore
from tests.sessions.support import DONE, Pump, end, start

def begin(n):
    key = f"i{n}" if n % 2 else None
    return store.begin_turn(start(f"r{n}", key=f"k{n % 5}", idempotency_key=key))

pump = Pump()
store = SqliteSessionStore(Path(sys.argv[1]), pump)
pump.wait(store.open())
number = 0
while True:
    numbers = range(number, number + 8)
    number += 8
    begun = [begin(n) for n in numbers]
    for n, one in zip(numbers, begun):
        pump.wait(one)
        print("begun", n, flush=True)
    ended = [store.end_turn(end(f"r{n}", key=f"k{n % 5}", kept=DONE)) for n in numbers]
    for n, one in zip(numbers, ended):
        pump.wait(one)
        print("ended", n, flush=True)
"""


def _acknowledged_by_victim(path: Path, lines: int) -> list[str]:
    """Let a process store turns, kill it in the middle; return what it was told."""
    victim = subprocess.Popen(
        [sys.executable, "-c", _VICTIM, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert victim.stdout is not None
    with victim, victim.stdout as told:
        acknowledged = [told.readline() for _ in range(lines)]
        victim.kill()
        acknowledged += told.readlines()
    return [line for line in acknowledged if line.endswith("\n")]


@pytest.mark.parametrize("seed", range(4))
def test_killed_process_keeps_every_acknowledged_turn(seed: int, path: Path) -> None:
    acknowledged = _acknowledged_by_victim(path, random.Random(seed).randint(5, 800))
    begun = sum(line.startswith("begun") for line in acknowledged)
    ended = sum(line.startswith("ended") for line in acknowledged)
    pump = Pump()
    store = SqliteSessionStore(path, pump)
    interrupted = pump.wait(store.open())
    messages = [
        message
        for n in range(5)
        for message in pump.wait(store.history(f"k{n}", 0)).messages
    ]
    kept = {n: pump.wait(store.find_kept(f"i{n}", 0)) for n in range(1, begun, 2)}
    pump.wait(store.close())
    assert None not in kept.values()
    assert all(one.outcome == DONE for n, one in kept.items() if one and n < ended)
    users = sum(type(one).__name__ == "UserMessage" for one in messages)
    # A last batch may have been committed, and not yet told of.
    assert begun <= users <= begun + 8
    assert ended <= len(messages) - users <= ended + 8
    assert interrupted == users - (len(messages) - users)
