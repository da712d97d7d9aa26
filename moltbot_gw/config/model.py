"""The whole configuration as one frozen value."""

from __future__ import annotations

from .fields import Section
from .model_agents import Agents
from .model_gateway import Gateway
from .model_others import (
    Auth,
    Binding,
    CanvasHost,
    Commands,
    Discovery,
    Env,
    Hooks,
    Logging,
    Messages,
    Ui,
    Update,
)
from .model_providers import Models
from .model_session import Session
from .model_tools import Tools
from .secret import Unread


class Config(Section, frozen=True, kw_only=True):
    """Everything that a ``moltbot.json`` may contain; nothing else is accepted."""

    gateway: Gateway = Gateway()
    agents: Agents = Agents()
    models: Models = Models()
    session: Session = Session()
    env: Env = Env()
    logging: Logging = Logging()
    tools: Tools | None = None
    messages: Messages | None = None
    auth: Auth | None = None
    commands: Commands | None = None
    bindings: tuple[Binding, ...] = ()
    hooks: Hooks | None = None
    ui: Ui | None = None
    update: Update | None = None
    discovery: Discovery | None = None
    canvas_host: CanvasHost | None = None
    meta: Unread | None = None
    wizard: Unread | None = None
    diagnostics: Unread | None = None
    browser: Unread | None = None
    node_host: Unread | None = None
    broadcast: Unread | None = None
    audio: Unread | None = None
    media: Unread | None = None
    approvals: Unread | None = None
    cron: Unread | None = None
    web: Unread | None = None
    channels: Unread | None = None
    talk: Unread | None = None
    skills: Unread | None = None
    plugins: Unread | None = None
