"""Devices of the gateway protocol: keys, ids, and the text that a device signs.

A device is an Ed25519 key pair.  Its public key travels as unpadded base64url of the 32
raw bytes, its id is the lower-case hex SHA-256 of them, and a signature is unpadded
base64url of 64 bytes over the UTF-8 of ``signed_text``.  Whoever reads tolerates
standard base64, padding, and a public key as PEM.

Source: upstream ``src/infra/device-identity.ts``, ``src/gateway/device-auth.ts``.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, urlsafe_b64encode
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

KEY_BYTES = 32
_MAX_TEXT_CHARS = 1000
"""A PEM key has about 120 characters, a signature 86."""


class DeviceClaim(msgspec.Struct, frozen=True):
    """What a client says of its device, as it came; nothing of it is verified.

    *signed_at_ms* is the client's clock.  Without a *nonce* the signature is over the
    first version of the text, which anybody can replay.
    """

    id: str
    public_key: str
    signature: str
    signed_at_ms: int
    nonce: str | None = None


class SignedContext(msgspec.Struct, frozen=True, kw_only=True):
    """The rest of what is signed, as the client asks for it.

    *scopes* are in the order of the request, and empty if it named none; *token* is
    ``auth.token`` as sent, a shared secret or a device's token.
    """

    client_id: str
    client_mode: str
    role: str
    scopes: tuple[str, ...] = ()
    token: str | None = None

    def __repr__(self) -> str:
        return f"SignedContext({self.client_id!r}, {self.role!r}, token=***)"


def signed_text(
    device_id: str, context: SignedContext, signed_at_ms: int, nonce: str | None
) -> str:
    """Return the text under the signature: version 2 with a *nonce*, else version 1.

    Nothing is escaped: who signs answers for a ``|`` in the fields.
    """
    fields = [
        "v2" if nonce else "v1",
        device_id,
        context.client_id,
        context.client_mode,
        context.role,
        ",".join(context.scopes),
        str(signed_at_ms),
        context.token or "",
    ]
    if nonce:
        fields.append(nonce)
    return "|".join(fields)


def device_id_of(raw_key: bytes) -> str:
    """Return the id of the device whose public key is *raw_key*."""
    return sha256(raw_key).hexdigest()


def encode(data: bytes) -> str:
    """Return *data* as unpadded base64url."""
    return urlsafe_b64encode(data).decode("ascii").rstrip("=")


def find_bytes(text: str) -> bytes | None:
    """Return what *text* says in either alphabet of base64; None if it says nothing."""
    if len(text) > _MAX_TEXT_CHARS:
        return None
    bare = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return b64decode(bare + "=" * (-len(bare) % 4), validate=True) or None
    except (binascii.Error, ValueError):  # the latter for what is not ASCII
        return None


def find_public_key(text: str) -> bytes | None:
    """Return the bytes of a public key, PEM or base64; None if *text* is neither.

    Base64 may say any number of bytes: that they are an Ed25519 key shows later.
    """
    if "BEGIN" not in text:
        return find_bytes(text)
    if len(text) > _MAX_TEXT_CHARS:
        return None
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None


def is_signed(raw_key: bytes, signature: str, text: str) -> bool:
    """Say whether *signature* is that of the key (32 bytes) over *text*."""
    signature_bytes = find_bytes(signature)
    if signature_bytes is None:
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(raw_key)
        key.verify(signature_bytes, text.encode())
    except (InvalidSignature, UnicodeEncodeError):  # half a surrogate pair
        return False
    return True


class DeviceIdentity:
    """A device's key pair: signs the way into a gateway.  Shows its id only."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._raw_public_key = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> DeviceIdentity:
        """Make a device that nobody knows yet."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, text: str) -> DeviceIdentity:
        """Return the device of an unencrypted private key; raise ``ValueError``."""
        try:
            key = load_pem_private_key(text.encode(), password=None)
        except (TypeError, UnsupportedAlgorithm):  # the former for an encrypted key
            raise ValueError("not a plain private key") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("not an Ed25519 key")
        return cls(key)

    @property
    def id(self) -> str:
        """64 lower-case hex digits."""
        return device_id_of(self._raw_public_key)

    @property
    def public_key(self) -> str:
        """Unpadded base64url of the raw key."""
        return encode(self._raw_public_key)

    @property
    def public_pem(self) -> str:
        """The public key as SPKI."""
        form = PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(Encoding.PEM, form).decode("ascii")

    def private_pem(self) -> str:
        """Return the private key as PKCS8, for the device's own file only."""
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return pem.decode("ascii")

    def sign(
        self, context: SignedContext, signed_at_ms: int, nonce: str | None
    ) -> DeviceClaim:
        """Return the claim for a ``connect``; *nonce* is that of the challenge."""
        text = signed_text(self.id, context, signed_at_ms, nonce)
        return DeviceClaim(
            id=self.id,
            public_key=self.public_key,
            signature=encode(self._key.sign(text.encode())),
            signed_at_ms=signed_at_ms,
            nonce=nonce,
        )

    def __repr__(self) -> str:
        return f"DeviceIdentity({self.id})"
