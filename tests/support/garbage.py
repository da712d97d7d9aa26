"""What only the garbage collector finds."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected() -> Iterator[Counter[str]]:
    """Count, by type, what of ours only the collector has found in the block."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        kinds = [type(one) for one in gc.garbage]
        names = (k.__name__ for k in kinds if k.__module__.startswith("moltbot_gw"))
        found.update(names)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
