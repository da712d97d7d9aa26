"""What can go wrong between a client and its gateway: one small tree.

    ClientError
      BadTarget         the address, or the fingerprint, cannot be used
      GatewayClosed     the connection ended while something waited for it
        ConnectFailed   it ended, or was refused, before the gateway said hello
      RequestFailed     the gateway answered a request with an error
      TimedOut          nothing came in time
      NotSent           a request breaks a bound, and nothing was sent

No message ever holds a secret, so each may be shown to the user.
"""

from __future__ import annotations

from typing import Any

ABNORMAL = 1006
"""Close code of a connection that ended without a closing frame (RFC 6455, 7.1.5)."""

NO_CODE = 1005
"""Close code of a closing frame that has none."""

_HINTS = {
    1000: "normal closure",
    ABNORMAL: "abnormal closure (no close frame)",
    1008: "policy violation",
    1012: "service restart",
}


class ClientError(Exception):
    """Whatever this package raises on purpose."""


class BadTarget(ClientError):
    """The address is none, or names a way that there is not."""


class GatewayClosed(ClientError):
    """The connection is gone; *code* and *reason* are those of the closing frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(describe_close(code, reason))
        self.code = code
        self.reason = reason


class ConnectFailed(GatewayClosed):
    """There was no hello; *refusal* is the gateway's own answer, when it gave one."""

    def __init__(
        self, code: int, reason: str, refusal: RequestFailed | None = None
    ) -> None:
        super().__init__(code, reason)
        self.refusal = refusal

    @property
    def is_unauthorized(self) -> bool:
        """Whether the gateway did not take the secret."""
        return self.refusal is not None and self.refusal.message.startswith(
            "unauthorized"
        )


class RequestFailed(ClientError):
    """An error answer.

    *payload* is what came beside the error (a failed run has one), *retry_after_ms* in
    milliseconds.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        details: Any = None,
        retryable: bool | None = None,
        retry_after_ms: int | None = None,
        payload: Any = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms
        self.payload = payload


class TimedOut(ClientError):
    """Nothing came for *seconds*."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"gateway timeout after {round(seconds * 1000)}ms")
        self.seconds = seconds


class NotSent(ClientError):
    """The request is too large, cannot be JSON, or too many others wait."""


def describe_close(code: int, reason: str) -> str:
    """Return a close in words, as the original's clients put it."""
    hint = _HINTS.get(code)
    return f"gateway closed ({code}{f' {hint}' if hint else ''}): " + (
        reason or "no close reason"
    )
