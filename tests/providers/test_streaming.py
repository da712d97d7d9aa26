"""``StreamingBody`` and ``BoundedBody``, on a fake clock and a transport in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moltbot_gw.events import Completion, ModelEvent, TextDelta
from moltbot_gw.interfaces import IRunSink
from moltbot_gw.providers.streaming import (
    LINGER_SECONDS,
    BodyTooLarge,
    BoundedBody,
    ProviderSilent,
    StreamCut,
    StreamingBody,
)
from moltbot_gw.wire.openai import MAX_EVENT_BYTES, ChatStreamDecoder
from moltbot_gw.wire.providererror import ProviderError
from moltbot_gw.wire.sse import EventTooLarge
from tests.support.fake_provider import DONE, delta, event, finish, usage

IDLE = 30.0


@implementer(IRunSink)
class RecordingSink:
    """Keeps what it is fed; *pause_at* is the event at which it pauses its source."""

    def __init__(self, pause_at: int | None = None) -> None:
        self.events: list[ModelEvent] = []
        self.source: IPushProducer | None = None
        self._pause_at = pause_at

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events)

    def extend(self, events: Iterable[ModelEvent]) -> None:
        self.events.extend(events)
        if self._pause_at is not None and len(self.events) >= self._pause_at:
            self.pause()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        assert streaming
        self.source = producer
        if self._pause_at == 0:
            self.pause()

    def unregisterProducer(self) -> None:
        self.source = None

    def pause(self) -> None:
        if self.source is not None:
            self.source.pauseProducing()

    def resume(self) -> None:
        self._pause_at = None
        assert self.source is not None
        self.source.resumeProducing()


class Body:
    """A response whose body the test writes; resumes at once after ``deliverBody``.

    Twisted's own does that too (twisted#9623).
    """

    def __init__(self) -> None:
        self.transport = StringTransport()
        self._protocol: Protocol | None = None

    def deliverBody(self, protocol: Protocol) -> None:
        self._protocol = protocol
        protocol.makeConnection(self.transport)
        self.transport.producerState = "producing"

    def send(self, data: bytes) -> None:
        assert self._protocol is not None
        self._protocol.dataReceived(data)

    def close(self, reason: Callable[[], Exception] = ResponseDone) -> None:
        assert self._protocol is not None
        self._protocol.connectionLost(Failure(reason()))

    @property
    def state(self) -> str:
        return self.transport.producerState


class Reading:
    """A body that is being read into a sink."""

    def __init__(self, sink: RecordingSink | None = None) -> None:
        self.clock = Clock()
        self.sink = sink or RecordingSink()
        self.body = Body()
        response: Any = self.body
        streaming = StreamingBody(self.sink, ChatStreamDecoder(), self.clock, IDLE)
        self.done: Deferred[Completion] = streaming.read(response)
        self.failure: Exception | None = None
        self.completion: Completion | None = None
        self.done.addCallbacks(self._completed, self._failed)

    def _completed(self, completion: Completion) -> None:
        self.completion = completion

    def _failed(self, failure: Failure) -> None:
        self.failure = failure.value  # type: ignore[assignment]


def test_the_doubles_keep_the_contract() -> None:
    verifyObject(IRunSink, RecordingSink())
    reading = Reading()
    verifyObject(IPushProducer, reading.sink.source)


def test_whole_stream_gives_text_reason_and_usage() -> None:
    reading = Reading()
    reading.body.send(delta("Hel") + delta("lo"))
    reading.body.send(finish("length") + usage(7, 3) + DONE)
    assert reading.sink.events == [TextDelta("Hello")]
    assert reading.completion is not None
    assert reading.completion.finish_reason == "length"
    assert reading.completion.usage.total_tokens == 10


def test_finished_body_may_end_by_itself_so_that_its_connection_is_reused() -> None:
    reading = Reading()
    reading.body.send(delta("x") + finish() + DONE)
    assert reading.body.state == "producing"
    reading.body.close()
    assert reading.clock.getDelayedCalls() == []


def test_finished_body_that_does_not_end_is_closed() -> None:
    reading = Reading()
    reading.body.send(delta("x") + finish() + DONE)
    reading.clock.advance(LINGER_SECONDS)
    assert reading.body.state == "stopped"
    assert reading.completion is not None


def test_what_comes_after_the_end_marker_is_ignored() -> None:
    reading = Reading()
    reading.body.send(delta("x") + finish() + DONE + delta("y"))
    reading.body.send(delta("z"))
    assert reading.sink.text == "x"


@pytest.mark.parametrize("reason", [ResponseDone, ConnectionDone])
def test_finish_reason_without_done_is_a_whole_stream(
    reason: type[Exception],
) -> None:
    reading = Reading()
    reading.body.send(delta("x") + finish())
    assert reading.completion is None
    reading.body.close(reason)
    assert reading.completion is not None


def test_end_marker_without_its_blank_line_counts() -> None:
    reading = Reading()
    reading.body.send(delta("x") + DONE.rstrip())
    reading.body.close()
    assert reading.completion is not None
    assert reading.completion.finish_reason == "stop"


def test_text_without_its_blank_line_is_not_lost() -> None:
    reading = Reading()
    choice = {"delta": {"content": "x"}, "finish_reason": "stop"}
    reading.body.send(event({"choices": [choice]}).rstrip())
    reading.body.close()
    assert reading.sink.text == "x"
    assert reading.completion is not None


@pytest.mark.parametrize("reason", [ResponseDone, ConnectionDone])
def test_text_without_finish_is_a_cut_stream(reason: type[Exception]) -> None:
    reading = Reading()
    reading.body.send(delta("x"))
    reading.body.close(reason)
    assert isinstance(reading.failure, StreamCut)
    assert reading.sink.text == "x"
    assert reading.sink.source is None


def test_half_an_event_at_the_end_is_a_failure() -> None:
    reading = Reading()
    reading.body.send(delta("x")[:-10])
    reading.body.close()
    assert isinstance(reading.failure, (StreamCut, ProviderError))


def test_error_event_fails_and_closes() -> None:
    reading = Reading()
    reading.body.send(delta("x"))
    reading.body.send(event({"error": {"message": "no", "code": 500}}))
    assert isinstance(reading.failure, ProviderError)
    assert reading.body.state == "stopped"
    assert reading.sink.source is None
    assert reading.clock.getDelayedCalls() == []


def test_text_in_the_same_read_as_an_error_is_kept() -> None:
    reading = Reading()
    reading.body.send(delta("x") + event({"error": {"message": "no"}}))
    assert isinstance(reading.failure, ProviderError)
    assert reading.sink.text == "x"


def test_event_that_is_too_large_fails_and_closes() -> None:
    reading = Reading()
    for _ in range(MAX_EVENT_BYTES // 2**20 + 1):
        reading.body.send(b"data: ".ljust(2**20, b"x"))
    assert isinstance(reading.failure, EventTooLarge)
    assert reading.body.state == "stopped"


def test_silence_longer_than_the_idle_time_out_fails_and_closes() -> None:
    reading = Reading()
    reading.clock.advance(IDLE - 1)
    reading.body.send(delta("x"))
    reading.clock.advance(IDLE - 1)
    assert reading.failure is None
    reading.clock.advance(1)
    assert isinstance(reading.failure, ProviderSilent)
    assert reading.body.state == "stopped"


def test_what_came_while_the_process_stood_still_is_read_first() -> None:
    reading = Reading()
    # The clock calls in this order, as the reactor does after a stall.
    reading.clock.callLater(IDLE, reading.body.send, delta("x"))
    reading.clock.advance(IDLE)
    assert reading.failure is None
    reading.clock.advance(IDLE - 1)
    assert reading.failure is None
    reading.clock.advance(1)
    assert isinstance(reading.failure, ProviderSilent)


def test_comment_of_the_provider_is_a_sign_of_life() -> None:
    reading = Reading()
    for _ in range(5):
        reading.clock.advance(IDLE - 1)
        reading.body.send(b": still thinking\n\n")
    assert reading.failure is None


def test_paused_time_is_no_silence() -> None:
    reading = Reading()
    reading.sink.pause()
    reading.clock.advance(10 * IDLE)
    assert reading.failure is None
    reading.sink.resume()
    reading.clock.advance(IDLE - 1)
    assert reading.failure is None
    reading.clock.advance(1)
    assert isinstance(reading.failure, ProviderSilent)


def test_pausing_pauses_the_socket_and_may_be_repeated() -> None:
    reading = Reading()
    reading.sink.pause()
    reading.sink.pause()
    assert reading.body.state == "paused"
    reading.sink.resume()
    assert reading.body.state == "producing"


def test_pause_at_registration_is_not_undone() -> None:
    assert Reading(RecordingSink(pause_at=0)).body.state == "paused"


def test_pause_inside_extend_pauses_the_socket() -> None:
    reading = Reading(RecordingSink(pause_at=1))
    reading.body.send(delta("x"))
    assert reading.body.state == "paused"
    reading.body.send(delta("y"))  # was in the kernel's hands already
    assert reading.sink.text == "xy"


def test_stream_that_ends_while_it_is_paused_does_not_hold_its_socket() -> None:
    reading = Reading(RecordingSink(pause_at=1))
    reading.body.send(delta("x") + finish() + DONE)
    assert reading.completion is not None
    assert reading.body.state == "producing"
    reading.clock.advance(LINGER_SECONDS)
    assert reading.body.state == "stopped"


def test_connection_lost_while_paused_is_told() -> None:
    reading = Reading(RecordingSink(pause_at=1))
    reading.body.send(delta("x"))
    reading.body.close(ConnectionDone)
    assert isinstance(reading.failure, StreamCut)
    assert reading.clock.getDelayedCalls() == []


@pytest.mark.parametrize("paused", [False, True])
def test_cancelling_closes_the_socket(paused: bool) -> None:
    reading = Reading(RecordingSink(pause_at=1) if paused else None)
    source = reading.sink.source
    reading.body.send(delta("x"))
    reading.done.cancel()
    assert isinstance(reading.failure, CancelledError)
    assert reading.body.state == "stopped"
    assert reading.sink.source is None
    assert reading.clock.getDelayedCalls() == []
    reading.body.send(delta("y"))
    assert source is not None
    source.resumeProducing()
    source.pauseProducing()
    source.stopProducing()
    assert reading.body.state == "stopped"
    assert reading.sink.text == "x"


def test_run_that_stops_its_source_cuts_the_stream() -> None:
    reading = Reading()
    assert reading.sink.source is not None
    reading.sink.source.stopProducing()
    assert isinstance(reading.failure, StreamCut)
    assert reading.body.state == "stopped"


def test_cancelling_inside_extend_closes_once() -> None:
    class Overflowing(RecordingSink):
        def extend(self, events: Iterable[ModelEvent]) -> None:
            super().extend(events)
            reading.done.cancel()

    reading = Reading(Overflowing())
    reading.body.send(delta("x") + finish() + DONE)
    assert isinstance(reading.failure, CancelledError)
    assert reading.body.state == "stopped"


# -- BoundedBody


def _bounded(max_bytes: int = 10) -> tuple[Body, Clock, list[bytes], Deferred[bytes]]:
    body, clock = Body(), Clock()
    results: list[bytes] = []
    response: Any = body
    waiting = BoundedBody(max_bytes, clock, 5.0, whole=False).read(response)
    waiting.addCallback(results.append)
    return body, clock, results, waiting


def test_bounded_body_gives_what_came() -> None:
    body, clock, results, _ = _bounded()
    body.send(b"01234")
    body.send(b"56789")
    body.close()
    assert results == [b"0123456789"]
    assert clock.getDelayedCalls() == []


def test_bounded_body_is_cut_at_its_bound_and_closed() -> None:
    body, _, results, _ = _bounded()
    body.send(b"0123456")
    body.send(b"789abc")
    body.send(b"def")
    assert results == [b"0123456789"]
    assert body.state == "stopped"


def test_bounded_body_gives_up_in_time_and_closes() -> None:
    body, clock, results, _ = _bounded()
    body.send(b"0")
    clock.advance(5)
    assert results == [b"0"]
    assert body.state == "stopped"


def _whole(max_bytes: int = 10) -> tuple[Body, Clock, list[Any]]:
    body, clock = Body(), Clock()
    results: list[Any] = []
    response: Any = body
    waiting = BoundedBody(max_bytes, clock, 5.0, whole=True).read(response)
    waiting.addCallbacks(results.append, lambda f: results.append(f.type))
    return body, clock, results


def test_whole_body_that_is_too_large_is_a_failure() -> None:
    body, _, results = _whole()
    body.send(b"0123456789a")
    assert results == [BodyTooLarge]
    assert body.state == "stopped"


def test_whole_body_that_is_cut_is_a_failure() -> None:
    body, clock, results = _whole()
    body.send(b"0")
    body.close(lambda: ResponseFailed([]))
    assert results == [StreamCut]
    assert clock.getDelayedCalls() == []


def test_whole_body_may_take_long_but_not_pause_for_long() -> None:
    body, clock, results = _whole()
    for _ in range(5):
        body.send(b"0")
        clock.advance(4)
    assert results == []
    clock.advance(1)
    assert results == [ProviderSilent]
    assert body.state == "stopped"


def test_cancelled_bounded_body_closes() -> None:
    body, clock, results, waiting = _bounded()
    waiting.addErrback(lambda failure: failure.trap(CancelledError) and None)
    waiting.cancel()
    assert body.state == "stopped"
    assert results == []
    assert clock.getDelayedCalls() == []
