"""What the store keeps and tells, as values."""

from __future__ import annotations

import msgspec

from moltbot_gw.events import FinishReason, OutcomeState, Usage
from moltbot_gw.messages import Message, ToolCall


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
    """What a model reads of a session.

    *session_id* is None, and *messages* empty, when there is no such session or the
    stored one is too old to go on with.  *settings* are there in the second case too,
    because the session that follows takes them over.

    *messages* are all entries from *first_seq* (counted from 1) on; a *summary* stands
    for those before.  *context_tokens* is what the last model call had, with its
    answer, and the first *counted* messages are included in it; None if that is not
    known.
    """

    session_id: str | None = None
    messages: tuple[Message, ...] = ()
    settings: SessionSettings = SessionSettings()
    first_seq: int = 1
    summary: str | None = None
    context_tokens: int | None = None
    counted: int = 0


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
    context: Usage = Usage()


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


class TurnRound(msgspec.Struct, frozen=True, kw_only=True):
    """A middle part of a turn: what the model said, and what its tools brought.

    *messages* is never empty; each result stands behind the message that called.
    """

    run_id: str
    session_key: str
    session_id: str
    messages: tuple[Message, ...]
    at_ms: int


class TurnEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The second half of a turn: what is stored before the client hears of the end.

    *messages* may be empty (a failure before the first word).  *error_code* is set
    unless *state* is ``"done"``.  *usage* is the run's sum, *context* that of its last
    model call, which the session's own counts become.  *kept* is stored under the
    idempotency key that the run began with; None forgets that key.  *provider* and
    *model* are set where another model has answered than the turn began with.
    """

    run_id: str
    session_key: str
    session_id: str
    messages: tuple[Message, ...]
    state: OutcomeState
    error_code: str | None = None
    usage: Usage = Usage()
    context: Usage = Usage()
    ended_at_ms: int
    kept: KeptOutcome | None = None
    provider: str | None = None
    model: str | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A *text* that stands for what a session had before the entry *first_seq*.

    It stands for what an earlier summary stood for as well.  *first_seq* is one more
    than the last entry's when none is left; *tokens_before* is an estimate of the
    context without it.
    """

    session_key: str
    session_id: str
    first_seq: int
    text: str
    tokens_before: int
    at_ms: int


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list of sessions; times in Unix milliseconds.

    The token counts are those of the last finished run (the size of its context),
    not a sum.  *messages* counts the entries, *compactions* the summaries; the context
    had *tokens_before* the last of them.
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
    compactions: int = 0
    tokens_before: int = 0


class SessionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions are wanted: those of which all of it holds; None is unsaid.

    *words*, in small letters, stand in the label, the id or the key.  *hidden* are keys
    that are not wanted, nor are *anonymous* sessions unless it says so.  *limit* is how
    many there are at most.
    """

    agent_id: str | None = None
    session_id: str | None = None
    label: str | None = None
    spawned_by: str | None = None
    words: str = ""
    updated_since_ms: int | None = None
    hidden: frozenset[str] = frozenset()
    anonymous: bool = True
    limit: int | None = None

    def wants(self, one: SessionSummary) -> bool:
        """Whether *one* is such a session."""
        own = one.settings
        return (
            self.agent_id in (None, one.agent_id)
            and self.session_id in (None, one.session_id)
            and self.label in (None, own.label)
            and self.spawned_by in (None, own.spawned_by)
            and (self.updated_since_ms or 0) <= one.updated_at_ms
            and one.session_key not in self.hidden
            and (self.anonymous or not one.anonymous)
            and (not self.words or self._is_in(one))
        )

    def _is_in(self, one: SessionSummary) -> bool:
        texts = (one.settings.label or "", one.session_id, one.session_key)
        return any(self.words in text.lower() for text in texts)


ALL_SESSIONS = SessionQuery()


class OverviewQuery(msgspec.Struct, frozen=True, kw_only=True):
    """How many of an agent's newest sessions are shown; *hidden* keys do not count."""

    recent: int
    hidden: frozenset[str] = frozenset()


class AgentSessions(msgspec.Struct, frozen=True, kw_only=True):
    """How many sessions an agent has, and the *recent* ones, the newest first."""

    agent_id: str
    count: int
    recent: tuple[SessionSummary, ...]


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
