"""The first words on a connection: challenge, ``connect``, hello.

Source: ``ws-protocol``, sections 3 and 5.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from moltbot_gw.client.channel import Channel, Closed, with_deadline
from moltbot_gw.client.errors import (
    ConnectFailed,
    GatewayClosed,
    RequestFailed,
    TimedOut,
)
from moltbot_gw.client.frames import Event, Hello, find_hello
from moltbot_gw.client.moment import Moment
from moltbot_gw.client.target import Target
from moltbot_gw.config import Secret
from moltbot_gw.wire.device import SignedContext

PROTOCOL = 3
CHALLENGE_PATIENCE = 0.75
"""Seconds after which ``connect`` is sent without the challenge's nonce."""
CLOSE_PATIENCE = 1.0
"""Seconds for the closing frame that follows a refusal."""
CONNECT_FAILED = 4008

_MAX_NONCE_CHARS = 256


class Handshake:
    """One try to be let in over *channel*, with *token* (shared, or the device's)."""

    def __init__(
        self,
        channel: Channel,
        target: Target,
        token: Secret | None,
        clock: IReactorTime,
    ) -> None:
        self._channel = channel
        self._target = target
        self._token = token
        self._clock = clock
        self._nonce: Moment[str | None] = Moment()

    async def run(self, seconds: float) -> Hello:
        """Return the welcome; raise ``ConnectFailed`` or ``TimedOut``."""
        unsubscribe = self._channel.subscribe(self._note_challenge)
        try:
            await self._open()
            nonce = await self._challenge()
            payload = await self._channel.request(
                "connect", self._params(nonce), seconds=seconds, expect_final=False
            )
        except RequestFailed as refusal:
            raise await self._refused(refusal) from None
        except GatewayClosed as end:
            raise ConnectFailed(end.code, end.reason) from None
        finally:
            unsubscribe()
        hello = find_hello(payload)
        if hello is None or hello.protocol != PROTOCOL:
            self._channel.close(CONNECT_FAILED, "connect failed")
            raise ConnectFailed(1002, "the gateway's hello is not of protocol 3")
        return hello

    async def _open(self) -> None:
        end = await self._channel.when_open()
        if end is not None:
            raise ConnectFailed(end.code, end.reason)

    def _note_challenge(self, event: Event) -> None:
        payload = event.payload
        if event.event == "connect.challenge" and isinstance(payload, dict):
            nonce = payload.get("nonce")
            usable = isinstance(nonce, str) and 0 < len(nonce) <= _MAX_NONCE_CHARS
            self._nonce.come(nonce if usable else None)

    async def _challenge(self) -> str | None:
        try:
            return await with_deadline(
                self._nonce.when(), CHALLENGE_PATIENCE, self._clock
            )
        except TimedOut:
            return None

    async def _refused(self, refusal: RequestFailed) -> ConnectFailed:
        """Return the failure, with the code of the closing frame if one comes."""
        ending: Deferred[Closed] = self._channel.when_closed()
        try:
            end = await with_deadline(ending, CLOSE_PATIENCE, self._clock)
        except TimedOut:
            self._channel.close(CONNECT_FAILED, "connect failed")
            end = Closed(1008, "")
        # The reason in the frame is cut at 120 bytes, the answer's text is not.
        return ConnectFailed(end.code, refusal.message, refusal)

    def _params(self, nonce: str | None) -> dict[str, Any]:
        target = self._target
        client = {
            "id": target.client_id,
            "displayName": target.display_name,
            "version": target.version,
            "platform": target.platform,
            "mode": target.mode,
            "instanceId": target.instance_id,
        }
        params: dict[str, Any] = {
            "minProtocol": PROTOCOL,
            "maxProtocol": PROTOCOL,
            "client": {name: value for name, value in client.items() if value},
            "role": target.role,
            "scopes": list(target.scopes),
        }
        auth = {"token": self._token, "password": target.password}
        given = {name: secret.reveal() for name, secret in auth.items() if secret}
        if given:
            params["auth"] = given
        if target.identity is not None:
            params["device"] = self._device(nonce)
        return params

    def _device(self, nonce: str | None) -> dict[str, Any]:
        assert self._target.identity is not None
        context = SignedContext(
            client_id=self._target.client_id,
            client_mode=self._target.mode,
            role=self._target.role,
            scopes=self._target.scopes,
            token=self._token.reveal() if self._token else None,
        )
        # A reactor's clock is the machine's; only a test's begins at nought.
        signed_at_ms = int(self._clock.seconds() * 1000)
        claim = self._target.identity.sign(context, signed_at_ms, nonce)
        device: dict[str, Any] = {
            "id": claim.id,
            "publicKey": claim.public_key,
            "signature": claim.signature,
            "signedAt": claim.signed_at_ms,
        }
        if claim.nonce is not None:
            device["nonce"] = claim.nonce
        return device
