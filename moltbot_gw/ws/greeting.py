"""What a client is told when it has come in: ``hello-ok``, with a true snapshot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from moltbot_gw.wire.connect import (
    Features,
    HelloOk,
    Policy,
    Server,
    SessionDefaults,
    Snapshot,
)
from moltbot_gw.wire.frames import StateVersion
from moltbot_gw.ws.connection import MAX_PAYLOAD
from moltbot_gw.ws.handshake import Admission
from moltbot_gw.ws.hub import EVENTS, TICK_SECONDS
from moltbot_gw.ws.refusals import PROTOCOL

MAX_BUFFERED_BYTES = 1_572_864
"""Told for compatibility; what is really buffered for a slow client is far less."""


@attrs.frozen(kw_only=True)
class Facts:
    """What does not change while the process lives."""

    version: str
    host: str
    config_path: str
    state_dir: str
    methods: tuple[str, ...]


@attrs.frozen(kw_only=True, eq=False)
class Greeter:
    """Makes the hello of each client.

    *session_defaults*, *presence* and *health* return what is true now, *versions* the
    counters of the last two; *uptime* is in seconds.
    """

    facts: Facts
    session_defaults: Callable[[], SessionDefaults]
    presence: Callable[[], list[Any]]
    health: Callable[[], Any]
    versions: Callable[[], StateVersion]
    uptime: Callable[[], float]

    def __call__(self, admission: Admission) -> HelloOk:
        """Return the hello for a client that was admitted."""
        facts = self.facts
        return HelloOk(
            type="hello-ok",
            protocol=PROTOCOL,
            server=Server(
                version=facts.version,
                host=facts.host,
                conn_id=admission.caller.conn_id,
            ),
            features=Features(methods=facts.methods, events=EVENTS),
            snapshot=Snapshot(
                presence=self.presence(),
                health=self.health(),
                state_version=self.versions(),
                uptime_ms=int(self.uptime() * 1000),
                config_path=facts.config_path,
                state_dir=facts.state_dir,
                session_defaults=self.session_defaults(),
            ),
            auth=admission.grant,
            policy=Policy(
                max_payload=MAX_PAYLOAD,
                max_buffered_bytes=MAX_BUFFERED_BYTES,
                tick_interval_ms=int(TICK_SECONDS * 1000),
            ),
        )
