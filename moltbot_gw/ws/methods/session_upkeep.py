"""``sessions.reset``, ``sessions.delete`` and ``sessions.compact``.

Source: upstream ``src/gateway/server-methods/sessions.ts``.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, TimeoutError

from moltbot_gw.agents.ids import new_uuid
from moltbot_gw.errors import RunAborted
from moltbot_gw.ws.calls import Call, Params, Result, invalid, unavailable
from moltbot_gw.ws.methods.loose import Positive, Text1
from moltbot_gw.ws.methods.session_tools import SessionTools
from moltbot_gw.ws.rows import Entry

END_SECONDS = 15.0
"""How long a deletion waits for the runs that it cuts off."""

MAX_KEEP = 1_000_000


class ResetParams(Params, frozen=True, kw_only=True):
    """Which session."""

    key: Text1


class DeleteParams(Params, frozen=True, kw_only=True):
    """Which session; its transcripts go with it."""

    key: Text1
    delete_transcript: bool = True


class CompactParams(Params, frozen=True, kw_only=True):
    """Which session, and how many of its messages stay."""

    key: Text1
    max_lines: Positive = 400


class ResetResult(Result, frozen=True, kw_only=True):
    """The session as it goes on."""

    ok: bool
    key: str
    entry: Entry


class DeleteResult(Result, frozen=True, kw_only=True):
    """Whether there was such a session; *archived* is always empty."""

    ok: bool
    key: str
    deleted: bool
    archived: tuple[str, ...]


class CompactResult(Result, frozen=True, kw_only=True):
    """What has become of a session; *archived* is the id that has all messages."""

    ok: bool
    key: str
    compacted: bool
    reason: str | None = None
    archived: str | None = None
    kept: int | None = None


class SessionUpkeep:
    """The handlers."""

    def __init__(self, tools: SessionTools) -> None:
        self._tools = tools

    async def reset(self, call: Call, params: ResetParams) -> ResetResult:
        """Let a session begin afresh; what was said is kept."""
        tools = self._tools
        key = tools.key("sessions.reset", params.key)
        if await tools.store.reset(key, new_uuid(), tools.now_ms()):
            summary = await tools.store.find_session(key)
        else:
            summary = None
        if summary is None:
            # Nothing to begin anew, or deleted just now: begin.
            target = tools.targets.find("sessions.reset", params.key)
            summary = await tools.store.patch(
                key,
                {},
                agent_id=target.agent_id,
                new_session_id=new_uuid(),
                now_ms=tools.now_ms(),
            )
        return ResetResult(ok=True, key=key, entry=tools.entry(summary))

    async def delete(self, call: Call, params: DeleteParams) -> DeleteResult:
        """Delete a session and what was said in it."""
        tools = self._tools
        key = tools.key("sessions.delete", params.key)
        if key == tools.targets.main_key():
            raise invalid(f"Cannot delete the main session ({key}).")
        if not params.delete_transcript:
            raise invalid("sessions.delete: transcripts are not kept without a session")
        await self._end_runs(key)
        deleted = await tools.store.delete(key)
        return DeleteResult(ok=True, key=key, deleted=deleted, archived=())

    async def compact(self, call: Call, params: CompactParams) -> CompactResult:
        """Keep the end of a session; the rest stays under its older id."""
        tools = self._tools
        key = tools.key("sessions.compact", params.key)
        done = await tools.store.compact(
            key, min(params.max_lines, MAX_KEEP), new_uuid(), tools.now_ms()
        )
        if done is None:
            return CompactResult(
                ok=True, key=key, compacted=False, reason="no sessionId"
            )
        return CompactResult(
            ok=True,
            key=key,
            compacted=done.archived is not None,
            archived=done.archived,
            kept=done.kept,
        )

    async def _end_runs(self, key: str) -> None:
        """Cut off the runs of a session and wait until they have stored their end."""
        tools = self._tools
        deadline = tools.clock.seconds() + END_SECONDS
        while True:
            # One that has just ended may still be listed.
            runs = [run for run in tools.agents.runs_of(key) if run.outcome is None]
            if not runs:
                return
            for run in runs:
                run.cancel(RunAborted("The session was deleted.", stop_reason="rpc"))
            left = max(0.0, deadline - tools.clock.seconds())
            ended: Deferred[Any] = runs[0].when_ended()
            try:
                await ended.addTimeout(left, tools.clock)
            except TimeoutError:
                raise unavailable(
                    f"Session {key} is still active; try again in a moment."
                ) from None
