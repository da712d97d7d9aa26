"""One client of the gateway protocol, from its challenge to its close."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from moltbot_gw.agents.ids import new_uuid
from moltbot_gw.errors import GatewayError
from moltbot_gw.metering import Meters
from moltbot_gw.peers import Peer
from moltbot_gw.unheld import from_coroutine
from moltbot_gw.wire.connect import HelloOk
from moltbot_gw.wire.frames import (
    BadFrame,
    ErrorShape,
    NotJSON,
    RequestFrame,
    encode_failure,
    encode_payload,
    encode_result,
    event_head,
    event_tail,
    parse_request,
)
from moltbot_gw.ws.calls import Call, Caller, MethodError, MethodTable, shape_of
from moltbot_gw.ws.handshake import Admission, Applicant, Doorkeeper
from moltbot_gw.ws.hub import Hub
from moltbot_gw.ws.machine import Gone, Inputs, build_machine
from moltbot_gw.ws.outbox import Outbox
from moltbot_gw.ws.refusals import TOO_EARLY, Closing, Refusal, not_connect
from moltbot_gw.ws.slots import Slots
from moltbot_gw.ws.socket import Socket
from moltbot_gw.ws.starting import MAX_CLIENT_CHARS

_log = Logger()

MAX_PAYLOAD = 512 * 1024
"""Bytes of one message of a client that is ready; before that, an eighth of it."""

HANDSHAKE_SECONDS = 10.0
MAX_EARLY = 16
"""Requests that may wait for the decision about ``connect``."""

CALLS_AT_ONCE = 4
"""Calls of one client that are worked on at the same time; those that only wait for a
run do not count.  It bounds the large answers that lie in memory: while the client does
not read, no further call is begun."""


@attrs.frozen(kw_only=True, eq=False)
class Services:
    """What every connection needs and none owns."""

    clock: IReactorTime
    unix_time: Callable[[], float]
    hub: Hub
    doorkeeper: Doorkeeper
    methods: MethodTable
    greet: Callable[[Admission], HelloOk]
    admitted: Callable[[Admission], None]
    max_in_flight: Callable[[], int]
    meters: Meters


class Connection:
    """A socket's ``Handler``, the machine's ``Acts``, and a ``Member`` of the hub.

    The machine decides what an input means; here is what is done then.
    """

    caller: Caller

    def __init__(self, services: Services, socket: Socket, peer: Peer) -> None:
        self._services = services
        self._socket = socket
        self._applicant = Applicant(conn_id=new_uuid(), nonce=new_uuid(), peer=peer)
        self._machine: Inputs = build_machine(self)
        self._deadline: IDelayedCall | None = None
        self._connect_id = ""
        self._is_member = False
        self._early: list[RequestFrame] = []
        self._in_flight: set[Deferred[None]] = set()
        self._slots = Slots(CALLS_AT_ONCE)
        self._held_back: list[Deferred[None]] = []
        self.outbox = Outbox(socket)

    # -- Handler: the socket tells

    def opened(self) -> None:
        """The WebSocket is open."""
        self._machine.opened()

    def received(self, payload: bytes, is_binary: bool) -> None:
        """A message has come; binary ones are read as UTF-8 too."""
        try:
            frame = parse_request(payload)
        except (NotJSON, BadFrame) as problem:
            self._machine.babbled(problem)
        else:
            self._machine.asked(frame)

    def writable(self) -> None:
        """The client reads again."""
        self.outbox.flush()
        while self._held_back and not self.outbox.is_blocked:
            self._held_back.pop(0).callback(None)

    def closed(self, code: int | None, reason: str) -> None:
        """The connection is gone."""
        self._machine.lost()
        self._machine = Gone()

    # -- Member: the hub tells

    def say_goodbye(self, closing: Closing) -> None:
        """Close in good order."""
        self._machine.dismissed(closing)

    # -- Acts: the machine tells

    def challenge(self) -> None:
        """Send the nonce, and give the client its time."""
        services = self._services
        self._socket.limit(MAX_PAYLOAD // 8)
        self._deadline = services.clock.callLater(
            HANDSHAKE_SECONDS, self._machine.expired
        )
        now_ms = int(services.unix_time() * 1000)
        payload = {"nonce": self._applicant.nonce, "ts": now_ms}
        self._socket.send(
            event_head("connect.challenge"), encode_payload(payload), event_tail(None)
        )

    def judge(self, frame: RequestFrame) -> None:
        """Decide about ``connect`` in a coroutine of its own."""
        self._connect_id = frame.id
        self._run(self._judge(frame))

    def keep(self, frame: RequestFrame) -> None:
        """Keep a request of a client that does not wait for its answer."""
        self._early.append(frame)
        if len(self._early) > MAX_EARLY:
            self._machine.dismissed(TOO_EARLY)

    def welcome(self, admission: Admission) -> None:
        """Say hello, take part, do what was asked early."""
        self._stop_deadline()
        self.caller = admission.caller
        self._socket.limit(MAX_PAYLOAD)
        # Greeted before it takes part, so that no event comes before the hello.
        self._services.admitted(admission)
        hello = self._services.greet(admission)
        _log.info(
            "client {client} connected as {role} from {address}: {conn_id}{named}",
            named=f" key={key}" if (key := self.caller.principal.name) else "",
            key=key,
            client=self.caller.client.id[:MAX_CLIENT_CHARS],
            role=self.caller.role,
            address=self.caller.address or "this machine",
            conn_id=self.caller.conn_id,
        )
        self.outbox.answer(encode_result(self._connect_id, hello))
        self._services.hub.add(self)
        self._is_member = True
        early, self._early = self._early, []
        for frame in early:
            self.call(frame)

    def reject(self, refusal: Refusal) -> None:
        """Tell why, and close."""
        self._stop_deadline()
        _log.info(
            "a client from {address} was refused: {reason}",
            address=self._applicant.peer.address,
            reason=refusal.error.message,
        )
        self._socket.send(encode_failure(self._connect_id, refusal.error))
        self._socket.close(refusal.close_code, refusal.error.message)

    def call(self, frame: RequestFrame) -> None:
        """Do what *frame* asks, beside other calls; refuse one that is too many."""
        if len(self._in_flight) >= self._services.max_in_flight():
            error = ErrorShape(
                code="UNAVAILABLE",
                message="too many requests in flight",
                retryable=True,
                retry_after_ms=1000,
            )
            self.outbox.answer(encode_failure(frame.id, error))
        else:
            self._run(self._call(frame))

    def correct(self, problem: NotJSON | BadFrame) -> None:
        """Answer a frame that is wrong; what is not JSON is not worth an answer."""
        if isinstance(problem, BadFrame):
            error = ErrorShape(
                code="INVALID_REQUEST",
                message=f"invalid request frame: {problem.problem}",
            )
            self.outbox.answer(encode_failure(problem.frame_id, error))

    def close(self, closing: Closing) -> None:
        """Send a close frame."""
        self._stop_deadline()
        self._socket.close(closing.code, closing.reason)

    def release(self) -> None:
        """Stop everything that was done for the client; runs go on by themselves."""
        self._stop_deadline()
        if self._is_member:
            self._services.hub.remove(self)
            _log.info("client {conn_id} has gone", conn_id=self.caller.conn_id)
        self.outbox.clear()
        self._early.clear()
        for call in tuple(self._in_flight):
            call.cancel()

    # -- inside

    async def _judge(self, frame: RequestFrame) -> None:
        try:
            if frame.method != "connect":
                raise not_connect()
            admission = await self._services.doorkeeper.admit(
                frame.params, self._applicant
            )
        except Refusal as refusal:
            self._machine.refused(refusal)
        else:
            self._machine.admitted(admission)

    async def _call(self, frame: RequestFrame) -> None:
        try:
            result = await self._result(frame)
            answer = encode_result(frame.id, result)
        except MethodError as error:
            answer = encode_failure(frame.id, error.shape, error.payload)
        except CancelledError:
            raise
        except GatewayError as error:
            answer = encode_failure(frame.id, shape_of(error))
        except Exception:
            _log.failure("method {method} failed", method=frame.method)
            shape = ErrorShape(
                code="UNAVAILABLE", message="the gateway failed; its log knows more"
            )
            answer = encode_failure(frame.id, shape)
        self.outbox.answer(answer)

    async def _result(self, frame: RequestFrame) -> Any:
        method = self._services.methods.find(frame.method, self.caller)
        params = method.parse(frame.params)
        if method.metered:
            self._services.meters.take(self.caller.principal)
        call = Call(
            caller=self.caller,
            answer_early=lambda payload: self.outbox.answer(
                encode_result(frame.id, payload)
            ),
        )
        if method.waits:
            return await method.handle(call, params)
        await self._slots.take()
        try:
            await self._when_heard()
            return await method.handle(call, params)
        finally:
            self._slots.give_back()

    def _when_heard(self) -> Deferred[None]:
        """Fire when the client can take an answer; till then none is prepared."""
        if not self.outbox.is_blocked:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._held_back.remove)
        self._held_back.append(waiter)
        return waiter

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        running = from_coroutine(work)
        self._in_flight.add(running)
        running.addErrback(self._failed)
        running.addBoth(lambda _: self._in_flight.discard(running))

    def _failed(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            _log.failure("a connection failed", failure)
            self._socket.abort()

    def _stop_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
