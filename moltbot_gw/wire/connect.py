"""The handshake of the gateway protocol: what ``connect`` brings, and ``hello-ok``.

Source: upstream ``src/gateway/protocol/schema/frames.ts``, ``client-info.ts``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from moltbot_gw.wire.frames import StateVersion

Text1 = Annotated[str, Meta(min_length=1, max_length=1000)]
Positive = Annotated[int, Meta(ge=1)]
_PRODUCTS = ("moltbot", "clawdbot", "openclaw")
_APPS = ("control-ui", "macos", "ios", "android", "probe")
CLIENT_IDS = frozenset(
    {"webchat-ui", "webchat", "cli", "gateway-client", "node-host", "test"}
    | {"fingerprint"}
    | {f"{product}-{app}" for product in _PRODUCTS for app in _APPS}
)

Mode = Literal["webchat", "cli", "ui", "backend", "node", "probe", "test"]


class _Strict(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
):
    """What a client sends: nothing but the members named here."""


class ClientInfo(_Strict, frozen=True, kw_only=True):
    """Who connects."""

    id: Text1
    version: Text1
    platform: Text1
    mode: Mode
    display_name: Text1 | None = None
    device_family: Text1 | None = None
    model_identifier: Text1 | None = None
    instance_id: Text1 | None = None

    def __post_init__(self) -> None:
        if self.id not in CLIENT_IDS:
            raise ValueError("must be equal to constant")

    @property
    def is_control_ui(self) -> bool:
        """Whether this is the original's page, under any of its names."""
        return self.id.endswith("-control-ui")


class DeviceParams(_Strict, frozen=True, kw_only=True):
    """The device that signs, see ``wire.device``; *signed_at* is in Unix ms."""

    id: Text1
    public_key: Text1
    signature: Text1
    signed_at: int
    nonce: Text1 | None = None


class AuthParams(_Strict, frozen=True, kw_only=True):
    """The secrets that a client brings; empty ones count as absent."""

    token: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return "AuthParams(***)"


class ConnectParams(_Strict, frozen=True, kw_only=True):
    """The parameters of ``connect``."""

    min_protocol: Positive
    max_protocol: Positive
    client: ClientInfo
    caps: tuple[Text1, ...] = ()
    commands: tuple[Text1, ...] = ()
    permissions: dict[str, bool] = {}
    path_env: str | None = None
    role: Text1 | None = None
    scopes: Annotated[tuple[Text1, ...], Meta(max_length=64)] = ()
    device: DeviceParams | None = None
    auth: AuthParams = AuthParams()
    locale: str | None = None
    user_agent: str | None = None


class _Said(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """What we send; members that are None are left out."""


class Server(_Said, frozen=True, kw_only=True):
    """Which process answers."""

    version: str
    host: str
    conn_id: str
    commit: str | None = None


class Features(_Said, frozen=True, kw_only=True):
    """What is served."""

    methods: tuple[str, ...]
    events: tuple[str, ...]


class SessionDefaults(_Said, frozen=True, kw_only=True):
    """Where a client's ``main`` leads."""

    default_agent_id: str
    main_key: str
    main_session_key: str
    scope: str


class Snapshot(_Said, frozen=True, kw_only=True):
    """The states that events keep up to date from here on."""

    presence: list[Any]
    health: Any
    state_version: StateVersion
    uptime_ms: int
    config_path: str
    state_dir: str
    session_defaults: SessionDefaults


class DeviceGrant(_Said, frozen=True, kw_only=True):
    """The token with which a paired device may come back."""

    device_token: str
    role: str
    scopes: tuple[str, ...]
    issued_at_ms: int

    def __repr__(self) -> str:
        return "DeviceGrant(***)"


class Policy(_Said, frozen=True, kw_only=True):
    """Limits that a client should know; bytes and milliseconds."""

    max_payload: int
    max_buffered_bytes: int
    tick_interval_ms: int


class HelloOk(_Said, frozen=True, kw_only=True):
    """The answer to ``connect``."""

    type: Literal["hello-ok"]
    protocol: int
    server: Server
    features: Features
    snapshot: Snapshot
    auth: DeviceGrant | None = None
    policy: Policy
