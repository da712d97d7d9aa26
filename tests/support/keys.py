"""Named keys whose secrets a test knows."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from moltbot_gw.config import AuthKey, Secret


def secret_of(name: str, version: int = 1) -> str:
    """Return the secret of the key *name*."""
    letters = sha256(f"{name} {version}".encode()).hexdigest()[:52]
    return f"mbk_{_id(name)}_{letters}"


def make_key(name: str, /, version: int = 1, **fields: Any) -> AuthKey:
    """Return a key whose secret is ``secret_of(name, version)``."""
    digest = sha256(secret_of(name, version).encode()).hexdigest()
    return AuthKey(name=name, id=_id(name), hash=Secret(f"sha256:{digest}"), **fields)


def _id(name: str) -> str:
    return sha256(name.encode()).hexdigest()[:8]
