"""``device.*``: who may come in with a device instead of the secret."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Annotated, Any

from msgspec import Meta

from moltbot_gw.devices.pairing import IssuedToken, PairingStore, Resolved
from moltbot_gw.ws.calls import Call, Caller, Method, NoParams, Params, invalid
from moltbot_gw.ws.shield import to_the_end

Text1 = Annotated[str, Meta(min_length=1, max_length=200)]


class RequestParams(Params, frozen=True, kw_only=True):
    """A request that waits."""

    request_id: Text1


class RotateParams(Params, frozen=True, kw_only=True):
    """A device's token, and the scopes of the next one."""

    device_id: Text1
    role: Text1
    scopes: tuple[Text1, ...] | None = None


class RevokeParams(Params, frozen=True, kw_only=True):
    """A device's token."""

    device_id: Text1
    role: Text1


def resolved_event(resolved: Resolved) -> dict[str, Any]:
    """Return the payload of ``device.pair.resolved``."""
    return {
        "requestId": resolved.request_id,
        "deviceId": resolved.device_id,
        "decision": resolved.decision,
        "ts": resolved.ts,
    }


class DeviceMethods:
    """Pairs devices and cares for their tokens.

    Nobody hands out more than he has: scopes that the caller lacks need an admin.
    *tell* broadcasts the end of a request, *dismiss* closes the connections that came
    in with a device in a role.
    """

    def __init__(
        self,
        *,
        pairing: PairingStore,
        tell: Callable[[Resolved], None],
        dismiss: Callable[[str, str], None],
    ) -> None:
        self._pairing = pairing
        self._tell = tell
        self._dismiss = dismiss

    def methods(self) -> list[Method]:
        """Return the methods of this module."""
        return [
            Method("device.pair.list", "pairing", NoParams, self.list_devices),
            Method("device.pair.approve", "pairing", RequestParams, self.approve),
            Method("device.pair.reject", "pairing", RequestParams, self.reject),
            Method("device.token.rotate", "pairing", RotateParams, self.rotate),
            Method("device.token.revoke", "pairing", RevokeParams, self.revoke),
        ]

    async def list_devices(self, call: Call, params: NoParams) -> Any:
        """List who waits and who is paired."""
        pending, paired = await self._pairing.list()
        return {"pending": pending, "paired": paired}

    async def approve(self, call: Call, params: RequestParams) -> Any:
        """Let a device in."""
        pending, _ = await self._pairing.list()
        for request in pending:
            if request.request_id == params.request_id:
                _check_scopes(call.caller, request.scopes or ())
        resolved = await to_the_end(
            self._resolve(self._pairing.approve(params.request_id))
        )
        return {"requestId": resolved.request_id, "device": resolved.device}

    async def reject(self, call: Call, params: RequestParams) -> Any:
        """Keep a device out."""
        resolved = await to_the_end(
            self._resolve(self._pairing.reject(params.request_id))
        )
        return {"requestId": resolved.request_id, "deviceId": resolved.device_id}

    async def rotate(self, call: Call, params: RotateParams) -> Any:
        """Give a device another token, and end what was begun with the old one."""
        scopes = params.scopes
        if scopes is None:
            _, paired = await self._pairing.list()
            held = [d.scopes for d in paired if d.device_id == params.device_id]
            scopes = tuple(held[0] or ()) if held else ()
        _check_scopes(call.caller, scopes)
        issued = await to_the_end(self._rotate(params))
        return {
            "deviceId": params.device_id,
            "role": issued.role,
            "token": issued.token,
            "scopes": issued.scopes,
            "rotatedAtMs": issued.issued_at_ms,
        }

    async def revoke(self, call: Call, params: RevokeParams) -> Any:
        """Make a device's token worthless, and end what was begun with it."""
        revoked_at_ms = await to_the_end(self._revoke(params.device_id, params.role))
        return {
            "deviceId": params.device_id,
            "role": params.role,
            "revokedAtMs": revoked_at_ms,
        }

    async def _resolve(self, deciding: Awaitable[Resolved]) -> Resolved:
        resolved = await deciding
        self._tell(resolved)
        return resolved

    async def _rotate(self, params: RotateParams) -> IssuedToken:
        issued = await self._pairing.rotate(
            params.device_id, params.role, params.scopes
        )
        self._dismiss(params.device_id, params.role)
        return issued

    async def _revoke(self, device_id: str, role: str) -> int:
        revoked_at_ms = await self._pairing.revoke(device_id, role)
        self._dismiss(device_id, role)
        return revoked_at_ms


def _check_scopes(caller: Caller, scopes: Collection[str]) -> None:
    missing = sorted(set(scopes) - caller.scopes)
    if missing and "operator.admin" not in caller.scopes:
        raise invalid(f"missing scope: {missing[0]}")
