"""Deciding about ``connect``: the checks in their order, and what is granted.

A shared secret is full trust; a device only saves its owner from keeping the secret.
A named key is an operator with the scopes of the key at most; it lends nothing to the
device that brings it, because a device's token would outlive the key.
The order is that of upstream's ``message-handler.ts``, so that a client is told the
same first fault; the limit on wrong secrets stands before they are looked at.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import msgspec

from moltbot_gw.auth import AuthLimiter, SharedSecret
from moltbot_gw.config import ControlUi
from moltbot_gw.devices.identity import (
    BadDevice,
    DeviceClaim,
    SignedContext,
    verify_device,
)
from moltbot_gw.devices.pairing import (
    Authorized,
    PairingRequest,
    PairingRequired,
    PairingStore,
    PendingView,
    Resolved,
    TokenRevoked,
)
from moltbot_gw.errors import GatewayError, KeyExpired, TooManyFailures
from moltbot_gw.keyring import KeyRing
from moltbot_gw.peers import Peer
from moltbot_gw.principals import OWNER, Principal
from moltbot_gw.wire.connect import ConnectParams, DeviceGrant
from moltbot_gw.ws import refusals
from moltbot_gw.ws.calls import Caller
from moltbot_gw.ws.refusals import PROTOCOL
from moltbot_gw.ws.shield import to_the_end

MAX_PROBLEM_CHARS = 500
_DEFAULT_SCOPES = ("operator.admin",)
_ROLES = ("operator", "node")
_decode = msgspec.json.Decoder(ConnectParams).decode


@attrs.frozen(kw_only=True, eq=False)
class Admission:
    """A client that may come in; *resolved* if its device was paired just for that."""

    caller: Caller
    params: ConnectParams
    grant: DeviceGrant | None
    resolved: Resolved | None


@attrs.frozen(kw_only=True, eq=False)
class Applicant:
    """Who asks: *nonce* is what it was challenged with."""

    conn_id: str
    nonce: str
    peer: Peer


@attrs.frozen(kw_only=True, eq=False)
class Demands:
    """What a client must bring: *kind* of the secret is ``token`` or ``password``."""

    secret: SharedSecret
    kind: str
    control_ui: ControlUi


@attrs.frozen(eq=False)
class _Proof:
    """Whose secret the client has brought; *device_token* is his device's own."""

    principal: Principal = OWNER
    device_token: str | None = None

    @property
    def by_secret(self) -> bool:
        """Whether it is the shared one."""
        return self.principal.is_owner and self.device_token is None


class Doorkeeper:
    """Admits clients, or raises a ``Refusal``.

    *demands* may be replaced at any time: nobody comes in by a secret that has been
    replaced, not even who was being looked at then.  *on_pairing_asked* is told of each
    new request that somebody has to approve.
    """

    def __init__(
        self,
        *,
        demands: Demands,
        keys: KeyRing,
        limiter: AuthLimiter,
        pairing: PairingStore,
        unix_time: Callable[[], float],
        on_pairing_asked: Callable[[PendingView], None],
    ) -> None:
        self.demands = demands
        self._keys = keys
        self._limiter = limiter
        self._pairing = pairing
        self._unix_time = unix_time
        self._on_pairing_asked = on_pairing_asked

    async def admit(self, raw: msgspec.Raw, applicant: Applicant) -> Admission:
        """Decide about the parameters *raw* of ``connect``."""
        params = _parse(raw)
        role = _role(params)
        scopes = params.scopes or (_DEFAULT_SCOPES if role == "operator" else ())
        public_key = self._check_device(params, role, applicant)
        # One that is ignored by configuration has proved nothing, so it lends nothing.
        device = params.device if public_key is not None else None
        device_id = None if device is None else device.id
        proof = await self._authenticate(params, role, scopes, device_id, applicant)
        grant: DeviceGrant | None = None
        resolved: Resolved | None = None
        if not proof.principal.is_owner:
            device_id = None
            scopes = _scopes_of(proof.principal, role, scopes)
        elif public_key is not None and not self._skips_pairing(params):
            grant, resolved = await self._pair(
                params, role, scopes, public_key, proof.device_token, applicant
            )
        if proof.by_secret and not self._has_secret(params):
            raise self._unauthorized(params)  # the secret was replaced meanwhile
        caller = Caller(
            conn_id=applicant.conn_id,
            client=params.client,
            role=role,
            scopes=frozenset(scopes),
            device_id=device_id,
            address=None if applicant.peer.is_local else applicant.peer.address,
            principal=proof.principal,
            by_secret=proof.by_secret,
        )
        return Admission(caller=caller, params=params, grant=grant, resolved=resolved)

    # -- devices

    def _check_device(
        self, params: ConnectParams, role: str, applicant: Applicant
    ) -> str | None:
        """Return the public key of a device that proves itself; None without one."""
        client, device = params.client, params.device
        if (
            client.is_control_ui
            and self.demands.control_ui.dangerously_disable_device_auth
        ):
            device = None
        if device is None:
            if client.is_control_ui and not self._skips_pairing(params):
                raise refusals.insecure_control_ui()
            named = params.auth.token or self._find_key(params, applicant.peer)
            if not named and not self._skips_pairing(params):
                raise refusals.device_required()
            return None
        claim = DeviceClaim(
            device.id,
            device.public_key,
            device.signature,
            device.signed_at,
            device.nonce,
        )
        context = SignedContext(
            client_id=client.id,
            client_mode=client.mode,
            role=role,
            scopes=params.scopes,
            token=params.auth.token,
        )
        try:
            return verify_device(
                claim,
                context,
                nonce=applicant.nonce,
                now_ms=int(self._unix_time() * 1000),
                is_local=applicant.peer.is_local,
            )
        except BadDevice as error:
            raise refusals.bad_device(error.reason) from None

    def _skips_pairing(self, params: ConnectParams) -> bool:
        """Whether this is the original's page, freed from devices by configuration."""
        chosen = self.demands.control_ui
        bypass = chosen.allow_insecure_auth or chosen.dangerously_disable_device_auth
        given = bool(params.auth.token or params.auth.password)
        return params.client.is_control_ui and bypass and given

    # -- secrets

    async def _authenticate(
        self,
        params: ConnectParams,
        role: str,
        scopes: tuple[str, ...],
        device_id: str | None,
        applicant: Applicant,
    ) -> _Proof:
        """Check what the client brings."""
        auth, bucket = params.auth, applicant.peer.bucket
        if auth.token or auth.password:
            try:
                self._limiter.check(bucket)
            except TooManyFailures as error:
                wait = error.retry_after or 1
                raise refusals.too_many_failures(error.message, wait) from None
        if self._has_secret(params):
            return _Proof()
        named = self._find_key(params, applicant.peer)
        if named is not None:
            return _Proof(named)
        if auth.token and device_id is not None:
            try:
                valid = await self._pairing.check_token(
                    device_id, auth.token, role, scopes
                )
            except GatewayError as error:
                raise refusals.failed(error) from None
            if valid:
                return _Proof(device_token=auth.token)
        if auth.token or auth.password:
            self._limiter.failed(bucket)
        raise self._unauthorized(params)

    def _has_secret(self, params: ConnectParams) -> bool:
        presented = self._presented(params).encode("utf-8", "replace")
        return bool(presented) and self.demands.secret.matches(presented)

    def _presented(self, params: ConnectParams) -> str:
        auth = params.auth
        return (auth.token if self.demands.kind == "token" else auth.password) or ""

    def _unauthorized(self, params: ConnectParams) -> refusals.Refusal:
        client, given = params.client, bool(self._presented(params))
        return refusals.unauthorized(self.demands.kind, given, client.id, client.mode)

    def _find_key(self, params: ConnectParams, peer: Peer) -> Principal | None:
        """Return the named key that the client brings, or its proxy's user has."""
        token = params.auth.token
        try:
            if token:
                return self._keys.find(token.encode("utf-8", "replace"))
            return self._vouched_for(params, peer)
        except KeyExpired as error:
            raise refusals.key_refused(error.message) from None

    def _vouched_for(self, params: ConnectParams, peer: Peer) -> Principal | None:
        """Return the key of the user whom a proxy names; any secret counts before."""
        if params.auth.token or params.auth.password or peer.user is None:
            return None
        return self._keys.find_user(peer.user)

    # -- pairing

    async def _pair(
        self,
        params: ConnectParams,
        role: str,
        scopes: tuple[str, ...],
        public_key: str,
        token: str | None,
        applicant: Applicant,
    ) -> tuple[DeviceGrant, Resolved | None]:
        assert params.device is not None
        client, peer = params.client, applicant.peer
        request = PairingRequest(
            device_id=params.device.id,
            public_key=public_key,
            role=role,
            scopes=scopes,
            display_name=client.display_name,
            platform=client.platform,
            client_id=client.id,
            client_mode=client.mode,
            remote_ip=None if peer.is_local else peer.address,
            is_local=peer.is_local,
        )
        try:
            decision = await to_the_end(self._ask(request, token))
        except TokenRevoked:
            kind = self.demands.kind
            raise refusals.unauthorized(kind, True, client.id, client.mode) from None
        except GatewayError as error:
            raise refusals.failed(error) from None
        if isinstance(decision, PairingRequired):
            raise refusals.pairing_required(decision.request_id)
        return _grant(decision), decision.resolved

    async def _ask(
        self, request: PairingRequest, token: str | None
    ) -> Authorized | PairingRequired:
        decision = await self._pairing.authorize(request, token)
        if isinstance(decision, PairingRequired) and decision.is_new:
            self._on_pairing_asked(decision.pending)
        return decision


def _parse(raw: msgspec.Raw) -> ConnectParams:
    try:
        params = _decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise refusals.bad_params(str(error)[:MAX_PROBLEM_CHARS]) from None
    if not params.min_protocol <= PROTOCOL <= params.max_protocol:
        raise refusals.protocol_mismatch()
    return params


def _role(params: ConnectParams) -> str:
    role = params.role or "operator"
    if role not in _ROLES:
        raise refusals.invalid_role()
    return role


def _scopes_of(
    principal: Principal, role: str, wanted: tuple[str, ...]
) -> tuple[str, ...]:
    """Return what a named key gets of the scopes *wanted*."""
    if role != "operator":
        raise refusals.key_refused(f"the key {principal.name} is for operators only")
    given = principal.bound(wanted)
    if not given:
        raise refusals.key_refused(
            f"the key {principal.name} has none of the scopes that are asked for"
        )
    return tuple(sorted(given))


def _grant(decision: Authorized) -> DeviceGrant:
    token = decision.token
    return DeviceGrant(
        device_token=token.token,
        role=token.role,
        scopes=token.scopes,
        issued_at_ms=token.issued_at_ms,
    )
