"""Agents that run real commands, under rules that a test sets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from moltbot_gw.agents.allowlist import Allowlist
from moltbot_gw.agents.approvals import Approvals, Decision, Question
from moltbot_gw.config import Config, decode_hook
from moltbot_gw.tooling import Tool, ToolContext, ToolResult
from moltbot_gw.tools.exec import ExecTools, exec_tools
from tests.integration.waiting import reactor, start

FULL = {"security": "full"}


class SlowTime(Clock):
    """Time that a test moves, over real processes."""

    spawnProcess = reactor.spawnProcess


class Shop:
    """The two tools, in *folder*; *rules* are the configuration's ``tools.exec``."""

    def __init__(
        self,
        folder: Path,
        rules: Mapping[str, Any],
        *,
        environ: Mapping[str, str] | None = None,
        agents: Any = (),
        clock: Any = reactor,
        max_waiting: int = 2,
    ) -> None:
        self.workspace = folder / "workspace"
        self.workspace.mkdir()
        self.allowlist_file = folder / "state" / "exec-approvals.json"
        self.told: list[tuple[str, str]] = []
        self.updates: list[str] = []
        self.asked: list[Question] = []
        self.approvals = Approvals(
            clock=clock, unix_time=lambda: 1000.0, max_waiting=max_waiting
        )
        self.approvals.observe(self.asked.append, lambda answer: None)
        tree = {"tools": {"exec": dict(rules)}, "agents": {"list": list(agents)}}
        self.built: ExecTools = exec_tools(
            config=lambda: msgspec.convert(tree, Config, dec_hook=decode_hook),
            approvals=self.approvals,
            allowlist=Allowlist(
                self.allowlist_file,
                unix_time=lambda: 1000.0,
                run_in_thread=maybeDeferred,
            ),
            environ=lambda: {"PATH": "/usr/bin:/bin"} if environ is None else environ,
            home=folder,
            reactor=clock,
            unix_time=lambda: 1000.0,
            tell=lambda key, text: self.told.append((key, text)),
        )

    def tool(self, name: str) -> Tool:
        (found,) = [tool for tool in self.built.tools if tool.name == name]
        return found

    def context(self, **changes: Any) -> ToolContext:
        usual: dict[str, Any] = {
            "run_id": "run-1",
            "agent_id": "main",
            "session_key": "agent:main:main",
            "session_id": "session-1",
            "model": "echo/echo",
            "workspace": self.workspace,
            "call_id": "call-1",
            "update": self.updates.append,
        }
        return ToolContext(**{**usual, **changes})

    async def call(
        self, name: str, context: ToolContext | None = None, **params: Any
    ) -> ToolResult:
        """Call a tool with the parameters' names on the wire."""
        tool = self.tool(name)
        parsed = tool.parse(json.dumps(params))
        return await tool.run(parsed, context or self.context())

    async def exec(self, command: str, **params: Any) -> str:
        """Run a command; return what the model reads."""
        result = await self.call("exec", command=command, **params)
        assert isinstance(result.content, str)
        return result.content

    def begin(self, command: str, **params: Any) -> Deferred[ToolResult]:
        """Run a command beside the test."""
        return start(self.call("exec", command=command, **params))

    async def background(self, command: str, **params: Any) -> str:
        """Start a command in the background; return its session's id."""
        result = await self.call("exec", command=command, background=True, **params)
        assert result.details is not None
        assert result.details["status"] == "running"
        session_id: str = result.details["sessionId"]
        return session_id

    async def process(self, action: str, session_id: str, **params: Any) -> str:
        """Call ``process``; return what the model reads."""
        found = await self.call(
            "process", action=action, sessionId=session_id, **params
        )
        assert isinstance(found.content, str)
        return found.content

    def list_programs(self, *patterns: str, **rules: Any) -> None:
        """Let the agent ``main`` start the programs of *patterns*."""
        entries = [{"pattern": pattern} for pattern in patterns]
        file = {"version": 1, "agents": {"main": {"allowlist": entries, **rules}}}
        self.allowlist_file.parent.mkdir(exist_ok=True)
        self.allowlist_file.write_text(json.dumps(file))

    def answer(self, decision: Decision) -> None:
        """Answer the newest question."""
        assert self.approvals.resolve(self.asked[-1].id, decision, "Ada")


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
