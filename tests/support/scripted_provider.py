"""A provider that says what a test tells it to, when it tells it to."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from moltbot_gw.errors import GatewayError
from moltbot_gw.events import (
    Completion,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from moltbot_gw.interfaces import IModelProvider, IRunSink
from moltbot_gw.messages import ModelRequest, ToolCall

USAGE = Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7)


@implementer(IPushProducer)
class Call:
    """One call of the model, answered by the test.

    *paused* is what the run asks of the source; *cancelled* whether it was cut off.
    With *finish_on_cancel* the last word comes just when it is.
    """

    def __init__(self, request: ModelRequest, sink: IRunSink) -> None:
        self.request = request
        self.paused = False
        self.cancelled = False
        self.finish_on_cancel = False
        self._sink = sink
        self.finished: Deferred[Completion] = Deferred(self._cancel)

    def say(self, text: str) -> None:
        """Feed the run with *text*."""
        self._sink.extend([TextDelta(text)])

    def think(self, text: str) -> None:
        """Feed the run with reasoning."""
        self._sink.extend([ReasoningDelta(text)])

    def use(self, *calls: ToolCall, whole: bool = True) -> None:
        """Call tools, each in two pieces, and end the answer if it is *whole*."""
        for index, call in enumerate(calls):
            half = len(call.arguments) // 2
            self._sink.extend(
                [
                    ToolCallDelta(index=index, id=call.id, name=call.name),
                    ToolCallDelta(index=index, arguments=call.arguments[:half]),
                    ToolCallDelta(index=index, arguments=call.arguments[half:]),
                ]
            )
        if whole:
            self.finish("tool_calls")

    def finish(self, reason: FinishReason = "stop") -> None:
        """End the answer."""
        self._sink.unregisterProducer()
        self.finished.callback(Completion(finish_reason=reason, usage=USAGE))

    def fail(self, error: GatewayError | Exception) -> None:
        """Break the answer off."""
        self._sink.unregisterProducer()
        self.finished.errback(error)

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.finished.cancel()

    def _cancel(self, _: Deferred[Completion]) -> None:
        self.cancelled = True
        if self.finish_on_cancel:
            self.finish()
        else:
            self._sink.unregisterProducer()


@implementer(IModelProvider)
class ScriptedProvider:
    """Keeps its *calls* open until the test answers them."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def stream(self, request: ModelRequest, sink: IRunSink) -> Deferred[Completion]:
        call = Call(request, sink)
        self.calls.append(call)
        sink.registerProducer(call, True)
        return call.finished

    def close(self) -> Deferred[None]:
        return succeed(None)
