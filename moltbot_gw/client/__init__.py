"""A client of the gateway protocol, on Twisted.

`connect` is the way in::

    connection = await connect(reactor, Target(url="ws://127.0.0.1:18789", token=token))
    print(await connection.request("health"))
    await connection.close()
"""

from __future__ import annotations

from .channel import Closed
from .connection import GatewayConnection
from .dial import connect
from .errors import (
    BadTarget,
    ClientError,
    ConnectFailed,
    GatewayClosed,
    NotSent,
    RequestFailed,
    TimedOut,
)
from .frames import Event, Hello
from .target import SCOPES, Target

__all__ = [
    "connect",
    "Target",
    "SCOPES",
    "GatewayConnection",
    "Hello",
    "Event",
    "Closed",
    "ClientError",
    "BadTarget",
    "GatewayClosed",
    "ConnectFailed",
    "RequestFailed",
    "TimedOut",
    "NotSent",
]
