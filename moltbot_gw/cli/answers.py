"""What commands rely on in the gateway's answers, looked at before they are shown.

The models name what is read, and nothing else: an answer may hold more.  A command goes
on with the answer itself, which ``--json`` shows as it came.
"""

from __future__ import annotations

from typing import Any, Union

import msgspec

from moltbot_gw.client import ClientError


class BadAnswer(ClientError):
    """The answer to *method* lacks something, or has something else in its place."""

    def __init__(self, method: str, why: str) -> None:
        super().__init__(f"the gateway's answer to {method} makes no sense: {why}")


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An object; None and being left out are the same."""


class _Identity(_Shape, frozen=True):
    name: str | None = None
    emoji: str | None = None


class _Agent(_Shape, frozen=True):
    id: str
    name: str | None = None
    identity: _Identity | None = None


class _Agents(_Shape, frozen=True):
    default_id: str
    agents: list[_Agent]


class _Tool(_Shape, frozen=True):
    name: str
    allowed: bool
    stage: str
    why: str = ""
    served: bool = True


class _ShownAgent(_Shape, frozen=True):
    agent_id: str
    model: str
    workspace: str
    tools: list[_Tool]


class _Model(_Shape, frozen=True):
    id: str
    provider: str
    name: str | None = None
    context_window: float | None = None
    input: list[str] | None = None


class _Models(_Shape, frozen=True):
    models: list[_Model]


class _UsedModel(_Shape, frozen=True):
    model: str
    primary_of: list[str]
    fallback_of: list[str]


class _ProviderFailure(_Shape, frozen=True):
    at: float
    model: str
    reason: str
    message: str


class _Provider(_Shape, frozen=True):
    provider: str
    served: bool
    has_key: bool
    used: list[_UsedModel]
    successes: int
    failures: dict[str, int]
    last_success_at: float | None = None
    last_failure: _ProviderFailure | None = None
    cooldown_until: float | None = None
    cooldown_reason: str | None = None


class _ModelStatus(_Shape, frozen=True):
    ts: float
    providers: list[_Provider]


class _Session(_Shape, frozen=True):
    key: str
    updated_at: float | None = None
    age: float | None = None
    model: str | None = None
    total_tokens: float | None = None
    context_tokens: float | None = None


class _Defaults(_Shape, frozen=True):
    model: str | None = None
    model_provider: str | None = None
    context_tokens: float | None = None


class _Sessions(_Shape, frozen=True):
    ts: float
    sessions: list[_Session]
    defaults: _Defaults | None = None


class _Keyed(_Shape, frozen=True):
    key: str


class _History(_Shape, frozen=True):
    messages: list[Any]
    session_id: str | None = None


class _Device(_Shape, frozen=True):
    device_id: str
    request_id: str | None = None
    display_name: str | None = None
    platform: str | None = None
    remote_ip: str | None = None
    role: str | None = None
    roles: list[str] | None = None
    scopes: list[str] | None = None
    ts: float | None = None
    approved_at_ms: float | None = None


class _Devices(_Shape, frozen=True):
    pending: list[_Device]
    paired: list[_Device]


class _Decided(_Shape, frozen=True):
    device: _Device | None = None
    device_id: str | None = None

    def __post_init__(self) -> None:
        if self.device is None and self.device_id is None:
            raise ValueError("Object missing required field `deviceId`")


class _Heartbeat(_Shape, frozen=True):
    enabled: bool = False
    every: str = ""


class _HealthAgent(_Shape, frozen=True):
    agent_id: str
    heartbeat: _Heartbeat = _Heartbeat()


class _SessionsSummary(_Shape, frozen=True):
    count: int = 0
    recent: list[_Session] | None = None
    defaults: _Defaults | None = None


class _Health(_Shape, frozen=True):
    agents: list[_HealthAgent] | None = None
    sessions: _SessionsSummary | None = None


class _StatusAgent(_Shape, frozen=True):
    agent_id: str
    every: str = ""


class _StatusBeat(_Shape, frozen=True):
    agents: list[_StatusAgent] | None = None


class _Status(_Shape, frozen=True):
    heartbeat: _StatusBeat | None = None
    queued_system_events: list[Any] | None = None
    sessions: _SessionsSummary | None = None


class _Sums(_Shape, frozen=True):
    total_cost: float | None = None
    total_tokens: float | None = None
    missing_cost_entries: float | None = None


class _Day(_Sums, frozen=True, kw_only=True):
    date: str


class _Usage(_Shape, frozen=True):
    totals: _Sums | None = None
    daily: list[_Day] | None = None


class _Tail(_Shape, frozen=True):
    file: str
    cursor: int
    lines: list[str]


class _Payload(_Shape, frozen=True):
    text: str | None = None
    media_url: str | None = None
    media_urls: list[str] | None = None


class _Result(_Shape, frozen=True):
    payloads: list[_Payload] | None = None


class _Final(_Shape, frozen=True):
    summary: str | None = None
    result: _Result | None = None


_SHAPES: dict[str, Any] = {
    "agent": Union[_Final, None],
    "agents.list": _Agents,
    "agents.show": _ShownAgent,
    "chat.history": _History,
    "config.get": dict[str, Any],
    "device.pair.approve": _Decided,
    "device.pair.list": _Devices,
    "device.pair.reject": _Decided,
    "health": _Health,
    "logs.tail": _Tail,
    "models.list": _Models,
    "models.status": _ModelStatus,
    "sessions.delete": _Keyed,
    "sessions.list": _Sessions,
    "sessions.reset": _Keyed,
    "status": _Status,
    "system-presence": list[dict[str, Any]],
    "usage.cost": _Usage,
}


def checked(method: str, answer: Any) -> Any:
    """Return *answer* as it is; raise ``BadAnswer`` if it is none to *method*."""
    shape = _SHAPES.get(method, Any)
    try:
        msgspec.convert(answer, shape)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BadAnswer(method, str(error)) from None
    return answer
