"""What happens in one run, from its lanes to its stored end: one coroutine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.context import RunContext
from moltbot_gw.agents.keyed import kept_outcome
from moltbot_gw.agents.lanes import LaneTicket
from moltbot_gw.agents.request import RunRequest
from moltbot_gw.agents.roster import Agent
from moltbot_gw.agents.rounds import Rounds
from moltbot_gw.agents.run import Run
from moltbot_gw.agents.setup import AgentSetup
from moltbot_gw.agents.speaking import Speaker
from moltbot_gw.agents.thinking import with_thinking
from moltbot_gw.agents.toolcalls import answers_nothing, repaired
from moltbot_gw.agents.toolrunner import ToolRunner
from moltbot_gw.agents.turns import news_of, without_retry
from moltbot_gw.agents.usage import add_usage
from moltbot_gw.errors import (
    Draining,
    GatewayError,
    InternalError,
    InvalidRequest,
    RunAborted,
    RunTimedOut,
)
from moltbot_gw.events import Completion, RunOutcome, Usage
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.messages import Message, ModelRequest, SamplingOptions
from moltbot_gw.stored import History, SessionSettings, TurnEnd, TurnRound, TurnStart
from moltbot_gw.tooling import ToolContext
from moltbot_gw.unheld import from_coroutine

_log = Logger()
T = TypeVar("T")


class Execution:
    """Drives one run.

    In order: wait for the lanes, read the history, store the user's turn, call the
    model and its tools in turns (``Rounds``), store what is left, end the run.  What
    was stored is never undone; whatever goes wrong becomes the run's outcome, so
    ``start`` never fails.
    """

    def __init__(
        self,
        *,
        setup: AgentSetup,
        store: ISessionStore,
        clock: IReactorTime,
        unix_time: Callable[[], float],
        run: Run,
        ticket: LaneTicket,
        agent: Agent,
        request: RunRequest,
    ) -> None:
        self._setup = setup
        self._store = store
        self._clock = clock
        self._unix_time = unix_time
        self._run = run
        self._ticket = ticket
        self._agent = agent
        self._request = request
        self._session_id = ""
        self._started_at_ms: int | None = None
        self._settings = SessionSettings()
        self._model: ModelRef | None = None
        self._rounds: Rounds | None = None
        self._speaker: Speaker | None = None
        self._context: RunContext | None = None

    def start(self) -> Deferred[None]:
        """Begin; the Deferred fires once the run has ended."""
        return Deferred.fromCoroutine(self._main())

    async def _main(self) -> None:
        try:
            outcome = await self._steps()
        except GatewayError as error:
            outcome = self._outcome(error)
        except Exception:
            _log.failure("run {run_id} failed", run_id=self._run.run_id)
            outcome = self._outcome(InternalError("The run failed unexpectedly."))
        finally:
            self._ticket.close()
            # They call us: who leaves circles behind has them looked for, later, when
            # nothing of them is in the processor's caches.
            self._rounds = self._speaker = self._context = None
        self._run.end(outcome)

    async def _steps(self) -> RunOutcome:
        if not self._ticket.take_free():
            await self._interruptible(from_coroutine(self._ticket.ready()))
        self._run.leave_lanes()
        call, speaker = await self._begin()
        outcome = await self._play(call, speaker)
        await self._store_end(outcome)
        return outcome

    async def _begin(self) -> tuple[ModelRequest, Speaker]:
        """Read what the session holds, and store the first half of the turn."""
        request, setup = self._request, self._setup
        await setup.prepare_workspace(self._agent)
        history = await self._history()
        if self._run.cancelled is not None:
            raise self._run.cancelled.unraised()
        has_history = bool(history.messages or history.summary)
        news = news_of(request.messages, has_history=has_history)
        messages = _conversation(history.messages, news)
        model = request.model or setup.model_of(self._agent, history.settings)
        candidates = setup.candidates(model, self._agent, news)
        model = self._model = candidates[0].model
        self._session_id = (
            request.session_id or history.session_id or request.new_session_id
        )
        self._run.session_id, self._run.model = self._session_id, str(model)
        self._run.shows_tools = setup.shows_tools(history.settings)
        self._settings = history.settings
        now = self._unix_time()
        self._started_at_ms = int(now * 1000)
        prompt = await setup.prompts.build(self._agent.id, request.extra_system, now)
        call = ModelRequest(
            model=model.model,
            system=prompt,
            messages=messages,
            tools=request.tools,
            tool_choice=request.tool_choice,
        )
        await self._store.begin_turn(
            TurnStart(
                run_id=self._run.run_id,
                session_key=request.store_key,
                session_id=self._session_id,
                agent_id=self._agent.id,
                provider=model.provider,
                model=model.model,
                messages=news,
                started_at_ms=self._started_at_ms,
                anonymous=request.anonymous,
                key=request.key,
            )
        )
        context = self._context = setup.compactor.open(
            history,
            session_key=request.store_key,
            session_id=self._session_id,
            on_event=self._run.tell,
        )
        context.asked(news)
        return call, Speaker(
            run=self._run,
            failover=setup.failover,
            candidates=candidates,
            context=context,
            options_for=self._options,
        )

    async def _history(self) -> History:
        """Read the session that the run goes on with, if there is one."""
        request = self._request
        if request.anonymous:
            return History()
        fresh_after = self._setup.fresh_after_ms(request.store_key)
        history = await self._store.history(request.store_key, fresh_after)
        if request.session_id in (None, history.session_id):
            return history
        return History(settings=history.settings)

    def _options(self, model: ModelRef) -> SamplingOptions:
        return with_thinking(
            self._request.options,
            model,
            self._request.thinking,
            self._settings.thinking_level,
            self._agent.thinking,
        )

    async def _play(self, call: ModelRequest, speaker: Speaker) -> RunOutcome:
        """Let model and tools take their turns; return how that ended."""
        if self._run.cancelled is not None:
            return self._outcome(self._run.cancelled)
        self._run.begin(self._started_at_ms or 0)
        self._speaker = speaker
        rounds = self._rounds = Rounds(
            run=self._run,
            runner=self._runner(speaker.model),
            speak=speaker.speak,
            keep=self._keep,
        )
        timer = self._clock.callLater(self._timeout, self._time_out)
        try:
            playing = from_coroutine(rounds.play(call))
            completion = await self._interruptible(playing)
        except GatewayError as error:
            return self._outcome(error)
        except Exception:
            _log.failure("run {run_id} failed", run_id=self._run.run_id)
            return self._outcome(InternalError("The run failed unexpectedly."))
        finally:
            if timer.active():
                timer.cancel()
        return self._outcome(completion)

    def _runner(self, model: ModelRef) -> ToolRunner:
        setup, settings = self._setup, self._settings

        def context(call_id: str, update: Callable[[str], None]) -> ToolContext:
            return ToolContext(
                run_id=self._run.run_id,
                agent_id=self._agent.id,
                session_key=self._request.store_key,
                session_id=self._session_id,
                model=str(model),
                workspace=self._agent.workspace,
                call_id=call_id,
                update=update,
                exec_security=settings.exec_security,
                exec_ask=settings.exec_ask,
                exec_host=settings.exec_host,
            )

        return ToolRunner(
            tools=setup.toolbox.for_run(self._request, self._agent.id, model),
            context=context,
            tell=self._run.tell,
            clock=self._clock,
            limits=setup.tool_limits,
        )

    async def _keep(self, messages: tuple[Message, ...]) -> None:
        await self._store.extend_turn(
            TurnRound(
                run_id=self._run.run_id,
                session_key=self._request.store_key,
                session_id=self._session_id,
                messages=messages,
                at_ms=int(self._unix_time() * 1000),
            )
        )
        if self._context is not None and self._rounds is not None:
            self._context.kept(messages, self._rounds.context)

    async def _store_end(self, outcome: RunOutcome) -> None:
        is_whole = outcome.finish_reason == "tool_calls"
        calls = self._run.tool_calls() if is_whole else ()
        messages: tuple[Message, ...] = ()
        if self._rounds is not None:
            reason = outcome.finish_reason or _cut_reason(outcome)
            messages = self._rounds.unsaved(reason)
        other = self._other_model()
        await self._store.end_turn(
            TurnEnd(
                run_id=self._run.run_id,
                session_key=self._request.store_key,
                session_id=self._session_id,
                messages=messages,
                state=outcome.state,
                error_code=outcome.error.code if outcome.error else None,
                usage=outcome.usage,
                context=outcome.context,
                ended_at_ms=outcome.ended_at_ms,
                kept=kept_outcome(self._run, outcome, calls)
                if self._request.key
                else None,
                provider=other.provider if other else None,
                model=other.model if other else None,
            )
        )

    def _other_model(self) -> ModelRef | None:
        """Return the model that has answered, if the turn began with another."""
        if self._speaker is None or self._speaker.model == self._model:
            return None
        return self._speaker.model

    async def _interruptible(self, waiting: Deferred[T]) -> T:
        """Await *waiting*, which ``Run.cancel`` may cancel.

        Twisted's ``CancelledError`` goes no further than here: it is an ``Exception``,
        and whoever catches it by accident would lose the reason.
        """
        self._run.on_cancel(lambda _: waiting.cancel())
        try:
            result = await waiting
        except (CancelledError, GatewayError):
            if self._run.cancelled is not None:
                raise self._run.cancelled.unraised() from None
            raise
        finally:
            self._run.on_cancel(None)
        if self._run.cancelled is not None and self._run.is_cut:
            # Cancelled from inside its own last step, which could not be stopped.
            raise self._run.cancelled.unraised()
        return result

    @property
    def _timeout(self) -> float:
        return self._request.timeout or self._agent.timeout

    def _time_out(self) -> None:
        unit = "second" if self._timeout == 1 else "seconds"
        why = f"The run took longer than {self._timeout:g} {unit}."
        self._run.cancel(RunTimedOut(why))

    def _outcome(self, result: Completion | GatewayError) -> RunOutcome:
        ended_at_ms = int(self._unix_time() * 1000)
        rounds = self._rounds
        usage = rounds.usage if rounds else Usage()
        if self._speaker is not None:
            usage = add_usage(usage, self._speaker.side_usage)
        context = rounds.context if rounds else Usage()
        if isinstance(result, Completion):
            return RunOutcome(
                state="done",
                finish_reason=result.finish_reason,
                usage=usage,
                context=context,
                started_at_ms=self._started_at_ms,
                ended_at_ms=ended_at_ms,
            )
        error = result.unraised()
        if rounds is not None and rounds.called_tools:
            # What tools did would be done again.
            error.should_retry = False
        return RunOutcome(
            state="aborted" if isinstance(result, (RunAborted, Draining)) else "failed",
            error=error,
            usage=usage,
            context=context,
            started_at_ms=self._started_at_ms,
            ended_at_ms=ended_at_ms,
        )


def _conversation(
    history: tuple[Message, ...], news: tuple[Message, ...]
) -> tuple[Message, ...]:
    """Return what the model is to read; raise ``InvalidRequest`` without any news."""
    messages = repaired(without_retry(history, news) + news)
    if answers_nothing(news, messages):
        raise InvalidRequest(
            "messages: the results of tools belong to no call of this conversation;"
            " send the message that called them, too.",
            param="messages",
        )
    return messages


def _cut_reason(outcome: RunOutcome) -> str:
    cut = outcome.state == "aborted" or isinstance(outcome.error, RunTimedOut)
    return "aborted" if cut else "error"
