"""What comes from the gateway, as values (``ws-protocol``, sections 2 and 3.3).

Bytes that are no frame give None: the original's clients pass over them in silence, so
that a gateway may grow.
"""

from __future__ import annotations

from typing import Annotated, Any, Union

import msgspec
from msgspec import Meta

from moltbot_gw.config import Secret, decode_hook

Name = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=0)]


class _Frame(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    tag_field="type",
    forbid_unknown_fields=True,
):
    """Strict, as the original's clients are with frames."""


class _Open(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A payload, which may hold more than is read here."""


class ErrorShape(_Open, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a request failed."""

    code: Name
    message: Name
    details: Any = None
    retryable: bool | None = None
    retry_after_ms: Count | None = None


class Response(_Frame, frozen=True, kw_only=True, tag="res"):
    """The answer to the request of the same *id*."""

    id: Name
    ok: bool
    payload: Any = None
    error: ErrorShape | None = None


class StateVersion(_Open, frozen=True, kw_only=True):
    """Counters that go up with each change of what they count."""

    presence: int = 0
    health: int = 0


class Event(_Frame, frozen=True, kw_only=True, tag="event"):
    """Something that happened; *seq* counts the gateway's events for everybody."""

    event: Name
    payload: Any = None
    seq: Count | None = None
    state_version: StateVersion | None = None


class Server(_Open, frozen=True, kw_only=True):
    """Who answered."""

    version: str
    conn_id: str
    commit: str | None = None
    host: str | None = None


class Features(_Open, frozen=True, kw_only=True):
    """What the gateway says that it serves."""

    methods: tuple[str, ...] = ()
    events: tuple[str, ...] = ()


class SessionDefaults(_Open, frozen=True, kw_only=True):
    """Which session is meant by ``main``."""

    default_agent_id: str = "main"
    main_key: str = "main"
    main_session_key: str = "agent:main:main"
    scope: str = "per-sender"


class Snapshot(_Open, frozen=True, kw_only=True):
    """How things stood when the connection was made."""

    presence: tuple[dict[str, Any], ...] = ()
    health: dict[str, Any] = {}
    state_version: StateVersion = StateVersion()
    uptime_ms: int = 0
    config_path: str | None = None
    state_dir: str | None = None
    session_defaults: SessionDefaults = SessionDefaults()


class HelloAuth(_Open, frozen=True, kw_only=True):
    """The device's own token, to be used next time."""

    device_token: Secret
    role: str
    scopes: tuple[str, ...] = ()
    issued_at_ms: int = 0


class Policy(_Open, frozen=True, kw_only=True):
    """The gateway's bounds: bytes of a frame, bytes waiting for a client, ms."""

    max_payload: Annotated[int, Meta(gt=0)] = 524_288
    max_buffered_bytes: Annotated[int, Meta(gt=0)] = 1_572_864
    tick_interval_ms: Annotated[int, Meta(gt=0)] = 30_000


class Hello(_Open, frozen=True, kw_only=True):
    """The gateway's welcome."""

    protocol: int
    server: Server
    features: Features = Features()
    snapshot: Snapshot = Snapshot()
    auth: HelloAuth | None = None
    policy: Policy = Policy()


_decoder: msgspec.json.Decoder[Union[Response, Event]] = msgspec.json.Decoder(
    Union[Response, Event]
)


def find_frame(data: bytes) -> Response | Event | None:
    """Return the frame that *data* is, None if it is none that we know."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def find_hello(payload: Any) -> Hello | None:
    """Return the welcome in the answer to ``connect``, None if it is none."""
    try:
        return msgspec.convert(payload, Hello, dec_hook=decode_hook)
    except (msgspec.ValidationError, RecursionError):
        return None
