"""What happens in a run, as values: the entries of its log and its outcome."""

from __future__ import annotations

from typing import Literal, Union

import msgspec

from moltbot_gw.errors import FailureReason, GatewayError

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
"""Why a model stopped, in OpenAI's words."""

OutcomeState = Literal["done", "failed", "aborted"]
"""How a run ended: with an answer, with a failure, or cut off by somebody."""


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens of one or more model calls, as the provider counted them.

    *prompt_tokens* includes the cached ones and *completion_tokens* the reasoning
    ones; the last two are None where the provider did not say.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class Completion(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a provider reports after a whole stream; the text went to the sink."""

    finish_reason: FinishReason
    usage: Usage


class AttemptFailed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A model could not be had; the run goes on with *next_model*, if that is set.

    *model* and *next_model* are ``provider/model``, *message* is fit for a stranger,
    *retry_after* the seconds that the provider asks to be left alone.
    """

    model: str
    reason: FailureReason
    message: str
    retry_after: int | None = None
    next_model: str | None = None


class RunStarted(msgspec.Struct, frozen=True, gc=False):
    """The run left its lanes, and the user's turn is stored."""

    at_ms: int


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the assistant's words; never empty."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of what the model shows of its reasoning; never empty."""

    text: str


class ToolCallDelta(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A piece of a call that the model writes; its first piece has *id* and *name*.

    *index* tells the calls of one message apart, from 0; *arguments* is a piece of JSON
    text and may be empty.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class ReasoningState(msgspec.Struct, frozen=True, gc=False):
    """What the provider wants to read again with this message, in its own format.

    *data* is JSON text, opaque to us (signed or encrypted thoughts); nobody is shown
    it.  A second one of a model call replaces the first.
    """

    data: str


class ToolStarted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One of the agent's own tools is at work; *arguments* is the model's JSON text."""

    call_id: str
    name: str
    arguments: str


class ToolUpdated(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a tool has brought so far, as *text*."""

    call_id: str
    name: str
    text: str


class ToolFinished(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A tool is done; *label* says in a few words what it was about."""

    call_id: str
    name: str
    text: str
    is_error: bool = False
    label: str | None = None


class CompactionStarted(msgspec.Struct, frozen=True, gc=False):
    """A model is at work on a summary of the older part of the conversation."""


class CompactionEnded(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """That is done, or has failed; *will_retry*: the model is asked again after it."""

    will_retry: bool = False


class RunOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended.

    *finish_reason* is set exactly when *state* is ``"done"``, *error* exactly when it
    is not; that was never raised: whoever does, raises its ``unraised``.  *usage* is
    the sum over the run's model calls, *context* that of the last one.  *started_at_ms*
    is None for a run that never left its lanes.
    """

    state: OutcomeState
    finish_reason: FinishReason | None = None
    usage: Usage = Usage()
    context: Usage = Usage()
    error: GatewayError | None = None
    started_at_ms: int | None = None
    ended_at_ms: int


class RunEnded(msgspec.Struct, frozen=True):
    """The last event of every run."""

    outcome: RunOutcome


SpokenEvent = Union[TextDelta, ReasoningDelta, ToolCallDelta]
"""What a model says, piece by piece."""

ModelEvent = Union[SpokenEvent, ReasoningState]
"""What a provider feeds a run with."""

ToolEvent = Union[ToolStarted, ToolUpdated, ToolFinished]

CompactionEvent = Union[CompactionStarted, CompactionEnded]
"""What happens while the older part of a conversation is summarised."""

SideEvent = Union[ToolEvent, CompactionEvent, AttemptFailed]
"""What happens beside the words; only those who watch are told."""

RunEvent = Union[RunStarted, SpokenEvent, SideEvent, RunEnded]
"""What the readers of a run see."""
