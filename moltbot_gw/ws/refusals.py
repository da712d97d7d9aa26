"""Why a connection is refused before it is ready: each way once.

Source: the table of upstream's handshake (``message-handler.ts``); the order of the
checks is that of ``handshake``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from moltbot_gw.errors import GatewayError
from moltbot_gw.wire.frames import ErrorCode, ErrorShape

PROTOCOL = 3

NORMAL, PROTOCOL_ERROR, POLICY, RESTART = 1000, 1002, 1008, 1012


class Refusal(Exception):
    """The client is told *error*, if any, and the connection closed with *close_code*.

    *reason* stands in the close frame; by default it is the error's message.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        close_code: int = POLICY,
        details: Any = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.close_code = close_code
        self.error = ErrorShape(
            code=code,
            message=message,
            details=details,
            retryable=True if retry_after_ms is not None else None,
            retry_after_ms=retry_after_ms,
        )


def not_connect() -> Refusal:
    return Refusal(
        "INVALID_REQUEST", "invalid handshake: first request must be connect"
    )


def bad_params(problem: str) -> Refusal:
    # It may hold a stranger's words, and goes into the log: nothing for terminals.
    shown = "".join(c if c.isprintable() else "?" for c in problem)
    return Refusal("INVALID_REQUEST", f"invalid connect params: {shown}")


def protocol_mismatch() -> Refusal:
    return Refusal(
        "INVALID_REQUEST",
        "protocol mismatch",
        close_code=PROTOCOL_ERROR,
        details={"expectedProtocol": PROTOCOL},
    )


def invalid_role() -> Refusal:
    return Refusal("INVALID_REQUEST", "invalid role")


def insecure_control_ui() -> Refusal:
    return Refusal(
        "INVALID_REQUEST", "control ui requires HTTPS or localhost (secure context)"
    )


def device_required() -> Refusal:
    return Refusal("NOT_PAIRED", "device identity required")


_DEVICE = {
    "identity_mismatch": "device identity mismatch",
    "signature_expired": "device signature expired",
    "nonce_required": "device nonce required",
    "nonce_mismatch": "device nonce mismatch",
    "signature_invalid": "device signature invalid",
    "public_key_invalid": "device public key invalid",
}


def bad_device(reason: str) -> Refusal:
    return Refusal("INVALID_REQUEST", _DEVICE[reason])


def pairing_required(request_id: str) -> Refusal:
    return Refusal("NOT_PAIRED", "pairing required", details={"requestId": request_id})


def unauthorized(kind: str, given: bool, client_id: str, mode: str) -> Refusal:
    """*kind* is ``token`` or ``password``, *given* whether one came at all."""
    problem = "mismatch" if given else "missing"
    hint = _hint(kind, client_id, mode)
    return Refusal(
        "INVALID_REQUEST", f"unauthorized: gateway {kind} {problem} ({hint})"
    )


def key_refused(message: str) -> Refusal:
    """*message* says what a named key, whose secret is right, has not."""
    return Refusal("INVALID_REQUEST", f"unauthorized: {message}")


def _hint(kind: str, client_id: str, mode: str) -> str:
    if mode == "cli":
        return f"set gateway.remote.{kind} to match gateway.auth.{kind}"
    browser = client_id.endswith("-control-ui") or client_id == "webchat-ui"
    if browser or mode == "webchat":
        if kind == "token":
            return (
                "open a tokenized dashboard URL or paste token in Control UI settings"
            )
        return "enter the password in Control UI settings"
    return f"provide gateway auth {kind}"


def too_many_failures(message: str, retry_after: int) -> Refusal:
    return Refusal("UNAVAILABLE", message, retry_after_ms=retry_after * 1000)


def failed(error: GatewayError) -> Refusal:
    """What cannot be decided now, because pairing cannot be read or kept."""
    return Refusal("UNAVAILABLE", error.message)


class Closing(msgspec.Struct, frozen=True):
    """A close frame without an answer before it."""

    code: int
    reason: str = ""


NOT_JSON = Closing(NORMAL)
TOO_LATE = Closing(NORMAL)
BAD_FRAME = Closing(POLICY, "invalid request frame")
TOO_EARLY = Closing(POLICY, "too many requests before connect was answered")
REVOKED = Closing(POLICY, "device token revoked")
KEY_REVOKED = Closing(POLICY, "key revoked or changed")
KEY_EXPIRED = Closing(POLICY, "key expired")
REPLACED = Closing(POLICY, "gateway secret changed")
STOPPING = Closing(RESTART, "service restart")
