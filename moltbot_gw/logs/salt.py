"""What makes the tags of sessions in this gateway's logs impossible to guess."""

from __future__ import annotations

import secrets
from pathlib import Path

from moltbot_gw import privatefile

SALT_BYTES = 32


def load_salt(path: Path) -> bytes:
    """Return the salt in the file, which is made if it is not there.

    If it can neither be read nor be made, it is one of this process alone: a log that
    tags its sessions otherwise after a restart is better than none.
    """
    try:
        kept = privatefile.read(path, SALT_BYTES)
        if kept is not None and len(kept) == SALT_BYTES:
            return kept
        made = secrets.token_bytes(SALT_BYTES)
        privatefile.write(path, made)
    except OSError:
        return secrets.token_bytes(SALT_BYTES)
    return made
