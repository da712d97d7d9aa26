"""``exec-approvals.json``: the programs that agents may start without asking.

The file is the original's: rules for all agents in ``defaults``, each agent's own
beside its list of programs, ``*`` among the agents for all of them.  What it holds
beyond that (when an entry was last used) is kept as it is and not looked at; ``socket``
has a secret of the original's desktop application, so it is kept and never shown.
Apart from the programs that it lists, the file only makes the configuration's rules
stricter.

Source: upstream ``src/infra/exec-approvals.ts``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import msgspec
from twisted.internet.defer import Deferred

from moltbot_gw import privatefile
from moltbot_gw.agents.ids import new_uuid
from moltbot_gw.errors import InternalError, InvalidRequest

MAX_BYTES = 1024 * 1024
MAX_PATTERNS = 1000
"""How many programs of one agent are kept when operators add more."""

Security = Literal["deny", "allowlist", "full"]
Ask = Literal["off", "on-miss", "always"]

ALL_AGENTS = "*"


class UnreadableAllowlist(InternalError):
    """The file is there, and nobody knows what it says."""


class _Entry(msgspec.Struct, frozen=True):
    pattern: str


class _Rules(msgspec.Struct, frozen=True):
    security: Security | None = None
    ask: Ask | None = None


class _AgentRules(_Rules, frozen=True):
    allowlist: tuple[_Entry, ...] = ()


class _File(msgspec.Struct, frozen=True):
    version: Literal[1]
    defaults: _Rules | None = None
    agents: dict[str, _AgentRules] | None = None


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says of one agent; None where it says nothing.

    *patterns* are paths of programs; ``*`` and ``?`` stay in one folder, ``**`` do not.
    """

    patterns: tuple[str, ...] = ()
    security: Security | None = None
    ask: Ask | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The file as it is now; *hash* is that of its bytes, of none without a file.

    *file* is its JSON value, secret and all; *shown* is what others may see.
    """

    path: Path
    exists: bool
    hash: str
    file: Any

    @property
    def shown(self) -> Any:
        """The file's value without what is secret."""
        return {key: value for key, value in self.file.items() if key != _SECRET}


class Allowlist:
    """Reads and writes the file at *path*, always in a thread.

    It is read anew each time, so that an edit by hand counts at once.
    """

    def __init__(
        self,
        path: Path,
        *,
        unix_time: Callable[[], float],
        run_in_thread: Callable[[Callable[[], Any]], Deferred[Any]],
    ) -> None:
        self._path = path
        self._unix_time = unix_time
        self._run_in_thread = run_in_thread
        # Held in threads only: whoever asked may be gone before an edit has ended.
        self._writing = Lock()

    async def snapshot(self) -> Snapshot:
        """Return the file; raise ``UnreadableAllowlist``."""
        found: Snapshot = await self._run_in_thread(self._read)
        return found

    async def rules(self, agent_id: str) -> Rules:
        """Return what holds for an agent; raise ``UnreadableAllowlist``."""
        return _rules_of((await self.snapshot()).file, agent_id)

    async def replace(self, file: Any, base_hash: str | None) -> Snapshot:
        """Write *file*, a JSON value, if the old one is still that of *base_hash*.

        Raises ``InvalidRequest`` if it is not, or if *file* makes no sense.
        """
        return await self._edit(lambda old: _replaced(old, file, base_hash))

    async def add(self, agent_id: str, pattern: str, command: str) -> None:
        """Let an agent start *pattern* from now on; *command* is kept beside it."""
        entry = {
            "id": new_uuid(),
            "pattern": pattern,
            "lastUsedAt": int(self._unix_time() * 1000),
            "lastUsedCommand": command,
        }
        await self._edit(lambda old: _added(old.file, agent_id, entry))

    async def _edit(self, change: Callable[[Snapshot], Any]) -> Snapshot:
        def work() -> Snapshot:
            with self._writing:
                data = _encode(change(self._read()))
                try:
                    privatefile.write(self._path, data)
                except OSError as error:
                    raise self._unusable("written", error) from error
                return self._read()

        edited: Snapshot = await self._run_in_thread(work)
        return edited

    def _read(self) -> Snapshot:
        try:
            data = privatefile.read(self._path, MAX_BYTES)
            file = _EMPTY if data is None else _decode(data)
        except (OSError, ValueError, RecursionError) as error:
            raise self._unusable("read", error) from error
        return Snapshot(
            path=self._path,
            exists=data is not None,
            hash=sha256(data or b"").hexdigest(),
            file=file,
        )

    def _unusable(self, verb: str, error: Exception) -> UnreadableAllowlist:
        why = error.strerror if isinstance(error, OSError) else "it makes no sense"
        return UnreadableAllowlist(f"{self._path.name} cannot be {verb}: {why}")


_SECRET = "socket"  # noqa: S105  (a key's name)
_EMPTY: dict[str, Any] = {"version": 1, "agents": {}}


def _decode(data: bytes) -> Any:
    """Return the JSON value of a file; raise ``ValueError`` if it is none of ours."""
    tree = json.loads(data)
    msgspec.convert(tree, _File)
    return tree


def _encode(tree: Any) -> bytes:
    data = json.dumps(tree, indent=2, ensure_ascii=False).encode() + b"\n"
    if len(data) >= MAX_BYTES:
        raise InvalidRequest("exec approvals are too large")
    return data


def _rules_of(tree: Any, agent_id: str) -> Rules:
    file = msgspec.convert(tree, _File)
    agents = file.agents or {}
    own, common = agents.get(agent_id), agents.get(ALL_AGENTS)
    chain = [rules for rules in (own, common, file.defaults) if rules is not None]
    return Rules(
        patterns=tuple(
            entry.pattern
            for rules in (own, common)
            if rules is not None
            for entry in rules.allowlist
        ),
        security=next((r.security for r in chain if r.security), None),
        ask=next((r.ask for r in chain if r.ask), None),
    )


def _replaced(old: Snapshot, file: Any, base_hash: str | None) -> Any:
    if old.exists and base_hash is None:
        raise InvalidRequest(
            "exec approvals base hash required; re-run exec.approvals.get and retry"
        )
    if old.exists and base_hash != old.hash:
        raise InvalidRequest(
            "exec approvals changed since last load;"
            " re-run exec.approvals.get and retry"
        )
    try:
        msgspec.convert(file, _File)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"invalid exec approvals: {error}") from None
    kept = {_SECRET: old.file[_SECRET]} if _SECRET in old.file else {}
    return {**file, **kept}


def _added(tree: Any, agent_id: str, entry: dict[str, Any]) -> Any:
    """Return *tree* with *entry*, of which the agent has none yet, at the end."""
    agents = tree.get("agents") or {}
    agent = agents.get(agent_id, {})
    old = [e for e in agent.get("allowlist", ()) if e["pattern"] != entry["pattern"]]
    kept = [*old, entry][-MAX_PATTERNS:]
    return {
        **tree,
        "agents": {**agents, agent_id: {**agent, "allowlist": kept}},
    }
