"""An agent's workspace with its file tools, and a place beside it that is not its."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from moltbot_gw.messages import text_of
from moltbot_gw.tooling import Tool, ToolContext, ToolFailed, ToolResult
from moltbot_gw.tools.files import file_tools
from tests.devices.support import Thread, result, start

SECRET = "the-secret-of-others"


class Desk:
    """*workspace* is the agent's; *outside* is not, nor is anything beside them."""

    def __init__(
        self,
        folder: Path,
        roots: tuple[Path, ...] = (),
        forbidden: tuple[Path, ...] = (),
        thread: Thread | None = None,
    ) -> None:
        self.home = folder
        self.workspace = folder / "work"
        self.outside = folder / "outside"
        for place in (self.workspace, self.outside):
            place.mkdir(parents=True, exist_ok=True)
        self.secret = self.outside / "secret.txt"
        self.secret.write_text(SECRET)
        self.tools = {
            tool.name: tool
            for tool in file_tools(
                roots=lambda agent_id: roots if agent_id == "main" else (),
                forbidden=forbidden,
                home=folder,
                run_in_thread=thread or Thread(),
            )
        }

    def file(self, name: str, content: bytes | str = "") -> Path:
        """Make a file in the workspace."""
        path = self.workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def start(self, tool: str, agent_id: str = "main", **args: Any) -> Deferred[Any]:
        """Start a call as a model makes it."""
        found: Tool = self.tools[tool]
        params = found.parse(json.dumps(args))
        return start(found.run(params, self.context(agent_id)))

    def call(self, tool: str, **args: Any) -> ToolResult:
        """Return the result of a call, or raise ``ToolFailed``."""
        found: ToolResult = result(self.start(tool, **args))
        return found

    def text(self, tool: str, **args: Any) -> str:
        """Return what the model reads of a call's result."""
        return text_of(self.call(tool, **args).content)

    def refusal(self, tool: str, **args: Any) -> str:
        """Return why a call fails; fail if it does not."""
        try:
            found = self.call(tool, **args)
        except ToolFailed as failed:
            return failed.message
        raise AssertionError(f"{tool} did it: {found}")

    def context(self, agent_id: str = "main") -> ToolContext:
        return ToolContext(
            run_id="r",
            agent_id=agent_id,
            session_key="agent:main:main",
            session_id="s",
            model="echo/echo",
            workspace=self.workspace,
            call_id="c",
            update=lambda text: None,
        )

    def attempts(self, path: str) -> list[Callable[[], ToolResult]]:
        """Return a read, a write and an edit of *path*."""
        edit = {"oldText": SECRET, "newText": "changed"}
        return [
            lambda: self.call("read", path=path),
            lambda: self.call("write", path=path, content="written"),
            lambda: self.call("edit", path=path, **edit),
        ]

    def others(self) -> dict[str, Any]:
        """Return all that is beside the workspace, to compare."""
        found: dict[str, Any] = {}
        for path in sorted(self.home.rglob("*")):
            if self.workspace in path.parents:
                continue
            info = path.lstat()
            content = path.read_bytes() if path.is_file() else path.is_symlink()
            found[str(path)] = (content, info.st_mode, info.st_ino)
        return found
