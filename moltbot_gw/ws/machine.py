"""The life of a connection, as a table.

opening
    HTTP has been left, the WebSocket is not open yet.
awaiting connect
    The challenge is out; the first request must be ``connect``, within a time.
authenticating
    ``connect`` is being decided; further requests are kept for later.
ready
    Requests are calls, and events go out.
closing
    A close frame is out, or the connection is lost; nothing counts any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from automat import TypeMachineBuilder

from moltbot_gw.wire.frames import BadFrame, NotJSON, RequestFrame
from moltbot_gw.ws.handshake import Admission
from moltbot_gw.ws.refusals import BAD_FRAME, NOT_JSON, TOO_LATE, Closing, Refusal

if TYPE_CHECKING:
    from automat._typed import TypedState


class Inputs(Protocol):
    """What can happen to a connection."""

    def opened(self) -> None:
        """The WebSocket is open."""

    def asked(self, frame: RequestFrame) -> None:
        """A request has come."""

    def babbled(self, problem: NotJSON | BadFrame) -> None:
        """A message has come that is no request."""

    def admitted(self, admission: Admission) -> None:
        """``connect`` was accepted."""

    def refused(self, refusal: Refusal) -> None:
        """``connect`` was refused."""

    def expired(self) -> None:
        """The time for the handshake is over."""

    def dismissed(self, farewell: Closing) -> None:
        """We do not want the client any longer."""

    def lost(self) -> None:
        """The connection is gone."""


class Gone:
    """Takes the machine's place when the connection is lost: nothing counts any more.

    A machine and its ``Acts`` are a circle, which would wait for the collector.
    """

    opened = asked = babbled = admitted = staticmethod(lambda *_: None)
    refused = expired = dismissed = lost = staticmethod(lambda *_: None)


class Acts(Protocol):
    """What a connection does about it."""

    def challenge(self) -> None:
        """Send the nonce to sign."""

    def judge(self, frame: RequestFrame) -> None:
        """Begin to decide about ``connect``."""

    def keep(self, frame: RequestFrame) -> None:
        """Keep a request until ``connect`` is decided."""

    def welcome(self, admission: Admission) -> None:
        """Say hello and begin."""

    def reject(self, refusal: Refusal) -> None:
        """Answer ``connect`` with a refusal, and close."""

    def call(self, frame: RequestFrame) -> None:
        """Do what a request asks."""

    def correct(self, problem: NotJSON | BadFrame) -> None:
        """Answer a message that is no request."""

    def close(self, closing: Closing) -> None:
        """Send a close frame."""

    def release(self) -> None:
        """Give back everything that the connection holds."""


def _build() -> TypeMachineBuilder[Inputs, Acts]:
    builder = TypeMachineBuilder(Inputs, Acts)  # type: ignore[type-abstract]
    opening = builder.state("opening")
    awaiting = builder.state("awaiting connect")
    authenticating = builder.state("authenticating")
    ready = builder.state("ready")
    closing = builder.state("closing")
    _build_handshake(opening, awaiting, authenticating, ready, closing)

    @ready.upon(Inputs.asked).loop()
    def asked(inputs: Inputs, acts: Acts, frame: RequestFrame) -> None:
        acts.call(frame)

    @ready.upon(Inputs.babbled).loop()
    def babbled(inputs: Inputs, acts: Acts, problem: NotJSON | BadFrame) -> None:
        acts.correct(problem)

    for state in (opening, awaiting, authenticating, ready):

        @state.upon(Inputs.dismissed).to(closing)
        def dismissed(inputs: Inputs, acts: Acts, farewell: Closing) -> None:
            acts.close(farewell)

        @state.upon(Inputs.lost).to(closing)
        def lost(inputs: Inputs, acts: Acts) -> None:
            acts.release()

    @closing.upon(Inputs.lost).loop()
    def lost_at_last(inputs: Inputs, acts: Acts) -> None:
        acts.release()

    for late in (Inputs.opened, Inputs.asked, Inputs.babbled, Inputs.admitted):
        closing.upon(late).loop().returns(None)
    for moot in (Inputs.refused, Inputs.expired, Inputs.dismissed):
        closing.upon(moot).loop().returns(None)
    return builder


def _build_handshake(
    opening: TypedState[Inputs, Acts],
    awaiting: TypedState[Inputs, Acts],
    authenticating: TypedState[Inputs, Acts],
    ready: TypedState[Inputs, Acts],
    closing: TypedState[Inputs, Acts],
) -> None:
    @opening.upon(Inputs.opened).to(awaiting)
    def opened(inputs: Inputs, acts: Acts) -> None:
        acts.challenge()

    @awaiting.upon(Inputs.asked).to(authenticating)
    def asked_first(inputs: Inputs, acts: Acts, frame: RequestFrame) -> None:
        acts.judge(frame)

    @authenticating.upon(Inputs.asked).loop()
    def asked_early(inputs: Inputs, acts: Acts, frame: RequestFrame) -> None:
        acts.keep(frame)

    @authenticating.upon(Inputs.admitted).to(ready)
    def admitted(inputs: Inputs, acts: Acts, admission: Admission) -> None:
        acts.welcome(admission)

    @authenticating.upon(Inputs.refused).to(closing)
    def refused(inputs: Inputs, acts: Acts, refusal: Refusal) -> None:
        acts.reject(refusal)

    for state in (awaiting, authenticating):

        @state.upon(Inputs.babbled).to(closing)
        def babbled(inputs: Inputs, acts: Acts, problem: NotJSON | BadFrame) -> None:
            acts.close(NOT_JSON if isinstance(problem, NotJSON) else BAD_FRAME)

        @state.upon(Inputs.expired).to(closing)
        def expired(inputs: Inputs, acts: Acts) -> None:
            acts.close(TOO_LATE)


build_machine = _build().build()
"""Make the machine of one connection from its ``Acts``."""
