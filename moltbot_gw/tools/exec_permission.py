"""Whether a command may run, and how it is started then.

What must hold: whoever speaks after the operator's configuration, be it the file of
allowed programs or the model, can take away and never give.  So each speaker's rules
are judged by themselves, and the strictest judgement counts.  Combining the words
instead was rejected: a model that asks for ``ask: always`` where the operator has said
``off`` would turn a refusal into a question.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs
from twisted.logger import Logger

from moltbot_gw.agents.allowlist import (
    Allowlist,
    Ask,
    Security,
    UnreadableAllowlist,
)
from moltbot_gw.agents.approvals import APPROVAL_SECONDS, ApprovalRequest, Approvals
from moltbot_gw.errors import QueueFull
from moltbot_gw.tooling import ToolFailed
from moltbot_gw.tools.exec_commandline import Program, allowed_path, find_program
from moltbot_gw.tools.exec_environ import find_program_changer, is_harmless
from moltbot_gw.tools.exec_settings import HOST

_log = Logger()

Judgement = Literal["allow", "ask", "deny"]
_STRICTNESS: tuple[Judgement, ...] = ("allow", "ask", "deny")


@attrs.frozen(kw_only=True)
class Speaker:
    """What one of those who may speak says; None where the operator's word holds."""

    security: Security | None = None
    ask: Ask | None = None


@attrs.frozen(kw_only=True)
class Wish:
    """A command that an agent wants to run.

    *wanted* are the variables that it sets, *search* the folders of programs; *model*
    is what the model says of the rules.
    """

    line: str
    folder: str
    wanted: Mapping[str, str]
    search: str
    agent_id: str
    session_key: str
    security: Security
    ask: Ask
    model: Speaker = Speaker()


@attrs.frozen(kw_only=True)
class Permitted:
    """How to start it: as *program* with these *words*, or by a shell if None."""

    program: str | None = None
    words: tuple[str, ...] = ()


def judge(security: Security, ask: Ask, *, is_listed: bool) -> Judgement:
    """Return what the two rules come to for a command that is listed or not."""
    if security == "deny":
        return "deny"
    if ask == "always":
        return "ask"
    if security == "full" or is_listed:
        return "allow"
    return "ask" if ask == "on-miss" else "deny"


def judge_all(
    security: Security, ask: Ask, others: Sequence[Speaker], *, is_listed: bool
) -> Judgement:
    """Return the strictest judgement of the operator's rules and those of *others*."""
    speakers = (Speaker(), *others)
    judgements = [
        judge(s.security or security, s.ask or ask, is_listed=is_listed)
        for s in speakers
    ]
    return max(judgements, key=_STRICTNESS.index)


class Permission:
    """Decides by the rules, and asks the operators where the rules say so."""

    def __init__(
        self, *, approvals: Approvals, allowlist: Allowlist, home: Path
    ) -> None:
        self._approvals = approvals
        self._allowlist = allowlist
        self._home = home

    async def check(self, wish: Wish) -> Permitted:
        """Return how to start it; raise ``ToolFailed`` if it must not run."""
        try:
            rules = await self._allowlist.rules(wish.agent_id)
        except UnreadableAllowlist as error:
            raise ToolFailed(f"exec denied: {error.message}") from None
        others = (Speaker(security=rules.security, ask=rules.ask), wish.model)
        by_list = any(
            (speaker.security or wish.security) == "allowlist"
            for speaker in (Speaker(), *others)
        )
        program = self._program(wish, by_list)
        path = None
        if program is not None:
            path = allowed_path(program, rules.patterns, self._home)
        judgement = judge_all(
            wish.security, wish.ask, others, is_listed=path is not None
        )
        if judgement == "deny":
            raise ToolFailed(_refusal(wish, others))
        if judgement == "ask":
            await self._ask(wish, program)
        if program is not None and path is not None:
            return Permitted(program=path, words=(path, *program.words[1:]))
        return Permitted()

    def _program(self, wish: Wish, by_list: bool) -> Program | None:
        """Return the program that a list may allow, or None where none may."""
        if not by_list:
            return None
        changer = find_program_changer(wish.wanted)
        if changer is not None:
            message = f"exec denied: env.{changer} is not allowed with an allowlist."
            raise ToolFailed(message)
        if not is_harmless(wish.wanted):
            return None
        return find_program(wish.line, folder=wish.folder, search=wish.search)

    async def _ask(self, wish: Wish, program: Program | None) -> None:
        request = ApprovalRequest(
            command=_shown(wish),
            cwd=wish.folder,
            host=HOST,
            security=wish.security,
            ask=wish.ask,
            agent_id=wish.agent_id,
            resolved_path=program.real if program else None,
            session_key=wish.session_key,
        )
        try:
            answer = await self._approvals.ask(request, APPROVAL_SECONDS)
        except QueueFull as error:
            raise ToolFailed(f"exec denied: {error.message}") from None
        if answer.by is None:
            message = f"nobody approved it within {APPROVAL_SECONDS:g} seconds"
            raise ToolFailed(f"exec denied: {message}.")
        if answer.decision == "deny":
            raise ToolFailed("exec denied: an operator refused this command.")
        if answer.decision == "allow-always":
            await self._list(wish, program)

    async def _list(self, wish: Wish, program: Program | None) -> None:
        """Allow the program for good, if there is one and it is one thing only."""
        path = program.lasting if program else None
        if path is None:
            _log.info(
                "a command of agent {agent} was allowed once: it is no plain call of a"
                " program that could be allowed always",
                agent=wish.agent_id,
            )
            return
        try:
            await self._allowlist.add(wish.agent_id, path, wish.line)
        except UnreadableAllowlist as error:
            # It was allowed; that this is not kept is for the operator to know.
            _log.error("{problem}", problem=error.message)


def _shown(wish: Wish) -> str:
    """Return the command with its variables, so that who decides sees all of it."""
    assignments = [f"{name}={shlex.quote(v)}" for name, v in wish.wanted.items()]
    return " ".join([*assignments, wish.line])


def _refusal(wish: Wish, others: Sequence[Speaker]) -> str:
    if "deny" in (wish.security, *(speaker.security for speaker in others)):
        return f"exec denied: host={HOST} security=deny"
    return (
        "exec denied: allowlist miss. Only plain calls of programs that the operator"
        " has listed may run, and nobody is asked (tools.exec.ask is off)."
    )
