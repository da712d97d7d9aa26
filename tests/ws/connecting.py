"""The first words of a client on the WebSocket edge, right or wrong."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from moltbot_gw.wire.device import DeviceIdentity
from tests.support.control import JSON, Client, Control, connect_params
from tests.support.device import make_identity, sign_connect

LOCAL = "127.0.0.1"
"""The address of a client on this machine; all others are elsewhere."""

DEVICE = make_identity()


def nonce_of(client: Client) -> str:
    """Return the nonce of the challenge, the first thing that a client is told."""
    (challenge,) = client.messages()
    assert challenge["event"] == "connect.challenge"
    nonce: str = challenge["payload"]["nonce"]
    return nonce


def signed(
    control: Control,
    client: Client,
    identity: DeviceIdentity = DEVICE,
    /,
    *,
    version: int = 2,
    late: float = 0.0,
    **changes: Any,
) -> JSON:
    """Return parameters of ``connect`` that *identity* signs, *late* seconds ago.

    *version* 2 signs the challenge, 1 does not.
    """
    nonce = nonce_of(client)
    return sign_connect(
        identity,
        connect_params(**changes),
        signed_at_ms=int((control.unix_time() - late) * 1000),
        nonce=nonce if version == 2 else None,
    )


def connect_frame(params: Any, frame_id: str = "c1") -> JSON:
    """Return the request ``connect``."""
    return {"type": "req", "id": frame_id, "method": "connect", "params": params}


def connect(control: Control, client: Client, params: Any) -> JSON:
    """Send ``connect``; return its one answer."""
    client.send(connect_frame(params))
    control.advance(0)
    (answer,) = [m for m in client.messages() if m.get("type") == "res"]
    assert answer["id"] == "c1"
    return answer


def log_in_with(
    control: Control,
    peer: str | None = None,
    identity: DeviceIdentity = DEVICE,
    /,
    **changes: Any,
) -> tuple[Client, JSON]:
    """Connect with a device from *peer*; return the client and its answer."""
    client = control.client(peer)
    return client, connect(
        control, client, signed(control, client, identity, **changes)
    )


def stop(control: Control) -> Deferred[None]:
    """Stop the edge as the daemon does when no run is left; fires at the end."""
    control.control.announce_stop("gateway stopping")
    return Deferred.fromCoroutine(control.control.close())
