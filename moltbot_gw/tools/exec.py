"""The tool ``exec``: runs a command on the gateway's host, if it may.

Source: upstream ``src/agents/bash-tools.exec.ts``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import attrs
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.logger import Logger

from moltbot_gw.agents.allowlist import Allowlist, Ask, Security
from moltbot_gw.agents.approvals import Approvals
from moltbot_gw.config import Config
from moltbot_gw.tooling import Tool, ToolContext, ToolFailed, ToolResult
from moltbot_gw.tools.exec_environ import base_environ, check_environ, check_text
from moltbot_gw.tools.exec_params import ExecParams
from moltbot_gw.tools.exec_permission import Permission, Permitted, Speaker, Wish
from moltbot_gw.tools.exec_results import (
    TAIL_CHARS,
    Updates,
    finished,
    news,
    still_running,
)
from moltbot_gw.tools.exec_settings import (
    HOST,
    ExecSettings,
    exec_settings,
    foreground_seconds,
)
from moltbot_gw.tools.process import process_tool
from moltbot_gw.tools.process_sessions import Session, Sessions
from moltbot_gw.tools.process_spawn import Launch

_log = Logger()

_SHELLS = ("bash", "sh", "zsh", "dash", "ksh", "ash")
"""Others, such as fish or nologin, read no such commands."""


@attrs.frozen(kw_only=True, eq=False)
class ExecTools:
    """The tools ``exec`` and ``process``, and the end of all that they have started."""

    tools: tuple[Tool, ...]
    _sessions: Sessions

    async def close(self) -> None:
        """End every command, and start none any more; return when all are gone."""
        await self._sessions.close()


def exec_tools(
    *,
    config: Callable[[], Config],
    approvals: Approvals,
    allowlist: Allowlist,
    environ: Callable[[], Mapping[str, str]],
    home: Path,
    reactor: Any,
    unix_time: Callable[[], float],
    tell: Callable[[str, str], None],
) -> ExecTools:
    """Return the two tools.

    *config* returns the configuration in force, *environ* the gateway's own
    environment, of which commands get what is not secret; *home* is the user's folder.
    *tell* gets a session's key (the store's) and
    one line whenever a command ends that nobody waits for.
    """

    def on_exit(session: Session) -> None:
        if exec_settings(config(), session.agent_id).notifies:
            tell(session.session_key, news(session))

    sessions = Sessions(reactor=reactor, unix_time=unix_time, on_exit=on_exit)
    runner = Exec(
        settings=lambda agent_id: exec_settings(config(), agent_id),
        permission=Permission(approvals=approvals, allowlist=allowlist, home=home),
        sessions=sessions,
        environ=environ,
        home=home,
        reactor=reactor,
    )
    return ExecTools(tools=(runner.tool(), process_tool(sessions)), sessions=sessions)


class Exec:
    """Runs commands; the settings of an agent are looked up for each."""

    def __init__(
        self,
        *,
        settings: Callable[[str], ExecSettings],
        permission: Permission,
        sessions: Sessions,
        environ: Callable[[], Mapping[str, str]],
        home: Path,
        reactor: Any,
    ) -> None:
        self._settings = settings
        self._permission = permission
        self._sessions = sessions
        self._environ = environ
        self._home = home
        self._reactor = reactor

    def tool(self) -> Tool:
        """Return the tool."""
        return Tool(
            name="exec",
            description=(
                "Run a shell command. One that takes longer than yieldMs goes on in the"
                " background: follow it with the process tool. Use pty for commands"
                " that need a terminal or input."
            ),
            params=ExecParams,
            run=self.run,
            aliases={"cwd": "workdir"},
            label=lambda params: params.command,
        )

    async def run(self, params: ExecParams, context: ToolContext) -> ToolResult:
        """Run a command; cancelling ends it, unless it is in the background."""
        settings = self._settings(context.agent_id)
        _check_host(params.host, context.exec_host or settings.host)
        check_text("command", params.command)
        check_environ(params.env)
        folder = self._folder(params, context)
        environ = base_environ(
            self._environ(), passed=settings.passed, prepend=settings.prepend
        )
        permitted = await self._permission.check(
            Wish(
                line=params.command,
                folder=folder,
                wanted=params.env,
                search=environ["PATH"],
                agent_id=context.agent_id,
                session_key=context.session_key,
                security=cast(Security, context.exec_security or settings.security),
                ask=cast(Ask, context.exec_ask or settings.ask),
                model=Speaker(security=params.security, ask=params.ask),
            )
        )
        session = self._sessions.start(
            self._launch(params, permitted, folder, {**environ, **params.env}),
            text=params.command,
            agent_id=context.agent_id,
            session_key=context.session_key,
            timeout=params.timeout or settings.timeout,
            keep_seconds=settings.keep,
        )
        _log.info(
            "run {run_id}: command {id} has process {pid}",
            run_id=context.run_id,
            id=session.id,
            pid=session.command.pid,
        )
        return await self._follow(session, params, settings, context)

    async def _follow(
        self,
        session: Session,
        params: ExecParams,
        settings: ExecSettings,
        context: ToolContext,
    ) -> ToolResult:
        if not params.background:
            seconds = settings.foreground
            if params.yield_ms is not None:
                seconds = foreground_seconds(params.yield_ms)
            await self._wait(session, seconds, context)
        if session.command.has_ended:
            self._sessions.remove(session)
            return finished(session, self._sessions.seconds_of(session))
        session.is_backgrounded = True
        session.read = session.command.output.total
        return still_running(session)

    async def _wait(
        self, session: Session, seconds: float, context: ToolContext
    ) -> None:
        """Wait until the command has ended, or the time is over."""
        command = session.command
        updates = Updates(self._reactor, lambda: command.output.tail(TAIL_CHARS))
        command.on_output = lambda: updates.due(context.update)
        try:
            await command.when_ended().addTimeout(seconds, self._reactor)
        except DeferredTimeout:
            return
        except CancelledError:
            command.kill()
            await command.when_ended()
            self._sessions.remove(session)
            raise
        finally:
            command.on_output = lambda: None
            updates.stop()

    def _folder(self, params: ExecParams, context: ToolContext) -> str:
        wanted = params.workdir or "."
        check_text("workdir", wanted)
        if wanted == "~" or wanted.startswith("~/"):
            wanted = f"{self._home}{wanted[1:]}"
        folder = os.path.normpath(os.path.join(context.workspace, wanted))
        if params.workdir is None:
            # Where nobody makes its first files, the workspace may not be there yet.
            with suppress(OSError):
                os.makedirs(folder, mode=0o700, exist_ok=True)
        if not os.path.isdir(folder):
            raise ToolFailed(f"workdir: there is no folder {folder}")
        return folder

    def _launch(
        self,
        params: ExecParams,
        permitted: Permitted,
        folder: str,
        environ: dict[str, str],
    ) -> Launch:
        program, words = permitted.program, permitted.words
        if program is None:
            program = _shell(self._environ())
            words = (os.path.basename(program), "-c", params.command)
        if params.pty:
            environ.setdefault("TERM", "xterm-256color")
        return Launch(
            program=program, argv=words, environ=environ, folder=folder, pty=params.pty
        )


def _check_host(asked: str | None, configured: str) -> None:
    if configured != HOST:
        message = (
            f"exec host not available: {configured}; commands run on the gateway's"
        )
        raise ToolFailed(f"{message} host only (tools.exec.host=gateway).")
    if asked is not None and asked != HOST:
        raise ToolFailed(
            f"exec host not allowed (requested {asked}; this gateway runs commands only"
            " on its own host: leave host out)."
        )


def _shell(environ: Mapping[str, str]) -> str:
    usual = environ.get("SHELL", "")
    if os.path.basename(usual) in _SHELLS and os.access(usual, os.X_OK):
        return usual
    return shutil.which("bash") or "/bin/sh"
