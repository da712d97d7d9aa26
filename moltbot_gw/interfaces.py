"""The contracts between the rooms, where more than one implementation exists."""

# zope.interface methods have no self, and mypy-zope understands that.
from __future__ import annotations

from collections.abc import Iterable

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import Attribute, Interface

from moltbot_gw.events import Completion, ModelEvent, OutcomeState, Usage
from moltbot_gw.messages import Message, ModelRequest


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

    def stream(request: ModelRequest, sink: IRunSink) -> Deferred[Completion]:
        """Call the model and feed *sink* with what it says, as it says it.

        Cancelling the Deferred closes the service's socket at once.  The Deferred
        errbacks with a ``ProviderFailed`` or ``ProviderTimedOut``, and with nothing
        else; what was fed to the sink before stays there.
        """

    def close() -> Deferred[None]:
        """Close idle connections.  Streams under way must have been cancelled."""


class IRunSubscriber(Interface):
    """Who reads a run's log."""

    paused = Attribute("bool: this reader can take nothing now.")

    def wake() -> None:
        """There is something to take, or the run has ended.  Never raises."""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What a session holds.

    *session_id* is None, and *messages* empty, when there is no such session or the
    stored one is too old to go on with.
    """

    session_id: str | None = None
    messages: tuple[Message, ...] = ()


class TurnStart(msgspec.Struct, frozen=True, kw_only=True):
    """The first half of a turn: what is stored before the model is called.

    *session_key* is canonical (``agent:<id>:...``); *session_id* a UUID: a new one
    starts the session afresh under its key and leaves the older transcript alone.
    *messages* is what this turn adds, never empty.  *anonymous* sessions are pruned.
    """

    run_id: str
    session_key: str
    session_id: str
    agent_id: str
    provider: str
    model: str
    messages: tuple[Message, ...]
    started_at_ms: int
    anonymous: bool = False


class TurnEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The second half of a turn: what is stored before the client hears of the end.

    *messages* may be empty (a failure before the first word).  *error_code* is set
    unless *state* is ``"done"``.
    """

    run_id: str
    session_key: str
    session_id: str
    messages: tuple[Message, ...]
    state: OutcomeState
    error_code: str | None = None
    usage: Usage = Usage()
    ended_at_ms: int


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list of sessions; times in Unix milliseconds.

    The token counts are those of the last finished run (the size of its context),
    not a sum.
    """

    session_key: str
    session_id: str
    agent_id: str
    created_at_ms: int
    updated_at_ms: int
    anonymous: bool
    aborted_last_run: bool
    provider: str | None
    model: str | None
    input_tokens: int
    output_tokens: int
    total_tokens: int


class ISessionStore(Interface):
    """Conversations on lasting storage.

    Each Deferred that reports a change fires only after that change would survive a
    power cut.  A call cannot be cancelled: cancelling its Deferred only stops the
    waiting.  Every Deferred errbacks with ``StoreFailed``, and with nothing else.
    """

    def open() -> Deferred[int]:
        """Make the store ready; fire with the number of runs found half done.

        Those runs are marked interrupted.  Fails when the storage cannot be used;
        later calls then try to open it again.
        """

    def close() -> Deferred[None]:
        """Finish what was asked for before, then let go of the storage."""

    def history(session_key: str, fresh_after_ms: int) -> Deferred[History]:
        """Read a session, unless it was last touched before *fresh_after_ms*.

        Fails when a stored row is not what was written.
        """

    def begin_turn(turn: TurnStart) -> Deferred[None]:
        """Store the first half of a turn, and its run as running."""

    def end_turn(turn: TurnEnd) -> Deferred[None]:
        """Store the second half of a turn, and how its run ended."""

    def list_sessions() -> Deferred[list[SessionSummary]]:
        """List all sessions, the last touched first."""

    def reset(session_key: str, session_id: str, now_ms: int) -> Deferred[bool]:
        """Go on under *session_key* with the empty *session_id*; False if unknown."""

    def delete(session_key: str) -> Deferred[bool]:
        """Delete a session with all its transcripts; False if unknown."""

    def prune_anonymous(before_ms: int) -> Deferred[int]:
        """Delete anonymous sessions last touched before *before_ms*; return how many.

        Sessions with a running run are left alone.  Works in small steps, so that no
        turn waits long behind it.
        """
