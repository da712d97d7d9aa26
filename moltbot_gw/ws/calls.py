"""Methods of the protocol: their table, their right, and one call of one.

A method is a small coroutine with typed parameters.  What it raises becomes the answer:
a ``MethodError`` as it is, a ``GatewayError`` by its kind, anything else as a defect of
ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal

import attrs
import msgspec

from moltbot_gw.errors import (
    Forbidden,
    GatewayError,
    InvalidRequest,
    KeyReused,
    NotFound,
    PayloadTooLarge,
)
from moltbot_gw.principals import OWNER, Principal
from moltbot_gw.wire.connect import ClientInfo
from moltbot_gw.wire.frames import ErrorCode, ErrorShape

Right = Literal["read", "write", "pairing", "approvals", "admin", "node"]
"""What a method needs: a scope ``operator.<right>``, or the role of a node."""

MAX_PROBLEM_CHARS = 500
_NULL, _NO_PARAMS = msgspec.Raw(b"null"), msgspec.Raw(b"{}")


class MethodError(Exception):
    """What a method answers when it fails; *payload* goes beside the error."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        details: Any = None,
        retry_after_ms: int | None = None,
        payload: Any = msgspec.UNSET,
    ) -> None:
        super().__init__(message)
        self.payload = payload
        self.shape = ErrorShape(
            code=code,
            message=message,
            details=details,
            retryable=True if retry_after_ms is not None else None,
            retry_after_ms=retry_after_ms,
        )


def invalid(message: str, *, details: Any = None) -> MethodError:
    """Return the error for wrong words of the caller."""
    return MethodError("INVALID_REQUEST", message, details=details)


def unavailable(message: str, *, details: Any = None) -> MethodError:
    """Return the error for what cannot be done now."""
    return MethodError("UNAVAILABLE", message, details=details)


_CALLER = (InvalidRequest, NotFound, KeyReused, Forbidden, PayloadTooLarge)


def shape_of(error: GatewayError) -> ErrorShape:
    """Return how the protocol speaks of *error*."""
    code: ErrorCode = "INVALID_REQUEST" if isinstance(error, _CALLER) else "UNAVAILABLE"
    wait = error.retry_after
    return ErrorShape(
        code=code,
        message=error.message,
        retryable=True if wait is not None else None,
        retry_after_ms=None if wait is None else wait * 1000,
    )


@attrs.frozen(kw_only=True, eq=False)
class Caller:
    """Who calls, after the handshake; *address* is None for a local client.

    *principal* is whose secret he brought; a paired device has its owner's.
    *by_secret* is whether it was the shared secret that let it in.
    """

    conn_id: str
    client: ClientInfo
    role: str
    scopes: frozenset[str]
    device_id: str | None
    address: str | None
    principal: Principal = OWNER
    by_secret: bool = False

    def may(self, right: Right) -> bool:
        """Whether an operator has the *right* (nodes have theirs by their role)."""
        if "operator.admin" in self.scopes:
            return True
        if right == "read" and "operator.write" in self.scopes:
            return True
        return right != "admin" and f"operator.{right}" in self.scopes


@attrs.frozen(kw_only=True, eq=False)
class Call:
    """One call: who calls, and how to answer before the last answer."""

    caller: Caller
    answer_early: Callable[[Any], None]


class NoParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of a method that takes none."""


class AnyParams(msgspec.Struct, frozen=True):
    """The parameters of a method that looks at none."""


class Params(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
):
    """Base of strict parameters, by their names on the wire."""


class Result(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """Base of results; members that are None are left out."""


class Method:
    """One method: *params* is its parameters' type, *handle* does it.

    One that *waits* for a run to end does not hold back other calls of its client;
    one that is not *advertised* is served all the same.  Calls of one that is *metered*
    count among the requests of a named key.
    """

    def __init__(
        self,
        name: str,
        right: Right,
        params: type,
        handle: Callable[[Call, Any], Awaitable[Any]],
        *,
        waits: bool = False,
        advertised: bool = True,
        metered: bool = False,
    ) -> None:
        self.name = name
        self.right: Right = right
        self.handle = handle
        self.waits = waits
        self.advertised = advertised
        self.metered = metered
        self._decode: Callable[[msgspec.Raw], Any] = msgspec.json.Decoder(params).decode

    def parse(self, params: msgspec.Raw) -> Any:
        """Return the checked parameters; raise ``MethodError``."""
        try:
            # Many encoders write null for what is not there.
            return self._decode(_NO_PARAMS if params == _NULL else params)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            # Values of the caller may stand in the text, so it is cut.
            problem = str(error)[:MAX_PROBLEM_CHARS]
            raise invalid(f"invalid {self.name} params: {problem}") from None


class MethodTable:
    """All methods by their names."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self._methods: dict[str, Method] = {}
        for method in methods:
            assert method.name not in self._methods, method.name
            self._methods[method.name] = method

    @property
    def advertised(self) -> tuple[str, ...]:
        """The names that ``hello-ok`` tells."""
        return tuple(m.name for m in self._methods.values() if m.advertised)

    def find(self, name: str, caller: Caller) -> Method:
        """Return the method *name* if *caller* may call it; raise ``MethodError``.

        The right comes first, so that names tell nothing to those who have none.
        """
        method = self._methods.get(name)
        right: Right = "admin" if method is None else method.right
        if (caller.role == "node") != (right == "node"):
            raise invalid(f"unauthorized role: {caller.role}")
        if right != "node" and not caller.may(right):
            raise invalid(f"missing scope: operator.{right}")
        if method is None:
            raise invalid(f"unknown method: {name}")
        return method
