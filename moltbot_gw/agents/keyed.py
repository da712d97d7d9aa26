"""Requests with an idempotency key: run once, joined while running, replayed after.

What must hold: of any number of equal requests under one key, at most one makes a run,
whatever process and edge they reach; each gets that run's words and outcome.  A run
that nobody waited for any more, or that a stop cut off, is forgotten, because whoever
sends its key again has no answer yet.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred

from moltbot_gw.agents.request import RunRequest
from moltbot_gw.agents.run import Run
from moltbot_gw.errors import ClientGone, Draining, GatewayError, KeyReused
from moltbot_gw.events import ReasoningDelta, RunOutcome, TextDelta, ToolCallDelta
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.messages import ToolCall
from moltbot_gw.principals import Principal
from moltbot_gw.stored import IdempotencyKey, KeptError, KeptOutcome, KeptRun

KEPT_SECONDS = 24 * 3600.0
"""How long an outcome can be replayed."""

_UNANSWERED = (ClientGone, Draining)
"""Why a run is cut off that nobody has had an answer of."""

_CHAR_BYTES = 4


@attrs.define(eq=False)
class _Use:
    """A key in use: first looked up, then with its run."""

    fingerprint: bytes
    run: Run | None = None
    waiting: list[Deferred[None]] = attrs.Factory(list)


class KeyedRuns:
    """The keys whose runs are not over, and the way to those that are."""

    def __init__(self, store: ISessionStore, unix_time: Callable[[], float]) -> None:
        self._store = store
        self._unix_time = unix_time
        self._uses: dict[str, _Use] = {}

    async def start_or_join(
        self, request: RunRequest, start: Callable[[RunRequest], Run]
    ) -> Run:
        """Return the run of *request*'s key; call *start* if there is none.

        Raises ``KeyReused`` for a key of another request, and whatever *start* does;
        nothing is remembered then.
        """
        key = request.key
        assert key is not None
        while (use := self._uses.get(key.value)) is not None:
            _check(key, use.fingerprint)
            if use.run is None:
                looked_up: Deferred[None] = Deferred(use.waiting.remove)
                use.waiting.append(looked_up)
                await looked_up
            elif isinstance(use.run.cancelled, _UNANSWERED):
                await use.run.when_ended()
                self._forget(key.value, use)
            else:
                return use.run
        use = self._uses[key.value] = _Use(key.fingerprint)
        try:
            run = await self._replay(key, request)
            if run is None:
                run = use.run = start(request)
                run.when_ended().addCallback(lambda _: self._forget(key.value, use))
        finally:
            if use.run is None:
                self._forget(key.value, use)
            while use.waiting:
                use.waiting.pop(0).callback(None)
        return run

    async def _replay(self, key: IdempotencyKey, request: RunRequest) -> Run | None:
        after_ms = int((self._unix_time() - KEPT_SECONDS) * 1000)
        kept = await self._store.find_kept(key.value, after_ms)
        if kept is None or kept.outcome is None:
            return None
        _check(key, kept.fingerprint)
        return _ended(kept, kept.outcome, request.principal)

    def _forget(self, value: str, use: _Use) -> None:
        if self._uses.get(value) is use:
            del self._uses[value]


def _ended(kept: KeptRun, outcome: KeptOutcome, caller: Principal) -> Run:
    """Return a run that says again what *kept* has said."""
    run = Run(
        run_id=kept.run_id,
        agent_id=kept.agent_id,
        session_key=kept.session_key,
        # Whatever the limit is by this time, the client has had all of it.
        max_bytes=_CHAR_BYTES * _chars(outcome),
        caller=caller,
    )
    run.created, run.is_replay = kept.created_at_ms // 1000, True
    run.session_id, run.model = outcome.session_id, outcome.model
    if outcome.started_at_ms is not None:
        run.begin(outcome.started_at_ms)
    if outcome.reasoning:
        run.extend([ReasoningDelta(outcome.reasoning)])
    if outcome.text:
        run.extend([TextDelta(outcome.text)])
    run.extend(
        [
            ToolCallDelta(
                index=index, id=call.id, name=call.name, arguments=call.arguments
            )
            for index, call in enumerate(outcome.tool_calls)
        ]
    )
    run.end(
        RunOutcome(
            state=outcome.state,
            finish_reason=outcome.finish_reason,
            usage=outcome.usage,
            context=outcome.context,
            error=None if outcome.error is None else _error(outcome.error),
            started_at_ms=outcome.started_at_ms,
            ended_at_ms=outcome.ended_at_ms,
        )
    )
    return run


def _chars(outcome: KeptOutcome) -> int:
    return (
        len(outcome.text)
        + len(outcome.reasoning)
        + sum(
            len(call.id) + len(call.name) + len(call.arguments)
            for call in outcome.tool_calls
        )
    )


def kept_outcome(
    run: Run, outcome: RunOutcome, calls: tuple[ToolCall, ...]
) -> KeptOutcome | None:
    """Return what to replay of *run*; None if it is not to be replayed."""
    error = outcome.error
    if isinstance(error, _UNANSWERED):
        return None
    kept = None
    if error is not None:
        kept = KeptError(
            status=error.status, type=error.type, code=error.code, message=error.message
        )
    return KeptOutcome(
        state=outcome.state,
        text=run.said(),
        reasoning=run.reasoning(),
        finish_reason=outcome.finish_reason,
        usage=outcome.usage,
        context=outcome.context,
        error=kept,
        started_at_ms=outcome.started_at_ms,
        ended_at_ms=outcome.ended_at_ms,
        tool_calls=calls,
        session_id=run.session_id,
        model=run.model,
    )


class ReplayedError(GatewayError):
    """A failure that a client was told of before, as it was told."""

    should_retry = False  # the same key would only bring the same answer

    def __init__(self, kept: KeptError) -> None:
        super().__init__(kept.message, code=kept.code)
        self.status = kept.status  # type: ignore[misc]
        self.type = kept.type  # type: ignore[misc]


def _error(kept: KeptError) -> GatewayError:
    return ReplayedError(kept)


def _check(key: IdempotencyKey, fingerprint: bytes) -> None:
    if key.fingerprint != fingerprint:
        raise KeyReused(
            "This idempotency key belongs to another request; use a new one.",
            param="idempotencyKey",
        )
