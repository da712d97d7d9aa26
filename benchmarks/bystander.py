"""Does nothing, and tells how late it was: what the machine does to everybody.

``python -m benchmarks.bystander`` rings every ``TICK_SECONDS`` until its input ends,
and prints its largest lateness in seconds.  A reactor that was no later than that has
not been stopped by anything of its own.
"""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

TICK_SECONDS = 0.01


class Bystander:
    """The process; *longest* (seconds) is known once it has ended."""

    longest = 0.0


@contextmanager
def standing_by() -> Iterator[Bystander]:
    """Run a bystander beside the block."""
    found = Bystander()
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bystander"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield found
            found.longest = float(process.communicate(timeout=20)[0])
        finally:
            process.kill()


def main() -> None:
    """Be the process."""
    longest, ended = 0.0, False
    while not ended:
        began = time.monotonic()
        ended = bool(select.select([sys.stdin], [], [], TICK_SECONDS)[0])
        longest = max(longest, time.monotonic() - began - TICK_SECONDS)
    print(longest)


if __name__ == "__main__":
    main()
