"""The contracts between the rooms, where more than one implementation exists."""

# zope.interface methods have no self, and mypy-zope understands that.
from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import Attribute, Interface

from moltbot_gw.events import Completion, ModelEvent
from moltbot_gw.messages import AssistantMessage, ModelRequest
from moltbot_gw.stored import (
    ALL_SESSIONS,
    AgentSessions,
    Compacted,
    History,
    KeptRun,
    OverviewQuery,
    SessionQuery,
    SessionSummary,
    Summary,
    Transcript,
    TurnEnd,
    TurnRound,
    TurnStart,
    UsageLine,
)

_T = TypeVar("_T")


class IRunSink(Interface):
    """What a provider feeds; in the daemon always a run."""

    def extend(events: Iterable[ModelEvent]) -> None:
        """Append *events*, in order.  Plain and quick; never raises.

        May call ``pauseProducing`` of the registered producer before it returns.
        """

    def registerProducer(producer: IPushProducer, streaming: bool) -> None:
        """Make *producer* the source that the rule of flow pauses and resumes.

        *streaming* is always True.  Call it once the producer can be paused; it may be
        paused before this returns.
        """

    def unregisterProducer() -> None:
        """Forget the source; harmless when there is none."""


class IModelProvider(Interface):
    """An adapter to one model service."""

    def stream(request: ModelRequest, sink: IRunSink) -> Awaitable[Completion]:
        """Call the model and feed *sink* with what it says, as it says it.

        Begins when it is awaited, at the latest.  Cancelling who awaits it closes the
        service's socket at once.  Raises ``ProviderFailed`` or ``ProviderTimedOut``,
        and nothing else; what was fed to the sink before stays there.
        """

    def close() -> Deferred[None]:
        """Close idle connections.  Streams under way must have been cancelled."""


class IRunSubscriber(Interface):
    """Who reads a run's log."""

    paused = Attribute("bool: this reader can take nothing now.")

    def wake() -> None:
        """There is something to take, or the run has ended.  Never raises."""


class ISessionStore(Interface):
    """Conversations on lasting storage.

    Each Deferred that reports a change fires only after that change would survive a
    power cut.  A call cannot be cancelled: cancelling its Deferred only stops the
    waiting.  Every Deferred errbacks with ``StoreFailed``, and with nothing else but
    what its method names.
    """

    def open() -> Deferred[int]:
        """Make the store ready; fire with the number of runs found half done.

        Those runs are marked interrupted.  Fails when the storage cannot be used;
        later calls then try to open it again.
        """

    def close() -> Deferred[None]:
        """Finish what was asked for before, then let go of the storage."""

    def check() -> Deferred[None]:
        """Write something that changes nothing; fails when no turn could be stored."""

    def history(session_key: str, fresh_after_ms: int) -> Deferred[History]:
        """Read a session, unless it was last touched before *fresh_after_ms*.

        Of one with a summary, only what follows it; the work does not grow with what
        lies before.  Fails when a row that is read is not what was written.
        """

    def transcript(session_key: str, limit: int) -> Deferred[Transcript | None]:
        """Read the last *limit* entries of a session of any age; None if unknown.

        Fails when one of them is not what was written.
        """

    def begin_turn(turn: TurnStart) -> Deferred[None]:
        """Store the first half of a turn, and its run as running.

        A run of the session that has the same id is replaced, unless it is running and
        the turn has no idempotency key: then this fails.  If the session id is another
        than before, its session takes over the settings.
        """

    def extend_turn(turn: TurnRound) -> Deferred[None]:
        """Store a middle part of a turn, between its halves.

        Does nothing for a session that was deleted meanwhile.
        """

    def end_turn(turn: TurnEnd) -> Deferred[None]:
        """Store the second half of a turn, and how its run ended.

        Of a session that was deleted meanwhile, only *kept* is stored.
        """

    def find_session(session_key: str) -> Deferred[SessionSummary | None]:
        """Describe one session."""

    def list_sessions(
        query: SessionQuery = ALL_SESSIONS,
    ) -> Deferred[list[SessionSummary]]:
        """List the sessions that *query* wants, the last touched first."""

    def overview(query: OverviewQuery) -> Deferred[list[AgentSessions]]:
        """Count the sessions of each agent that has any, by its id."""

    def patch(
        session_key: str,
        changes: Mapping[str, str | None],
        *,
        agent_id: str,
        new_session_id: str,
        now_ms: int,
    ) -> Deferred[SessionSummary]:
        """Set the attributes of ``SessionSettings`` that *changes* names; None clears.

        Makes the empty session *new_session_id* of *agent_id* if there is none.  Fails
        with ``LabelTaken`` if another session of the agent has the label.
        """

    def inject(
        session_key: str, message: AssistantMessage, run_id: str, now_ms: int
    ) -> Deferred[bool]:
        """Append *message*, outside any run; False if the session is unknown."""

    def reset(session_key: str, session_id: str, now_ms: int) -> Deferred[bool]:
        """Go on under *session_key* with the empty *session_id*; False if unknown.

        Of the settings stay the label, the model, the send policy, what is shown of
        the usage, and the levels but the elevated one.
        """

    def compact(
        session_key: str, keep: int, new_session_id: str, now_ms: int
    ) -> Deferred[Compacted | None]:
        """Go on with the last *keep* entries, if there are more; None if unknown.

        They are copied to *new_session_id*, from the first user's message among them
        on, so that no result stands there without its call; all of them if there is no
        such message.  Running runs go on in the new session, and so does a summary.
        """

    def summarize(summary: Summary) -> Deferred[bool]:
        """Let a text stand for the older part of a session; the transcript keeps all.

        False, and nothing done, if the session was deleted meanwhile, has not that many
        entries, or has a summary up to there already.
        """

    def delete(session_key: str) -> Deferred[bool]:
        """Delete a session with all its transcripts; False if unknown.

        What is kept under idempotency keys stays.
        """

    def prune_anonymous(before_ms: int) -> Deferred[int]:
        """Delete anonymous sessions last touched before *before_ms*; return how many.

        Sessions with a running run are left alone.  Works in small steps, so that no
        turn waits long behind it.
        """

    def usage(since_ms: int) -> Deferred[list[UsageLine]]:
        """Sum up the runs that ended at *since_ms* or later, by day and model.

        In that order.  Deleted and pruned sessions do not count.
        """

    def find_kept(key: str, after_ms: int) -> Deferred[KeptRun | None]:
        """Find the run of the idempotency key, if it began at *after_ms* or later."""

    def prune_kept(before_ms: int) -> Deferred[int]:
        """Forget the keys of runs that began before *before_ms*; return how many.

        Works in small steps too.
        """


class RunInThread(Protocol):
    """``deferToThread`` with a pool, or what a test puts in its place."""

    def __call__(self, work: Callable[[], _T], /) -> Deferred[_T]:
        """Do *work* outside the reactor's thread; fire in it."""
