"""``exec.approval.*`` and ``exec.approvals.*``: who decides what agents may run.

Source: upstream ``src/gateway/server-methods/exec-approval.ts`` and
``exec-approvals.ts``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta

from moltbot_gw.agents.allowlist import Allowlist, Snapshot
from moltbot_gw.agents.approvals import (
    APPROVAL_SECONDS,
    Answer,
    ApprovalRequest,
    Approvals,
    Decision,
    Question,
)
from moltbot_gw.ws.calls import Call, Caller, Method, NoParams, Params, Right, invalid
from moltbot_gw.ws.hub import Hub, Member
from moltbot_gw.ws.shield import to_the_end

MAX_WAIT_MS = 3_600_000

_RIGHT: Right = "approvals"
_REQUESTED, _RESOLVED = "exec.approval.requested", "exec.approval.resolved"

Id = Annotated[str, Meta(min_length=1, max_length=200)]
Command = Annotated[str, Meta(min_length=1, max_length=100_000)]
Word = Annotated[str, Meta(max_length=4096)]


class RequestParams(Params, frozen=True, kw_only=True):
    """What a client wants to be asked for it."""

    command: Command
    id: Id | None = None
    cwd: Word | None = None
    host: Word | None = None
    security: Word | None = None
    ask: Word | None = None
    agent_id: Word | None = None
    resolved_path: Word | None = None
    session_key: Word | None = None
    timeout_ms: Annotated[int, Meta(ge=1, le=MAX_WAIT_MS)] | None = None


class ResolveParams(Params, frozen=True, kw_only=True):
    """An answer."""

    id: Id
    decision: Decision


class SetParams(Params, frozen=True, kw_only=True):
    """The whole file, and the hash of the one that it replaces."""

    file: Any
    base_hash: str | None = None


class ApprovalMethods:
    """Tells questions to those who may answer them, and takes their answers.

    The rules for agents are a file that only admins see.
    """

    def __init__(
        self,
        *,
        approvals: Approvals,
        allowlist: Allowlist,
        hub: Hub,
        unix_time: Callable[[], float],
    ) -> None:
        self._approvals = approvals
        self._allowlist = allowlist
        self._hub = hub
        self._unix_time = unix_time
        approvals.observe(self._requested, self._resolved)
        hub.on_joined = self._joined

    def methods(self) -> list[Method]:
        """Return the methods of this module."""
        return [
            Method("exec.approvals.get", "admin", NoParams, self.get),
            Method("exec.approvals.set", "admin", SetParams, self.set),
            Method(
                "exec.approval.request",
                "approvals",
                RequestParams,
                self.request,
                waits=True,
            ),
            Method("exec.approval.resolve", "approvals", ResolveParams, self.resolve),
        ]

    async def get(self, call: Call, params: NoParams) -> Any:
        """Show the file."""
        return _shown(await self._allowlist.snapshot())

    async def set(self, call: Call, params: SetParams) -> Any:
        """Replace the file."""
        work = self._allowlist.replace(params.file, params.base_hash)
        return _shown(await to_the_end(work))

    async def request(self, call: Call, params: RequestParams) -> Any:
        """Ask for somebody else; ``decision`` is null when nobody has decided."""
        seconds = APPROVAL_SECONDS
        if params.timeout_ms is not None:
            seconds = params.timeout_ms / 1000
        created_at_ms = int(self._unix_time() * 1000)
        answer = await self._approvals.ask(
            ApprovalRequest(
                command=params.command,
                cwd=params.cwd,
                host=params.host,
                security=params.security,
                ask=params.ask,
                agent_id=params.agent_id,
                resolved_path=params.resolved_path,
                session_key=params.session_key,
            ),
            seconds,
            params.id,
        )
        return {
            "id": answer.id,
            "decision": None if answer.by is None else answer.decision,
            "createdAtMs": created_at_ms,
            "expiresAtMs": created_at_ms + int(seconds * 1000),
        }

    async def resolve(self, call: Call, params: ResolveParams) -> Any:
        """Answer a question."""
        by = _name_of(call.caller)
        if not self._approvals.resolve(params.id, params.decision, by):
            raise invalid("unknown approval id")
        return {"ok": True}

    def _requested(self, question: Question) -> None:
        key = _key(_REQUESTED, question.id)
        self._hub.broadcast(_REQUESTED, _asked(question), key=key, right=_RIGHT)

    def _resolved(self, answer: Answer) -> None:
        payload = {
            "id": answer.id,
            "decision": answer.decision,
            "resolvedBy": answer.by,
            "ts": answer.at_ms,
        }
        key = _key(_RESOLVED, answer.id)
        self._hub.broadcast(_RESOLVED, payload, key=key, right=_RIGHT)

    def _joined(self, member: Member) -> None:
        """Tell a newcomer what waits: he may have come because of it."""
        for question in self._approvals.waiting:
            key, asked = _key(_REQUESTED, question.id), _asked(question)
            self._hub.tell(member, _REQUESTED, asked, key=key, right=_RIGHT)


def _key(name: str, id: str) -> str:
    return f"{name}:{id}"


def _asked(question: Question) -> dict[str, Any]:
    request = question.request
    return {
        "id": question.id,
        "request": {
            "command": request.command,
            "cwd": request.cwd,
            "host": request.host,
            "security": request.security,
            "ask": request.ask,
            "agentId": request.agent_id,
            "resolvedPath": request.resolved_path,
            "sessionKey": request.session_key,
        },
        "createdAtMs": question.created_at_ms,
        "expiresAtMs": question.expires_at_ms,
    }


def _shown(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "path": str(snapshot.path),
        "exists": snapshot.exists,
        "hash": snapshot.hash,
        "file": snapshot.shown,
    }


def _name_of(caller: Caller) -> str:
    return caller.client.display_name or caller.client.id
