"""From a configuration to the agents: models, permissions, tools.

A part of the composition root.  What outlives a configuration is in the ``Workshop``;
the rest is built anew for each one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from moltbot_gw.agents.allowlist import Allowlist
from moltbot_gw.agents.approvals import Approvals
from moltbot_gw.agents.context import Compactor
from moltbot_gw.agents.cooldowns import CooldownPolicy
from moltbot_gw.agents.failover import Failover
from moltbot_gw.agents.ids import new_uuid
from moltbot_gw.agents.lanes import LaneLimits
from moltbot_gw.agents.prompts import Prompts
from moltbot_gw.agents.providerhealth import ProviderHealth
from moltbot_gw.agents.roster import build_roster
from moltbot_gw.agents.service import AgentService
from moltbot_gw.agents.setup import AgentSetup
from moltbot_gw.agents.statuscard import StatusCards
from moltbot_gw.agents.toolbox import Toolbox
from moltbot_gw.agents.toolpolicy import ToolPolicies
from moltbot_gw.agents.toolrunner import ToolLimits
from moltbot_gw.agents.window import compaction_settings
from moltbot_gw.agents.workspace import Workspaces, leave_workspace
from moltbot_gw.config import Auth, Config, Reset, WebFetch
from moltbot_gw.config import Session as SessionConfig
from moltbot_gw.fetching.guard import GuardedFetch
from moltbot_gw.interfaces import IModelProvider, ISessionStore, RunInThread
from moltbot_gw.providers.apikeys import find_api_key
from moltbot_gw.providers.factory import is_served
from moltbot_gw.providershelf import ProviderShelf, Stocked
from moltbot_gw.sessions import ResetPolicy, fresh_after_ms, session_kind
from moltbot_gw.settings import Settings
from moltbot_gw.tooling import Tool
from moltbot_gw.tools.access import SessionAccess
from moltbot_gw.tools.exec import ExecTools, exec_tools
from moltbot_gw.tools.files import file_roots, file_tools
from moltbot_gw.tools.sending import SendTool
from moltbot_gw.tools.sessions import SessionTools
from moltbot_gw.tools.webfetch import web_fetch_tool


@attrs.define(kw_only=True, eq=False)
class Workshop:
    """What agents are built with, and what of them outlives a configuration.

    *config* is the one in force.  *tell* gets a session's key and a line that its agent
    is to be told before its next message.
    """

    config: Config
    reactor: Any
    store: ISessionStore
    run_in_thread: RunInThread
    environ: Mapping[str, str]
    home: Path
    fetch: GuardedFetch
    approvals: Approvals
    allowlist: Allowlist
    tell: Callable[[str, str], None]
    shelf: ProviderShelf = attrs.field(init=False)
    workspaces: Workspaces = attrs.field(init=False)
    commands: ExecTools = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.shelf = ProviderShelf(self.reactor)
        self.workspaces = Workspaces(self.run_in_thread, self.reactor)
        self.commands = exec_tools(
            config=lambda: self.config,
            approvals=self.approvals,
            allowlist=self.allowlist,
            environ=lambda: self.environ,
            home=self.home,
            reactor=self.reactor,
            unix_time=time.time,
            tell=self.tell,
        )


def build_setup(
    settings: Settings,
    workshop: Workshop,
    stock: Mapping[str, Stocked],
    before: AgentSetup | None = None,
) -> AgentSetup:
    """Return the agents of *settings*, without their tools; see ``equip``.

    What is known of providers *before* a reload stays known of those that *stock* has
    kept.
    """
    config = settings.config
    providers = {name: one.provider for name, one in stock.items()}
    roster = build_roster(
        config,
        settings.home,
        settings.environ.get("CLAWDBOT_PROFILE"),
        # Whoever only tries it out finds nothing beside the state.
        workspaces=settings.state if settings.dev else None,
    )
    prepare = workshop.workspaces.prepare
    if config.agents.defaults.skip_bootstrap:
        prepare = leave_workspace
    policies = ToolPolicies(config)
    return AgentSetup(
        roster=roster,
        providers=providers,
        fresh_after_ms=_freshness(config.session),
        max_run_bytes=config.gateway.limits.max_run_bytes,
        prepare_workspace=prepare,
        prompts=Prompts(
            roster.agents.values(),
            run_in_thread=workshop.run_in_thread,
            clock=workshop.reactor,
        ),
        failover=Failover(_build_health(config, workshop, providers, before)),
        compactor=Compactor(
            store=workshop.store,
            clock=workshop.reactor,
            unix_time=time.time,
            settings=compaction_settings(config.agents.defaults),
        ),
        policies=policies,
        toolbox=Toolbox(policies),
        tool_limits=_tool_limits(config),
        verbose=config.agents.defaults.verbose_default,
        global_scope=config.session.scope == "global",
        with_keys={
            name.lower(): find_api_key(name, entry, settings.environ) is not None
            for name, entry in config.models.providers.items()
        },
    )


def _build_health(
    config: Config,
    workshop: Workshop,
    providers: Mapping[str, IModelProvider],
    before: AgentSetup | None,
) -> ProviderHealth:
    return ProviderHealth(
        providers=providers,
        policy=CooldownPolicy.from_config((config.auth or Auth()).cooldowns),
        clock=workshop.reactor,
        unix_time=time.time,
        before=before.failover.health if before is not None else None,
        kept=[
            name
            for name, provider in providers.items()
            if before is not None and before.providers.get(name) is provider
        ],
    )


def lane_limits(config: Config) -> LaneLimits:
    """Return how many runs there may be at once."""
    limits = config.gateway.limits
    return LaneLimits(
        max_concurrent=config.agents.defaults.max_concurrent,
        max_waiting=limits.max_queued_runs,
        max_waiting_per_session=limits.max_queued_per_session,
    )


def notices_of(setup: AgentSetup, settings: Settings) -> list[str]:
    """Return a line for the log about each part of *setup* that cannot work."""
    unserved = [
        f"models.providers.{name}: the API {entry.api} is not served yet"
        for name, entry in settings.config.models.providers.items()
        if not is_served(entry)
    ]
    return unserved + [
        f"agent {agent.id} cannot run: its model {agent.model} has no provider here"
        for agent in setup.roster.agents.values()
        if agent.model.provider not in setup.providers
    ]


def equip(
    setup: AgentSetup, settings: Settings, agents: AgentService, workshop: Workshop
) -> None:
    """Put all tools into the box of *setup*; some of them act upon *agents*."""
    config = settings.config
    tools: list[Tool] = [
        *file_tools(
            roots=lambda agent_id: file_roots(config, agent_id),
            forbidden=_forbidden(settings),
            home=settings.home,
            run_in_thread=workshop.run_in_thread,
        ),
        *workshop.commands.tools,
    ]
    web = config.tools.web if config.tools is not None else None
    page_config = (web.fetch if web is not None else None) or WebFetch()
    if page_config.enabled is not False:
        tools.append(
            web_fetch_tool(
                fetch=workshop.fetch,
                config=page_config,
                clock=workshop.reactor,
                run_in_thread=workshop.run_in_thread,
            )
        )
    setup.toolbox.add((*tools, *_session_tools(setup, config, agents, workshop)))


def _session_tools(
    setup: AgentSetup, config: Config, agents: AgentService, workshop: Workshop
) -> tuple[Tool, ...]:
    access = SessionAccess(
        roster=setup.roster,
        store=workshop.store,
        rule=config.tools.agent_to_agent if config.tools is not None else None,
        global_scope=config.session.scope == "global",
    )
    looking = SessionTools(
        roster=setup.roster,
        store=workshop.store,
        access=access,
        cards=StatusCards(agents=agents, store=workshop.store, unix_time=time.time),
        unix_time=time.time,
        new_session_id=new_uuid,
    )
    sending = SendTool(
        agents=agents, access=access, clock=workshop.reactor, new_uuid=new_uuid
    )
    return (*looking.tools, sending.tool)


def _forbidden(settings: Settings) -> tuple[Path, ...]:
    """Return what no file tool may touch, whatever an agent's folders are."""
    tls = settings.config.gateway.tls
    files = [tls.cert_path, tls.key_path] if tls is not None else []
    named = [Path(file).expanduser() for file in files if file]
    return (settings.state, settings.config_path, *named)


def _tool_limits(config: Config) -> ToolLimits:
    limits = config.tools.limits if config.tools is not None else None
    if limits is None:
        return ToolLimits()
    return ToolLimits(
        rounds=limits.rounds,
        calls=limits.calls_per_round,
        result_bytes=limits.result_bytes,
    )


def _freshness(session: SessionConfig) -> Callable[[str], int]:
    """Return the function from a session's key to the time before which it is stale.

    The channel's own rule replaces all others, then the kind's, then the general one,
    then the older ``idleMinutes``; without any, sessions start afresh at four.
    """

    def cutoff(session_key: str) -> int:
        chosen: Reset | None = session.reset_by_channel.get("webchat")
        if chosen is None and session.reset_by_type is not None:
            chosen = getattr(session.reset_by_type, session_kind(session_key))
        chosen = chosen or session.reset
        if chosen is None and session.idle_minutes is not None:
            policy = ResetPolicy(mode="idle", idle_minutes=session.idle_minutes)
        elif chosen is None:
            policy = ResetPolicy()
        else:
            policy = ResetPolicy(
                mode=chosen.mode or "daily",
                at_hour=chosen.at_hour,
                idle_minutes=chosen.idle_minutes,
            )
        return fresh_after_ms(policy, int(time.time() * 1000))

    return cutoff
