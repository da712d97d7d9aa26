"""Keys and values of other versions: each is refused with the place to use instead."""

from __future__ import annotations

from typing import Any

from .issues import Fault, Place
from .tree import find_value, has_place

_CHANNELS = (
    "whatsapp",
    "telegram",
    "discord",
    "slack",
    "signal",
    "imessage",
    "msteams",
)
_MOVED: dict[Place, str] = {
    **{(name,): f"channels.{name}" for name in _CHANNELS},
    ("routing", "agents"): "agents.list",
    ("routing", "defaultAgentId"): "agents.list[].default",
    ("routing", "bindings"): "bindings at the top level",
    ("routing", "agentToAgent"): "tools.agentToAgent",
    ("routing", "queue"): "messages.queue",
    ("routing", "groupChat"): "messages.groupChat and the groups of each channel",
    ("routing", "allowFrom"): "channels.whatsapp.allowFrom",
    ("routing", "transcribeAudio"): "tools.media.audio",
    ("identity",): "agents.list[].identity",
    ("agent", "model"): "agents.defaults.model.primary",
    ("agent", "modelFallbacks"): "agents.defaults.model.fallbacks",
    ("agent", "imageModel"): "agents.defaults.imageModel.primary",
    ("agent", "imageModelFallbacks"): "agents.defaults.imageModel.fallbacks",
    ("agent", "allowedModels"): "agents.defaults.models",
    ("agent", "modelAliases"): "agents.defaults.models, as alias of each model",
    ("agent", "tools"): "tools at the top level",
    ("agent", "elevated"): "tools.elevated",
    ("agent", "bash"): "tools.exec",
    ("agent", "sandbox"): "agents.defaults.sandbox",
    ("agent", "subagents"): "agents.defaults.subagents",
    ("tools", "bash"): "tools.exec",
    ("messages", "tts", "enabled"): "messages.tts.auto",
    ("gateway", "token"): "gateway.auth.token",
}
_SPLIT_UP: dict[Place, str] = {
    ("routing",): "agents.list, bindings, channels, messages and tools",
    ("agent",): "agents.defaults and tools",
}

_AUTH_MODE: Place = ("gateway", "auth", "mode")
_LATER_MODES = {
    "none": "there is no mode without a secret",
    "trusted-proxy": "proxies name users for gateway.auth.keys, beside a secret",
}


def find_legacy(tree: Any) -> list[Fault]:
    """Return a fault for each key that an older version moved to another place."""
    faults = [
        Fault(place, f"this key has moved; use {target}")
        for place, target in _MOVED.items()
        if has_place(tree, place)
    ]
    explained = {fault.place[0] for fault in faults}
    faults += [
        Fault(place, f"this section is no more; its keys are now in {target}")
        for place, target in _SPLIT_UP.items()
        if has_place(tree, place) and place[0] not in explained
    ]
    return faults


def find_later(tree: Any) -> list[Fault]:
    """Return a fault for each value that only a later version has."""
    mode = find_value(tree, _AUTH_MODE)
    reason = _LATER_MODES.get(mode) if isinstance(mode, str) else None
    if reason is None:
        return []
    message = (
        f'"{mode}" is not supported: {reason}; use "token" with gateway.auth.token, '
        'or "password" with gateway.auth.password'
    )
    return [Fault(_AUTH_MODE, message)]
