"""Clients that leave before what they have asked for is done, or do not leave."""

from __future__ import annotations

from struct import pack

import attrs
import pytest

from moltbot_gw.config import Secret
from moltbot_gw.ws.hub import GOODBYE_SECONDS
from tests.support.control import Control
from tests.support.gateway import LogTape
from tests.support.ws_frames import CLOSE, frame
from tests.ws.connecting import (
    DEVICE,
    LOCAL,
    connect_frame,
    log_in_with,
    signed,
    stop,
)

ELSEWHERE = "192.0.2.7"


def ask_and_leave(control: Control, method: str, **params: str) -> None:
    """Ask a method that writes, and leave before that is written."""
    client = control.member()
    control.hold_threads()
    client.ask(method, params)
    control.advance(0)
    client.connection.hang_up()
    control.release_threads()


def request_of_a_stranger(control: Control) -> str:
    """Return the id of a request that somebody has to approve."""
    _, answer = log_in_with(control, ELSEWHERE)
    request_id: str = answer["error"]["details"]["requestId"]
    return request_id


def test_revoked_device_is_dismissed_though_the_caller_has_left(
    control: Control,
) -> None:
    device, _ = log_in_with(control, LOCAL)
    ask_and_leave(control, "device.token.revoke", deviceId=DEVICE.id, role="operator")
    assert device.close == (1008, "device token revoked")


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_decision_is_told_though_the_caller_has_left(
    control: Control, decision: str
) -> None:
    observer = control.member()
    request_id = request_of_a_stranger(control)
    ask_and_leave(control, f"device.pair.{decision}", requestId=request_id)
    [event] = observer.events("device.pair.resolved")
    assert event["payload"]["requestId"] == request_id


def test_request_is_told_though_its_device_has_left(control: Control) -> None:
    observer = control.member()
    stranger = control.client(ELSEWHERE)
    params = signed(control, stranger)
    control.hold_threads()
    stranger.send(connect_frame(params))
    stranger.connection.hang_up()
    control.release_threads()
    [event] = observer.events("device.pair.requested")
    assert event["payload"]["deviceId"] == DEVICE.id


def test_stop_does_not_wait_for_a_client_that_does_not_go(
    control: Control, log: LogTape
) -> None:
    client = control.member()
    socket = client.connection.socket
    socket.full = True  # the kernel's buffer is, ours is not
    stopping = stop(control)
    client.connection.send(frame(CLOSE, pack("!H", 1000)))
    control.advance(GOODBYE_SECONDS - 0.1)
    assert not stopping.called
    control.advance(0.1)
    assert stopping.called
    assert log.take_problems() == ["1 clients do not go\n"]
    client.connection.hang_up()


# -- a secret that is replaced


NEW = "a-new-token-0123456789abcdef0123"


def replace_secret(control: Control) -> None:
    old = control.settings
    new = attrs.evolve(old, secret=Secret(NEW))
    control.control.take_settings(old, new)
    control.advance(0)


def test_replaced_secret_ends_the_sessions_that_it_began(control: Control) -> None:
    by_secret = control.member()
    device, _ = log_in_with(control, LOCAL)
    replace_secret(control)
    assert by_secret.close == (1008, "gateway secret changed")
    assert device.close == (1008, "gateway secret changed")
    assert not control.client().log_in()["ok"]
    assert control.client().log_in(auth={"token": NEW})["ok"]


def test_session_of_a_device_s_own_token_outlives_the_secret(control: Control) -> None:
    _, answer = log_in_with(control, LOCAL)
    token = answer["payload"]["auth"]["deviceToken"]
    device, _ = log_in_with(control, LOCAL, auth={"token": token})
    replace_secret(control)
    assert device.close is None


def test_secret_that_stays_ends_nothing(control: Control) -> None:
    member = control.member()
    control.control.take_settings(control.settings, control.settings)
    control.advance(0)
    assert member.close is None


def test_nobody_comes_in_by_a_secret_that_is_replaced_meanwhile(
    control: Control,
) -> None:
    client = control.client(LOCAL)
    control.hold_threads()
    client.send(connect_frame(signed(control, client)))
    control.advance(0)
    replace_secret(control)
    control.release_threads()
    [answer] = client.answers()
    assert "token mismatch" in answer["error"]["message"]
    assert control.control.hub.members == 0
