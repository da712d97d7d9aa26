"""What this gateway does not have: answers that keep the official clients happy.

Channels, nodes, cron, skills, speech, wizards, updates and the browser are not served;
their methods say so, or show that there is nothing.  None of them is advertised.

Source: upstream ``src/gateway/server-methods/``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from moltbot_gw.ws.calls import (
    AnyParams,
    Call,
    Method,
    MethodError,
    Params,
    Right,
    invalid,
    unavailable,
)
from moltbot_gw.ws.hub import Hub
from moltbot_gw.ws.methods.loose import LooseParams, text_in, texts_in

DEFAULT_TRIGGERS = ("clawd", "claude", "computer")
MAX_TRIGGERS = 32
MAX_TRIGGER_CHARS = 64
MAX_NAME_CHARS = 80

_FIXED: tuple[tuple[str, Right, Any], ...] = (
    ("node.pair.list", "pairing", {"pending": [], "paired": []}),
    ("node.invoke.result", "node", {"ok": True}),
    ("node.event", "node", {"ok": True}),
    ("cron.list", "read", {"jobs": []}),
    ("cron.runs", "read", {"entries": []}),
    ("skills.bins", "node", {"bins": []}),
    ("tts.providers", "read", {"providers": [], "active": "edge"}),
    ("tts.enable", "write", {"enabled": False}),
    ("tts.disable", "write", {"enabled": False}),
    ("tts.setProvider", "write", {"provider": "edge"}),
    (
        "update.run",
        "admin",
        {
            "ok": False,
            "result": {
                "status": "skipped",
                "mode": "unknown",
                "steps": [],
                "durationMs": 0,
            },
            "restart": None,
            "sentinel": {"path": None, "payload": {}},
        },
    ),
)
"""Methods that always answer the same."""

_INVALID: tuple[tuple[Right, str, tuple[str, ...]], ...] = (
    ("read", "unknown nodeId", ("node.describe",)),
    ("pairing", "unknown nodeId", ("node.rename",)),
    (
        "pairing",
        "unknown requestId",
        (
            "node.pair.request",
            "node.pair.approve",
            "node.pair.reject",
            "node.pair.verify",
        ),
    ),
    ("admin", "invalid channels.logout channel", ("channels.logout",)),
    (
        "admin",
        "web login provider is not available",
        ("web.login.start", "web.login.wait"),
    ),
    (
        "admin",
        "wizard not found",
        ("wizard.next", "wizard.cancel", "wizard.status"),
    ),
)
"""Methods that know of nothing that they could be asked about."""

_UNAVAILABLE: tuple[tuple[Right, str, tuple[str, ...]], ...] = (
    (
        "admin",
        "cron is not available",
        ("cron.add", "cron.update", "cron.remove", "cron.run"),
    ),
    ("admin", "skills are not available", ("skills.install", "skills.update")),
    (
        "admin",
        "nodes are not available",
        ("exec.approvals.node.get", "exec.approvals.node.set"),
    ),
    ("admin", "the setup wizard is not available", ("wizard.start",)),
    ("write", "tts is not available", ("tts.convert",)),
    ("write", "browser control is disabled", ("browser.request",)),
)
"""Methods that would have to do something."""


class ChannelParams(LooseParams, frozen=True, kw_only=True):
    """Where to send something."""

    channel: Any = None


class TalkModeParams(Params, frozen=True, kw_only=True):
    """Whether somebody talks."""

    enabled: bool
    phase: str | None = None


class TriggersParams(LooseParams, frozen=True, kw_only=True):
    """The words that wake a listening device."""

    triggers: Any = None


class UnservedMethods:
    """The handlers that are more than a constant.

    *state* and *workspace*, that of the default agent, are only shown; the wake words
    live as long as the process.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        unix_time: Callable[[], float],
        state: Path,
        workspace: Callable[[], Path],
    ) -> None:
        self._hub = hub
        self._unix_time = unix_time
        self._state = state
        self._workspace = workspace
        self._triggers: tuple[str, ...] = DEFAULT_TRIGGERS

    async def node_list(self, call: Call, params: AnyParams) -> Any:
        return {"ts": self._now_ms(), "nodes": []}

    async def node_invoke(self, call: Call, params: AnyParams) -> Any:
        raise unavailable("node not connected", details={"code": "NOT_CONNECTED"})

    async def channels_status(self, call: Call, params: AnyParams) -> Any:
        return {
            "ts": self._now_ms(),
            "channelOrder": [],
            "channelLabels": {},
            "channelDetailLabels": {},
            "channelSystemImages": {},
            "channelMeta": [],
            "channels": {},
            "channelAccounts": {},
            "channelDefaultAccountId": {},
        }

    async def cron_status(self, call: Call, params: AnyParams) -> Any:
        path = str(self._state / "cron" / "jobs.json")
        return {"enabled": False, "storePath": path, "jobs": 0, "nextWakeAtMs": None}

    async def skills_status(self, call: Call, params: AnyParams) -> Any:
        return {
            "workspaceDir": str(self._workspace()),
            "managedSkillsDir": str(self._state / "skills"),
            "skills": [],
        }

    async def tts_status(self, call: Call, params: AnyParams) -> Any:
        return {
            "enabled": False,
            "auto": "off",
            "provider": "edge",
            "fallbackProvider": None,
            "fallbackProviders": [],
            "prefsPath": str(self._state / "settings" / "tts.json"),
            "hasOpenAIKey": False,
            "hasElevenLabsKey": False,
            "edgeEnabled": False,
        }

    async def talk_mode(self, call: Call, params: TalkModeParams) -> Any:
        phase = None if params.phase is None else params.phase[:MAX_NAME_CHARS]
        told = {"enabled": params.enabled, "phase": phase, "ts": self._now_ms()}
        self._hub.broadcast("talk.mode", told)
        return told

    async def voicewake_get(self, call: Call, params: AnyParams) -> Any:
        return {"triggers": self._triggers}

    async def voicewake_set(self, call: Call, params: TriggersParams) -> Any:
        texts = texts_in(params.triggers)
        if texts is None:
            raise invalid("voicewake.set requires triggers: string[]")
        trimmed = (text.strip()[:MAX_TRIGGER_CHARS] for text in texts)
        words = tuple(word for word in trimmed if word)
        self._triggers = words[:MAX_TRIGGERS] or DEFAULT_TRIGGERS
        told = {"triggers": self._triggers}
        self._hub.broadcast("voicewake.changed", told)
        return told

    async def send(self, call: Call, params: ChannelParams) -> Any:
        raise invalid(f"unsupported channel: {_channel(params)}")

    async def poll(self, call: Call, params: ChannelParams) -> Any:
        raise invalid(f"unsupported poll channel: {_channel(params)}")

    def _now_ms(self) -> int:
        return int(self._unix_time() * 1000)


def methods(
    *,
    hub: Hub,
    unix_time: Callable[[], float],
    state: Path,
    workspace: Callable[[], Path],
) -> list[Method]:
    """Return the methods of this module; see ``UnservedMethods``."""
    does = UnservedMethods(
        hub=hub, unix_time=unix_time, state=state, workspace=workspace
    )
    found = [_fixed(name, right, answer) for name, right, answer in _FIXED]
    for make, groups in ((invalid, _INVALID), (unavailable, _UNAVAILABLE)):
        for right, problem, names in groups:
            found += [_failing(name, right, make, problem) for name in names]
    return [
        *found,
        _method("node.list", "read", does.node_list),
        _method("node.invoke", "write", does.node_invoke),
        _method("channels.status", "read", does.channels_status),
        _method("cron.status", "read", does.cron_status),
        _method("skills.status", "read", does.skills_status),
        _method("tts.status", "read", does.tts_status),
        _method("voicewake.get", "read", does.voicewake_get),
        _method("talk.mode", "write", does.talk_mode, TalkModeParams),
        _method("voicewake.set", "write", does.voicewake_set, TriggersParams),
        _method("send", "write", does.send, ChannelParams),
        _method("poll", "admin", does.poll, ChannelParams),
    ]


def _method(name: str, right: Right, handle: Any, params: type = AnyParams) -> Method:
    return Method(name, right, params, handle, advertised=False)


def _fixed(name: str, right: Right, answer: Any) -> Method:
    async def handle(call: Call, params: AnyParams) -> Any:
        return answer

    return _method(name, right, handle)


def _failing(
    name: str, right: Right, make: Callable[[str], MethodError], problem: str
) -> Method:
    async def handle(call: Call, params: AnyParams) -> Any:
        raise make(problem)

    return _method(name, right, handle)


def _channel(params: ChannelParams) -> str:
    return (text_in(params.channel) or "whatsapp")[:MAX_NAME_CHARS]
