"""The built-in provider: says what it was told, at a steady pace, and counts it."""

from __future__ import annotations

import re

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from moltbot_gw.events import Completion, FinishReason, TextDelta, Usage
from moltbot_gw.interfaces import IModelProvider, IRunSink
from moltbot_gw.messages import AssistantMessage, ModelRequest, text_of

WORD_SECONDS = 0.01
"""The pace: one word each."""

_WORD = re.compile(r"\s*\S+|\s+$")
_CHARS_PER_TOKEN = 4


@implementer(IModelProvider)
class EchoProvider:
    """Answers with the last message of the conversation that is not the assistant's.

    Deterministic: the same request gives the same deltas, finish reason and usage (a
    token is four characters).  ``max_tokens`` is kept, with ``"length"`` as the reason.
    """

    def __init__(self, clock: IReactorTime, word_seconds: float = WORD_SECONDS) -> None:
        self._clock = clock
        self._word_seconds = word_seconds

    def stream(self, request: ModelRequest, sink: IRunSink) -> Deferred[Completion]:
        answer = _Answer(request, sink, self._clock, self._word_seconds)
        return answer.start()

    def close(self) -> Deferred[None]:
        return succeed(None)


@implementer(IPushProducer)
class _Answer:
    """One answer on its way; while paused, no timer runs."""

    def __init__(
        self,
        request: ModelRequest,
        sink: IRunSink,
        clock: IReactorTime,
        word_seconds: float,
    ) -> None:
        text, self._reason = _reply(request)
        self._words = _WORD.findall(text)
        self._next = 0
        self._usage = _usage(request, text)
        self._sink = sink
        self._clock = clock
        self._word_seconds = word_seconds
        self._timer: IDelayedCall | None = None
        self._finished: Deferred[Completion] = Deferred(lambda _: self._stop())

    def start(self) -> Deferred[Completion]:
        self._schedule()
        self._sink.registerProducer(self, True)
        return self._finished

    def pauseProducing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def resumeProducing(self) -> None:
        if self._timer is None and not self._finished.called:
            self._schedule()

    def stopProducing(self) -> None:
        self._finished.cancel()

    def _schedule(self) -> None:
        self._timer = self._clock.callLater(self._word_seconds, self._say)

    def _say(self) -> None:
        self._timer = None
        if self._next == len(self._words):
            self._sink.unregisterProducer()
            self._finished.callback(
                Completion(finish_reason=self._reason, usage=self._usage)
            )
            return
        self._schedule()
        word = self._words[self._next]
        self._next += 1
        self._sink.extend([TextDelta(word)])

    def _stop(self) -> None:
        self.pauseProducing()
        self._sink.unregisterProducer()


def _reply(request: ModelRequest) -> tuple[str, FinishReason]:
    heard = [m for m in request.messages if not isinstance(m, AssistantMessage)]
    text = text_of(heard[-1].content) if heard else ""
    limit = request.options.max_tokens
    if limit is not None and _tokens(text) > limit:
        return text[: limit * _CHARS_PER_TOKEN], "length"
    return text, "stop"


def _usage(request: ModelRequest, text: str) -> Usage:
    prompt = _tokens(request.system) + sum(
        _tokens(m.text if isinstance(m, AssistantMessage) else text_of(m.content))
        for m in request.messages
    )
    completion = _tokens(text)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
    )


def _tokens(text: str) -> int:
    return -(-len(text) // _CHARS_PER_TOKEN)
