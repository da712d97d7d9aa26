"""Keeping this process's memory and environment from other programs of its user."""

from __future__ import annotations

import ctypes
import sys

_PR_SET_DUMPABLE = 4


def hide_memory() -> bool:
    """Let nobody but root read or trace this process; return whether that worked.

    An agent's commands run as the gateway's own user, who may otherwise read
    ``/proc/<gateway>/environ`` and ``mem`` and with them all keys.  It also means no
    core dumps, in which the keys would be written to the disk.  Programs that are
    executed from here are not affected; our own ``/proc/self/fd`` stays readable.
    Only Linux has it (prctl(2), ``PR_SET_DUMPABLE``).
    """
    if sys.platform != "linux":
        return False
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return False
    return bool(prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
