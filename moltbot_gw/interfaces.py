"""The contracts between the rooms, where more than one implementation exists."""

# zope.interface methods have no self, and mypy-zope understands that.
from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import Attribute, Interface

from moltbot_gw.events import (
    Completion,
    FinishReason,
    ModelEvent,
    OutcomeState,
    Usage,
)
from moltbot_gw.messages import AssistantMessage, Message, ModelRequest, ToolCall


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


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody has set for a session; None is unsaid.

    *model* overrides the agent's own and reads ``provider/model``; *spawned_by* is a
    session key.  What the other values may be is the edge's business.
    """

    label: str | None = None
    thinking_level: str | None = None
    verbose_level: str | None = None
    reasoning_level: str | None = None
    elevated_level: str | None = None
    response_usage: str | None = None
    exec_host: str | None = None
    exec_security: str | None = None
    exec_ask: str | None = None
    exec_node: str | None = None
    model: str | None = None
    spawned_by: str | None = None
    send_policy: str | None = None
    group_activation: str | None = None


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What a session holds.

    *session_id* is None, and *messages* empty, when there is no such session or the
    stored one is too old to go on with.  *settings* are there in the second case too,
    because the session that follows takes them over.
    """

    session_id: str | None = None
    messages: tuple[Message, ...] = ()
    settings: SessionSettings = SessionSettings()


class IdempotencyKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a client calls its request, so that sending it again starts no second run.

    *value* is unique in the whole store.  *fingerprint* tells a repetition from
    another request under the same key.
    """

    value: str
    fingerprint: bytes


class KeptError(msgspec.Struct, frozen=True, kw_only=True):
    """A ``GatewayError`` as a client was told of it."""

    status: int
    type: str
    code: str
    message: str


class KeptOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run with an idempotency key ended, enough to answer a repetition.

    See ``RunOutcome``; *text*, *reasoning* and *tool_calls* are what the model said.
    *model* reads ``provider/model``.
    """

    state: OutcomeState
    text: str
    reasoning: str
    finish_reason: FinishReason | None
    usage: Usage
    error: KeptError | None
    started_at_ms: int | None
    ended_at_ms: int
    tool_calls: tuple[ToolCall, ...] = ()
    session_id: str | None = None
    model: str | None = None


class KeptRun(msgspec.Struct, frozen=True, kw_only=True):
    """The run that an idempotency key stands for.

    *outcome* is None while the run is running, and for ever if a stop of the process
    cut it off.
    """

    run_id: str
    agent_id: str
    session_key: str
    fingerprint: bytes
    created_at_ms: int
    outcome: KeptOutcome | None


class TurnStart(msgspec.Struct, frozen=True, kw_only=True):
    """The first half of a turn: what is stored before the model is called.

    *session_key* is canonical (``agent:<id>:...``); *session_id* a UUID: a new one
    starts the session afresh under its key and leaves the older transcript alone.
    *messages* is what this turn adds, never empty.  *anonymous* sessions are pruned.
    With a *key*, the run is found under it from then on, and no older run.
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
    key: IdempotencyKey | None = None


class TurnEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The second half of a turn: what is stored before the client hears of the end.

    *messages* may be empty (a failure before the first word).  *error_code* is set
    unless *state* is ``"done"``.  *kept* is stored under the idempotency key that the
    run began with; None forgets that key.
    """

    run_id: str
    session_key: str
    session_id: str
    messages: tuple[Message, ...]
    state: OutcomeState
    error_code: str | None = None
    usage: Usage = Usage()
    ended_at_ms: int
    kept: KeptOutcome | None = None


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list of sessions; times in Unix milliseconds.

    The token counts are those of the last finished run (the size of its context),
    not a sum.  *messages* counts the entries.
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
    messages: int = 0
    settings: SessionSettings = SessionSettings()


class TranscriptEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A stored message; *seq* counts from 1.

    *provider* to *state* (``"running"``, ``"interrupted"`` or an ``OutcomeState``) are
    those of the run *run_id*; None for a message outside any run, and *usage* also
    until the run has ended.
    """

    seq: int
    run_id: str
    created_at_ms: int
    message: Message
    provider: str | None
    model: str | None
    usage: Usage | None
    state: str | None


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a session, in order."""

    session_id: str
    settings: SessionSettings
    entries: tuple[TranscriptEntry, ...]


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """How many entries a session still has, and which session id has all of them.

    *archived* is None when nothing had to go.
    """

    kept: int
    archived: str | None


class UsageLine(msgspec.Struct, frozen=True, kw_only=True):
    """The sums over the runs of one model that ended on one *day*.

    *day* is ``YYYY-MM-DD`` in the machine's own time zone.
    """

    day: str
    provider: str
    model: str
    runs: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    total_tokens: int


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

    def history(session_key: str, fresh_after_ms: int) -> Deferred[History]:
        """Read a session, unless it was last touched before *fresh_after_ms*.

        Fails when a stored row is not what was written.
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

    def end_turn(turn: TurnEnd) -> Deferred[None]:
        """Store the second half of a turn, and how its run ended.

        Of a session that was deleted meanwhile, only *kept* is stored.
        """

    def find_session(session_key: str) -> Deferred[SessionSummary | None]:
        """Describe one session."""

    def list_sessions() -> Deferred[list[SessionSummary]]:
        """List all sessions, the last touched first."""

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
        such message.  Running runs go on in the new session.
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
