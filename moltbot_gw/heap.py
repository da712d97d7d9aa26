"""How this process looks for garbage, and when it gives memory back."""

from __future__ import annotations

import ctypes
import gc

# Source: glibc, malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

LARGE_BYTES = 256 * 1024
"""A block of this size or more goes back to the system as soon as it is free."""

SPARE_BYTES = 1024 * 1024
"""What is kept at the end of the heap for what comes next."""


def calm_collector() -> None:
    """Keep the garbage collector from walking everything again and again.

    What was imported stays for good, so it need not be looked at; and young garbage is
    looked for after five thousand new objects instead of seven hundred, because nearly
    all of a request is freed by its reference counts.  A thousand objects take it up to
    a millisecond, in which nothing else runs: so the second generation is looked at
    before it has many.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 5, 20)


def give_back() -> bool:
    """Give large blocks back when they are freed; return whether that worked.

    glibc begins like this, but takes the largest block that was ever freed for usual
    and keeps what is smaller than that: after one event of 4 MiB from a provider, each
    later one leaves a hole of that size, as soon as anything small lies behind it.
    Only glibc has it (mallopt(3)).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    large = mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
    spare = mallopt(_M_TRIM_THRESHOLD, SPARE_BYTES)
    return bool(large and spare)
