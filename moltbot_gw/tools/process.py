"""The tool ``process``: follows the commands that went on in the background.

Source: upstream ``src/agents/bash-tools.process.ts``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from msgspec import Meta

from moltbot_gw.tooling import Tool, ToolContext, ToolFailed, ToolParams, ToolResult
from moltbot_gw.tools.process_keys import (
    END_OF_INPUT,
    PASTE_END,
    PASTE_START,
    RETURN,
    encode_hex,
    encode_keys,
)
from moltbot_gw.tools.process_sessions import Session, Sessions

LOG_LINES = 200
"""How many lines ``log`` shows unless it is asked for others."""

MAX_INPUT_CHARS = 64 * 1024
_NAME_CHARS = 80

Input = Annotated[str, Meta(max_length=MAX_INPUT_CHARS)]
Inputs = Annotated[
    tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=1024)
]


class ProcessParams(ToolParams, frozen=True, kw_only=True):
    """The parameters of ``process``."""

    action: Annotated[
        Literal[
            "list",
            "poll",
            "log",
            "write",
            "send-keys",
            "submit",
            "paste",
            "kill",
            "clear",
            "remove",
        ],
        Meta(description="What to do"),
    ]
    session_id: Annotated[
        str | None, Meta(description="Session id, for all actions but list")
    ] = None
    data: Annotated[Input, Meta(description="Text for write")] = ""
    keys: Annotated[Inputs, Meta(description="Names of keys for send-keys")] = ()
    hex: Annotated[Inputs, Meta(description="Bytes for send-keys, such as 1b")] = ()
    literal: Annotated[Input, Meta(description="Text for send-keys")] = ""
    text: Annotated[Input, Meta(description="Text for paste")] = ""
    bracketed: Annotated[
        bool, Meta(description="Mark what is pasted as such (default: true)")
    ] = True
    eof: Annotated[bool, Meta(description="End the input after write")] = False
    offset: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="First line for log, counted from 0"),
    ] = None
    limit: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="How many lines for log")
    ] = None


def process_tool(sessions: Sessions) -> Tool:
    """Return the tool for *sessions*."""
    return Tool(
        name="process",
        description=(
            "Follow commands that exec left in the background: list, poll (new"
            " output), log (lines), write, send-keys, submit, paste (input of a command"
            " with pty), kill, clear, remove."
        ),
        params=ProcessParams,
        run=Process(sessions).run,
        label=lambda params: params.action,
    )


class Process:
    """Looks at the commands of the agent that calls, and of no other."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._actions: dict[
            str, Callable[[Session, ProcessParams], Awaitable[ToolResult]]
        ] = {
            "poll": self._poll,
            "log": self._log,
            "write": self._write,
            "send-keys": self._send_keys,
            "submit": self._submit,
            "paste": self._paste,
            "kill": self._kill,
            "clear": self._clear,
            "remove": self._remove,
        }

    async def run(self, params: ProcessParams, context: ToolContext) -> ToolResult:
        """Do one action."""
        if params.action == "list":
            return self._list(context.agent_id)
        if not params.session_id:
            return _failed("sessionId is required for this action.")
        session = self._sessions.find(context.agent_id, params.session_id)
        if session is None:
            return _failed(f"No session found for {params.session_id[:_NAME_CHARS]}")
        if not session.is_backgrounded:
            return _failed(f"Session {session.id} is not backgrounded.")
        return await self._actions[params.action](session, params)

    def _list(self, agent_id: str) -> ToolResult:
        found = [s for s in self._sessions.of_agent(agent_id) if s.is_backgrounded]
        rows = [
            f"{s.id} {s.status:<9} {_duration(self._sessions.seconds_of(s)):>6} ::"
            f" {_name(s)}"
            for s in found
        ]
        return ToolResult(
            content="\n".join(rows) or "No running or recent sessions.",
            details={"status": "completed", "sessions": [self._row(s) for s in found]},
        )

    def _row(self, session: Session) -> dict[str, Any]:
        return {
            "sessionId": session.id,
            "status": session.status,
            "pid": session.command.pid,
            "startedAt": session.started_at_ms,
            "runtimeMs": int(self._sessions.seconds_of(session) * 1000),
            "cwd": session.folder,
            "command": session.text,
            "exitCode": session.command.exit_code,
        }

    async def _poll(self, session: Session, params: ProcessParams) -> ToolResult:
        output = session.command.output
        new = output.since(session.read).strip("\r\n")
        session.read = output.total
        state = "still running" if session.status == "running" else session.ending
        return ToolResult(
            content=f"{new or '(no new output)'}\n\nProcess {state}.",
            details={
                **self._row(session),
                "aggregated": output.text,
                "name": _name(session),
            },
        )

    async def _log(self, session: Session, params: ProcessParams) -> ToolResult:
        lines = session.command.output.text.split("\n")
        if lines[-1] == "":
            lines.pop()
        limit = params.limit or LOG_LINES
        start = max(len(lines) - limit, 0) if params.offset is None else params.offset
        shown = "\n".join(line.rstrip("\r") for line in lines[start : start + limit])
        return ToolResult(
            content=shown or "(no output)",
            details={**self._row(session), "totalLines": len(lines)},
        )

    async def _write(self, session: Session, params: ProcessParams) -> ToolResult:
        end = END_OF_INPUT if params.eof else ""
        size = _type(session, f"{params.data}{end}".encode())
        closed = " (end of input)" if params.eof else ""
        return self._done(
            session, f"Wrote {size} bytes to session {session.id}{closed}."
        )

    async def _send_keys(self, session: Session, params: ProcessParams) -> ToolResult:
        data = params.literal.encode() + encode_hex(params.hex)
        data += encode_keys(params.keys).encode()
        if not data:
            return _failed("send-keys needs keys, hex or literal.")
        size = _type(session, data)
        return self._done(session, f"Sent {size} bytes to session {session.id}.")

    async def _submit(self, session: Session, params: ProcessParams) -> ToolResult:
        _type(session, RETURN.encode())
        return self._done(session, f"Submitted session {session.id} (sent CR).")

    async def _paste(self, session: Session, params: ProcessParams) -> ToolResult:
        if not params.text:
            return _failed("paste needs text.")
        # The mark of the end, pasted, would end the paste and begin to type.
        text = params.text.replace(PASTE_END, "")
        if params.bracketed:
            text = f"{PASTE_START}{text}{PASTE_END}"
        _type(session, text.encode())
        count = len(params.text)
        return self._done(session, f"Pasted {count} chars to session {session.id}.")

    async def _kill(self, session: Session, params: ProcessParams) -> ToolResult:
        if session.status != "running":
            return _failed(f"Session {session.id} is not running.")
        session.command.kill()
        await session.command.when_ended()
        return self._done(session, f"Killed session {session.id}.")

    async def _clear(self, session: Session, params: ProcessParams) -> ToolResult:
        if session.status == "running":
            return _failed(f"Session {session.id} is still running.")
        self._sessions.remove(session)
        return self._done(session, f"Cleared session {session.id}.")

    async def _remove(self, session: Session, params: ProcessParams) -> ToolResult:
        if session.status == "running":
            session.command.kill()
            await session.command.when_ended()
        self._sessions.remove(session)
        return self._done(session, f"Removed session {session.id}.")

    def _done(self, session: Session, text: str) -> ToolResult:
        return ToolResult(content=text, details=self._row(session))


def _type(session: Session, data: bytes) -> int:
    """Type *data* for the command; return how many bytes that were."""
    if session.status != "running":
        raise ToolFailed(f"Session {session.id} has ended and takes no input.")
    if not session.command.has_input:
        raise ToolFailed(
            f"Session {session.id} has no input; start the command with pty: true."
        )
    if session.command.is_full:
        raise ToolFailed(
            f"Session {session.id} does not read what was typed before; poll it."
        )
    session.command.write(data)
    return len(data)


def _failed(text: str) -> ToolResult:
    return ToolResult(content=text, details={"status": "failed"})


def _name(session: Session) -> str:
    line = " ".join(session.text.split())
    return line if len(line) <= _NAME_CHARS else f"{line[: _NAME_CHARS - 1]}…"


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    return f"{whole // 60}m{whole % 60:02}s"
