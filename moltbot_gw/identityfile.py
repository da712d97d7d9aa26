"""The file that holds a device's key pair, in the original's form.

``{version: 1, deviceId, publicKeyPem, privateKeyPem, createdAtMs}``, mode 0600.  Only
the private key is believed; the id and the public key follow from it.

Source: upstream ``src/infra/device-identity.ts``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from twisted.logger import Logger

from moltbot_gw import privatefile
from moltbot_gw.wire.device import DeviceIdentity

_log = Logger()

_MAX_BYTES = 65536


class _Content(msgspec.Struct, frozen=True, rename="camel"):
    version: Literal[1]
    private_key_pem: str
    device_id: str = ""
    public_key_pem: str = ""
    created_at_ms: int = 0

    def __repr__(self) -> str:
        return f"_Content({self.device_id})"


def load_or_create(path: Path, *, now_ms: int) -> DeviceIdentity:
    """Return the device of the file, or a new one that is in the file on return.

    A file that holds no key is moved aside, to ``<name>.corrupt-<now_ms>``.  Raises
    ``OSError`` when the file cannot be read or written.
    """
    identity = _find(path, now_ms)
    if identity is not None:
        return identity
    created = DeviceIdentity.generate()
    privatefile.write(path, _encode(created, now_ms))
    # Two programs may have started at once; the later file is the device of both.
    return _find(path, now_ms) or created


def _find(path: Path, now_ms: int) -> DeviceIdentity | None:
    data = privatefile.read(path, _MAX_BYTES)
    if data is None:
        return None
    try:
        content = msgspec.json.decode(data, type=_Content)
        return DeviceIdentity.from_pem(content.private_key_pem)
    except (ValueError, RecursionError):
        aside = privatefile.set_aside(path, now_ms)
        _log.warn(
            "{path} holds no device key; it is kept as {aside}",
            path=str(path),
            aside=aside.name,
        )
        return None


def _encode(identity: DeviceIdentity, now_ms: int) -> bytes:
    content = _Content(
        version=1,
        device_id=identity.id,
        public_key_pem=identity.public_pem,
        private_key_pem=identity.private_pem(),
        created_at_ms=now_ms,
    )
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
