"""What goes into the pairing of devices, and what comes out of it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

import msgspec

from moltbot_gw.devices.records import PairedView, PendingView, Strings
from moltbot_gw.errors import GatewayError, InvalidRequest

MAX_SCOPES = 64
"""How many scopes a request, and a device in all, may have."""

_MAX_NAME_CHARS = 200
_MAX_WORD_CHARS = 100

_DEVICE_ID = re.compile(r"[0-9a-f]{64}")
_PUBLIC_KEY = re.compile(r"[A-Za-z0-9_-]{43}")


class UnknownRequest(InvalidRequest):
    """No such pairing request waits: decided, expired, or never made."""

    def __init__(self) -> None:
        super().__init__("unknown requestId", param="requestId")


class UnknownDevice(InvalidRequest):
    """No such device is paired, or not for this role."""

    def __init__(self) -> None:
        super().__init__("unknown deviceId/role", param="deviceId")


class ScopesTooWide(InvalidRequest):
    """A token was asked for with scopes that the device was never approved for."""

    def __init__(self) -> None:
        super().__init__(
            "scopes: wider than what the device is approved for; pair it again with "
            "these scopes, or name fewer",
            param="scopes",
        )


class TokenRevoked(GatewayError):
    """The token with which a device came in is not valid any more."""

    status = 401
    code = "device_token_revoked"

    def __init__(self) -> None:
        super().__init__("The device's token was revoked.")


class TooManyDevices(GatewayError):
    """No further device can be paired."""

    code = "too_many_devices"


class PairingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A verified device that wants in.

    *device_id* and *public_key* are as ``verify_device`` has checked them, *scopes* as
    the server takes them: with its default, if the client named none.
    """

    device_id: str
    public_key: str
    role: str
    scopes: Strings
    display_name: str | None = None
    platform: str | None = None
    client_id: str | None = None
    client_mode: str | None = None
    remote_ip: str | None = None
    is_local: bool

    def bounded(self) -> PairingRequest:
        """Return the request fit to be stored; raise ``InvalidRequest``.

        What is only shown is cut and made printable; what decides is refused if it is
        not of a sane form.  Scopes lose their repetitions.
        """
        _require(_DEVICE_ID.fullmatch(self.device_id), "device.id")
        _require(_PUBLIC_KEY.fullmatch(self.public_key), "device.publicKey")
        _require(_is_word(self.role), "role")
        scopes = tuple(dict.fromkeys(self.scopes))
        check_scopes(scopes)
        return msgspec.structs.replace(
            self,
            scopes=scopes,
            display_name=_shown(self.display_name, _MAX_NAME_CHARS),
            platform=_shown(self.platform, _MAX_WORD_CHARS),
            client_id=_shown(self.client_id, _MAX_WORD_CHARS),
            client_mode=_shown(self.client_mode, _MAX_WORD_CHARS),
            remote_ip=_shown(self.remote_ip, _MAX_WORD_CHARS),
        )


class IssuedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A device's token, for its owner's eyes only; *scopes* are sorted."""

    token: str
    role: str
    scopes: Strings
    issued_at_ms: int

    def __repr__(self) -> str:
        return f"IssuedToken({self.role!r}, {self.scopes!r}, token=***)"


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a pairing request; *device* is None for a rejected one."""

    request_id: str
    device_id: str
    decision: Literal["approved", "rejected"]
    ts: int
    device: PairedView | None = None


class Authorized(msgspec.Struct, frozen=True, kw_only=True):
    """The device may come in; *resolved* if it was approved just for that."""

    token: IssuedToken
    resolved: Resolved | None = None


class PairingRequired(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody must approve *pending* first; *is_new* if nobody was told of it yet."""

    request_id: str
    pending: PendingView
    is_new: bool


def covers(held: Collection[str], wanted: Collection[str]) -> bool:
    """Whether who has the scopes *held* may have those of *wanted*.

    An admin may do all that operators may, so he has their other scopes too; else a
    program that asks for admin alone would take the token from one that asks for more.
    """
    missing = set(wanted) - set(held)
    if "operator.admin" in held:
        missing = {scope for scope in missing if not scope.startswith("operator.")}
    return not missing


def check_scopes(scopes: Strings) -> None:
    """Raise ``InvalidRequest`` unless the scopes are few, short and printable."""
    _require(len(scopes) <= MAX_SCOPES and all(map(_is_word, scopes)), "scopes")


def _is_word(text: str) -> bool:
    return 0 < len(text) <= _MAX_WORD_CHARS and text.isprintable()


def _require(fine: object, param: str) -> None:
    if not fine:
        message = f"{param}: empty, too long, or not of the expected form"
        raise InvalidRequest(message, param=param)


def _shown(text: str | None, max_chars: int) -> str | None:
    if not text:
        return None
    return "".join(c if c.isprintable() else "?" for c in text[:max_chars])
