"""``read``, ``write`` and ``edit``: files in the agent's workspace.

Whatever touches the disk runs in a thread, through a ``Jail``.  A call that is
cancelled leaves the file as it was, or whole.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Annotated

import attrs
from msgspec import Meta

from moltbot_gw.config import Config
from moltbot_gw.interfaces import RunInThread
from moltbot_gw.tooling import Tool, ToolContext, ToolFailed, ToolParams, ToolResult
from moltbot_gw.tools.filework import edit_file, read_file, write_file
from moltbot_gw.tools.jail import Jail, Jails
from moltbot_gw.tools.paths import MAX_SHOWN_CHARS, checked_path, shown
from moltbot_gw.tools.reading import MAX_LINES
from moltbot_gw.tools.storage import Locks

_Path = Annotated[
    str, Meta(description="The file, from the workspace or from / (absolute)")
]
_Line = Annotated[int, Meta(ge=1)]

_PROBLEMS = {
    errno.ENOENT: "does not exist",
    errno.EACCES: "is not allowed to this user",
    errno.EPERM: "is not allowed to this user",
    errno.EISDIR: "is a folder",
    errno.ENOTDIR: "leads through something that is no folder",
    errno.ELOOP: "was changed meanwhile; try again",
    errno.ENAMETOOLONG: "has a name that is too long",
}


class ReadParams(ToolParams, frozen=True, kw_only=True):
    """What to read."""

    path: _Path
    offset: Annotated[_Line | None, Meta(description="First line, from 1")] = None
    limit: Annotated[_Line | None, Meta(description="Most lines")] = None


class WriteParams(ToolParams, frozen=True, kw_only=True):
    """What to write."""

    path: _Path
    content: Annotated[str, Meta(description="The whole new content")]


class EditParams(ToolParams, frozen=True, kw_only=True):
    """What to replace."""

    path: _Path
    old_text: Annotated[
        str,
        Meta(min_length=1, description="The passage as it is; only once in the file"),
    ]
    new_text: Annotated[str, Meta(description="What takes its place")]


def file_roots(config: Config, agent_id: str) -> tuple[Path, ...]:
    """Return the folders that *agent_id* may use beside its workspace.

    The agent's own list, an empty one too, replaces that of all agents.
    """
    entries = (entry.tools for entry in config.agents.list if entry.id == agent_id)
    for tools in (next(entries, None), config.tools):
        if tools is not None and tools.fs is not None and tools.fs.roots is not None:
            return tuple(Path(root) for root in tools.fs.roots)
    return ()


def file_tools(
    *,
    roots: Callable[[str], Sequence[Path]],
    forbidden: Sequence[Path],
    home: Path,
    run_in_thread: RunInThread,
) -> tuple[Tool, ...]:
    """Return ``read``, ``write`` and ``edit``.

    *roots* gives an agent's folders beside its workspace.  *forbidden* are folders and
    files that are never served, unless the workspace lies in them.  ``~`` is *home*.
    """
    desk = _Desk(
        roots=roots,
        jails=Jails(forbidden),
        locks=Locks(),
        home=home,
        run_in_thread=run_in_thread,
    )
    return (
        Tool(
            name="read",
            description=(
                "Read a text file, or look at a picture (PNG, JPEG, GIF, WebP). At "
                "most 2000 lines or 50 KB come at once; go on with offset."
            ),
            params=ReadParams,
            run=desk.read,
            aliases={"file_path": "path"},
            label=_label,
        ),
        Tool(
            name="write",
            description=(
                "Write a file: make it, or replace all that is in it. Missing folders "
                "are made."
            ),
            params=WriteParams,
            run=desk.write,
            aliases={"file_path": "path"},
            label=_label,
        ),
        Tool(
            name="edit",
            description=(
                "Replace one passage of a text file. oldText must be exactly as in the "
                "file, and there only once."
            ),
            params=EditParams,
            run=desk.edit,
            aliases={
                "file_path": "path",
                "old_string": "oldText",
                "new_string": "newText",
            },
            label=_label,
        ),
    )


def _label(params: ReadParams | WriteParams | EditParams) -> str:
    return params.path[:MAX_SHOWN_CHARS]


class _Gone(Exception):
    """Nobody waits for the call any more."""


@attrs.frozen(kw_only=True)
class _Desk:
    """Does the work of the three tools in a thread."""

    roots: Callable[[str], Sequence[Path]]
    jails: Jails
    locks: Locks
    home: Path
    run_in_thread: RunInThread

    async def read(self, params: ReadParams, context: ToolContext) -> ToolResult:
        first, most = params.offset or 1, min(params.limit or MAX_LINES, MAX_LINES)
        return await self._do(
            params.path,
            context,
            lambda jail, path, check: read_file(jail, path, first, most),
        )

    async def write(self, params: WriteParams, context: ToolContext) -> ToolResult:
        data = params.content.encode("utf-8")
        return await self._do(
            params.path,
            context,
            lambda jail, path, check: write_file(jail, path, data, self.locks, check),
        )

    async def edit(self, params: EditParams, context: ToolContext) -> ToolResult:
        change = (params.old_text, params.new_text)
        return await self._do(
            params.path,
            context,
            lambda jail, path, check: edit_file(jail, path, change, self.locks, check),
        )

    async def _do(
        self,
        said: str,
        context: ToolContext,
        work: Callable[[Jail, str, Callable[[], None]], ToolResult],
    ) -> ToolResult:
        path = checked_path(said, self.home)
        gone = Event()

        def check() -> None:
            if gone.is_set():
                raise _Gone

        def job() -> ToolResult:
            # It may have waited for a thread.
            check()
            try:
                roots = self.roots(context.agent_id)
                return work(self.jails.jail(context.workspace, roots), path, check)
            except OSError as error:
                raise _problem(said, error) from None

        try:
            return await self.run_in_thread(job)
        finally:
            gone.set()


def _problem(path: str, error: OSError) -> ToolFailed:
    number = error.errno or errno.EIO
    problem = _PROBLEMS.get(number) or f"failed: {os.strerror(number)}"
    return ToolFailed(f"path: {shown(path)} {problem}.")
