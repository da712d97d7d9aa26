"""What a client sees of a connection; time is the test's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import globalLogPublisher

from moltbot_gw.client import (
    Closed,
    ConnectFailed,
    Event,
    GatewayClosed,
    NotSent,
    RequestFailed,
    TimedOut,
)
from moltbot_gw.client.channel import (
    MAX_IN_FLIGHT,
    MAX_INBOUND_BYTES,
    MAX_SUBSCRIBERS,
)
from moltbot_gw.config import Secret
from moltbot_gw.wire.device import (
    DeviceIdentity,
    SignedContext,
    find_public_key,
    is_signed,
    signed_text,
)
from tests.client.support import World, now, start
from tests.support.fake_gateway import NONCE, TOKEN, UNAUTHORIZED, Asked, Failure


def test_the_welcome_is_typed() -> None:
    hello = World().connected().hello
    assert hello.server.version == "1.2.3"
    assert hello.snapshot.session_defaults.main_session_key == "agent:main:main"
    assert hello.policy.tick_interval_ms == 30_000


def test_connect_says_who_we_are() -> None:
    world = World()
    world.connected(display_name="desk", instance_id="i-1", password=Secret("pw"))
    [params] = world.gateway.connects
    assert params["client"] == {
        "id": "cli",
        "displayName": "desk",
        "version": params["client"]["version"],
        "platform": params["client"]["platform"],
        "mode": "cli",
        "instanceId": "i-1",
    }
    assert (params["minProtocol"], params["maxProtocol"]) == (3, 3)
    assert params["auth"] == {"token": TOKEN, "password": "pw"}
    assert params["role"] == "operator"
    assert "operator.admin" in params["scopes"]


def test_without_secrets_no_auth_is_sent() -> None:
    world = World()
    with pytest.raises(ConnectFailed):
        now(world.start(token=None))
    assert "auth" not in world.gateway.connects[0]


def test_a_device_signs_the_challenge() -> None:
    world, identity = World(), DeviceIdentity.generate()
    world.connected(identity=identity)
    device = world.gateway.connects[0]["device"]
    assert (device["id"], device["nonce"]) == (identity.id, NONCE)
    context = SignedContext(
        client_id="cli",
        client_mode="cli",
        role="operator",
        scopes=tuple(world.gateway.connects[0]["scopes"]),
        token=TOKEN,
    )
    key = find_public_key(device["publicKey"])
    assert key is not None
    text = signed_text(identity.id, context, device["signedAt"], NONCE)
    assert is_signed(key, device["signature"], text)


def test_without_a_challenge_connect_goes_out_in_a_while() -> None:
    world = World()
    world.gateway.challenges = False
    waiting = world.start(identity=DeviceIdentity.generate())
    assert world.gateway.connects == []
    world.pass_time(0.75)
    now(waiting)
    assert "nonce" not in world.gateway.connects[0]["device"]


@pytest.mark.parametrize("nonce", [7, "", "n" * 257])
def test_a_nonce_that_is_none_is_not_signed(nonce: object) -> None:
    world = World()
    world.gateway.challenges = False
    waiting = world.start(identity=DeviceIdentity.generate())
    [peer] = world.gateway.peers
    peer.event("tick", {"nonce": "not this one"})
    peer.event("connect.challenge", {"nonce": nonce})
    world.way.flush()
    now(waiting)
    assert "nonce" not in world.gateway.connects[0]["device"]


def test_a_refusal_has_the_gateways_words_and_code() -> None:
    with pytest.raises(ConnectFailed) as caught:
        now(World().start(token=Secret("wrong")))
    assert (caught.value.code, caught.value.reason) == (1008, UNAUTHORIZED)
    assert caught.value.refusal is not None
    assert caught.value.refusal.code == "INVALID_REQUEST"
    assert caught.value.is_unauthorized
    assert "wrong" not in str(caught.value)


def test_a_refusal_without_a_closing_frame_ends_all_the_same() -> None:
    world = World()
    world.gateway.greeting = lambda asked: asked.answer(Failure("X", "go away"))
    waiting = world.start()
    world.pass_time(1)
    with pytest.raises(ConnectFailed, match=r"\(1008 policy violation\): go away"):
        now(waiting)
    assert world.gateway.closes == [(4008, "connect failed")]


def test_a_gateway_that_closes_in_the_handshake() -> None:
    world = World()
    world.gateway.greeting = lambda asked: asked.peer.end(1012, "service restart")
    with pytest.raises(ConnectFailed, match=r"\(1012 service restart\): service"):
        now(world.start())


@pytest.mark.parametrize("hello", [None, {}, {"protocol": 4, "server": {}}])
def test_a_hello_that_is_none(hello: object) -> None:
    world = World()
    world.gateway.greeting = lambda asked: asked.answer(hello)
    with pytest.raises(ConnectFailed, match="not of protocol 3"):
        now(world.start())


def test_a_hello_of_another_protocol() -> None:
    world = World()
    hello = {**world.gateway.hello(), "protocol": 4}
    world.gateway.greeting = lambda asked: asked.answer(hello)
    with pytest.raises(ConnectFailed, match="not of protocol 3"):
        now(world.start())


def test_a_silent_gateway_is_given_up() -> None:
    world = World()
    world.gateway.greeting = lambda asked: None
    waiting = world.start()
    world.pass_time(9)
    world.pass_time(1)
    with pytest.raises(TimedOut, match="gateway timeout after 10000ms"):
        now(waiting)
    assert world.gateway.peers == []


def test_cancelling_drops_the_socket() -> None:
    world = World()
    world.gateway.greeting = lambda asked: None
    waiting = world.start()
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    world.way.flush()
    assert world.gateway.peers == []


# -- requests


def test_an_answer_comes_back() -> None:
    world = World(health={"ok": True})
    connection = world.connected()
    assert now(world.ask(connection, "health", {"probe": True})) == {"ok": True}
    assert now(world.ask(connection, "health")) == {"ok": True}
    assert world.gateway.requests == [("health", {"probe": True}), ("health", {})]


def test_answers_may_come_in_any_order() -> None:
    asked: list[Asked] = []
    world = World(first=asked.append, second=asked.append)
    connection = world.connected()
    waiting = [world.ask(connection, name) for name in ("first", "second")]
    for one in reversed(asked):
        one.answer(one.method)
    world.way.flush()
    assert [now(one) for one in waiting] == ["first", "second"]


def test_an_error_answer_is_raised_with_all_that_it_says() -> None:
    more = {"details": {"a": 1}, "retryable": True, "retryAfterMs": 50}
    world = World(agent=Failure("UNAVAILABLE", "Error: no", more, {"runId": "r"}))
    with pytest.raises(RequestFailed, match="Error: no") as caught:
        now(world.ask(world.connected(), "agent"))
    error = caught.value
    assert (error.code, error.details, error.retryable) == (
        "UNAVAILABLE",
        {"a": 1},
        True,
    )
    assert (error.retry_after_ms, error.payload) == (50, {"runId": "r"})


def test_an_error_without_a_reason_is_an_error() -> None:
    def fail(asked: Asked) -> None:
        asked.peer.say({"type": "res", "id": asked.id, "ok": False})

    world = World(health=fail)
    with pytest.raises(RequestFailed, match="no reason"):
        now(world.ask(world.connected(), "health"))


@pytest.mark.parametrize(
    ("expect_final", "wanted"), [(True, "ok"), (False, "accepted")]
)
def test_who_expects_the_final_answer_gets_it(expect_final: bool, wanted: str) -> None:
    def answer_twice(asked: Asked) -> None:
        asked.answer({"status": "accepted"})
        asked.answer({"status": "ok"})

    world = World(agent=answer_twice)
    waiting = world.ask(world.connected(), "agent", {}, expect_final=expect_final)
    assert now(waiting)["status"] == wanted


def test_a_final_answer_need_not_be_an_object() -> None:
    world = World(agent="done")
    assert now(world.ask(world.connected(), "agent", expect_final=True)) == "done"


def test_an_answer_that_does_not_come() -> None:
    world = World(health=lambda asked: None)
    waiting = world.ask(world.connected(), "health", timeout=3)
    world.pass_time(3)
    with pytest.raises(TimedOut, match="3000ms"):
        now(waiting)


def test_an_answer_that_is_late_is_nobodys() -> None:
    asked: list[Asked] = []
    world = World(slow=asked.append, health=1)
    connection = world.connected()
    waiting = world.ask(connection, "slow", timeout=3)
    world.pass_time(3)
    asked[0].answer("late")
    world.way.flush()
    with pytest.raises(TimedOut):
        now(waiting)
    assert now(world.ask(connection, "health")) == 1


def test_a_request_over_the_gateways_limit_is_not_sent() -> None:
    world = World()
    world.gateway.max_payload = 1000
    with pytest.raises(NotSent, match="the gateway takes 1000 at most"):
        now(world.ask(world.connected(), "agent", {"message": "x" * 1000}))
    assert world.gateway.requests == []


@pytest.mark.parametrize("value", [object(), "half \ud800 pair"])
def test_what_is_no_json_is_not_sent(value: object) -> None:
    world = World()
    with pytest.raises(NotSent, match="JSON"):
        now(world.ask(world.connected(), "agent", {"message": value}))


def test_requests_in_flight_are_bounded() -> None:
    world = World(slow=lambda asked: None)
    connection = world.connected()
    waiting = [world.ask(connection, "slow") for _ in range(MAX_IN_FLIGHT)]
    with pytest.raises(NotSent, match="256 requests"):
        now(world.ask(connection, "slow"))
    waiting[0].cancel()
    waiting[0].addErrback(lambda _: None)
    more = world.ask(connection, "slow")
    world.gateway.peers[0].end(1012, "service restart")
    world.way.flush()
    for one in (*waiting[1:], more):
        with pytest.raises(GatewayClosed, match="1012"):
            now(one)


def test_a_failed_request_may_take_another_with_it() -> None:
    world = World(slow=lambda asked: None)
    connection = world.connected()
    first, second = (world.ask(connection, "slow") for _ in range(2))
    first.addErrback(lambda _: second.cancel())
    world.gateway.peers[0].end(1012, "service restart")
    world.way.flush()
    with pytest.raises(CancelledError):
        now(second)


# -- the end


def test_a_request_after_the_end_fails_at_once() -> None:
    world = World()
    connection = world.connected()
    ending = connection.close()
    world.way.flush()
    assert now(ending) == connection.closed == Closed(1000, "")
    assert now(connection.when_closed()) == Closed(1000, "")
    with pytest.raises(GatewayClosed, match="normal closure"):
        now(world.ask(connection, "health"))
    assert now(connection.close()) == Closed(1000, "")


def test_a_request_before_the_connection_is_open_fails() -> None:
    from moltbot_gw.client.channel import Channel

    world = World()
    waiting = Channel(world.clock).request("m", {}, seconds=1, expect_final=False)
    with pytest.raises(NotSent, match="not open"):
        now(waiting)


def test_a_request_during_the_end_is_not_sent() -> None:
    world = World()
    connection = world.connected()
    connection.close(3000, "enough")
    with pytest.raises(NotSent, match="not open"):
        now(start(connection.request("health")))
    world.way.flush()
    assert connection.closed == Closed(3000, "enough")


def test_a_close_without_a_code() -> None:
    world = World()
    connection = world.connected()
    world.gateway.peers[0].sendCloseFrame()
    world.way.flush()
    assert connection.closed == Closed(1005, "")


def test_a_frame_that_is_too_large_ends_the_connection() -> None:
    world = World()
    connection = world.connected()
    world.gateway.peers[0].sendMessage(b" " * (MAX_INBOUND_BYTES + 1))
    world.way.flush()
    assert connection.closed is not None
    assert connection.closed.code == 1009


def test_a_socket_that_just_goes() -> None:
    world = World()
    connection = world.connected()
    world.gateway.peers[0].dropConnection(abort=True)
    world.way.flush()
    assert now(connection.when_closed()) == Closed(1006, "")


def test_a_silent_gateway_is_left() -> None:
    world = World()
    connection = world.connected()
    world.pass_time(59)
    assert connection.closed is None
    world.gateway.peers[0].event("tick", {"ts": 1})
    world.way.flush()
    world.pass_time(59)
    assert connection.closed is None
    world.pass_time(1)
    assert world.gateway.closes == [(4000, "tick timeout")]
    assert connection.closed == Closed(4000, "tick timeout")


def test_nothing_ticks_after_the_end() -> None:
    world = World()
    world.connected().close()
    world.way.flush()
    assert world.clock.getDelayedCalls() == []


# -- events


def _heard(world: World, connection: Any) -> list[Event]:
    heard: list[Event] = []
    connection.events(heard.append)
    return heard


def test_events_come_to_each_subscriber() -> None:
    world = World()
    connection = world.connected()
    first, second = _heard(world, connection), _heard(world, connection)
    version = {"presence": 3, "health": 4}
    world.gateway.peers[0].event("health", {"ok": True}, seq=5, stateVersion=version)
    world.way.flush()
    [event] = first
    assert second == first
    assert (event.event, event.payload, event.seq) == ("health", {"ok": True}, 5)
    assert event.state_version is not None
    assert event.state_version.presence == 3


def test_an_unsubscribed_one_hears_nothing() -> None:
    world = World()
    connection = world.connected()
    heard: list[Event] = []
    unsubscribe = connection.events(heard.append)
    unsubscribe()
    unsubscribe()
    world.gateway.peers[0].event("tick", {})
    world.way.flush()
    assert heard == []


def test_subscribers_are_bounded() -> None:
    connection = World().connected()
    for _ in range(MAX_SUBSCRIBERS):
        connection.events(lambda _: None)
    with pytest.raises(NotSent, match="64"):
        connection.events(lambda _: None)


def test_a_subscriber_that_fails_harms_no_other() -> None:
    world = World()
    connection = world.connected()
    logged: list[Any] = []
    globalLogPublisher.addObserver(logged.append)
    connection.events(lambda _: 1 / 0)  # type: ignore[arg-type,return-value]
    heard = _heard(world, connection)
    world.gateway.peers[0].event("tick", {})
    world.way.flush()
    globalLogPublisher.removeObserver(logged.append)
    assert len(heard) == 1
    assert any("log_failure" in event for event in logged)


def test_a_failing_gap_handler_harms_nobody() -> None:
    world = World()
    connection = world.connected()
    world.gaps = None  # type: ignore[assignment]
    heard = _heard(world, connection)
    for seq in (1, 3):
        world.gateway.peers[0].event("tick", {}, seq=seq)
    world.way.flush()
    assert [event.seq for event in heard] == [1, 3]


def test_missing_events_are_told() -> None:
    world = World()
    world.connected()
    for seq in (7, 8, 11, 12):
        world.gateway.peers[0].event("tick", {}, seq=seq)
    world.way.flush()
    assert world.gaps == [(9, 11)]


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "res", "id": "", "ok": True},
        {"type": "res", "ok": True},
        {"type": "event", "event": "tick", "surprise": 1},
        {"type": "req", "id": "1", "method": "m"},
        {"type": "res", "id": "nobody's", "ok": True},
        [],
        "text",
    ],
)
def test_frames_that_are_none_are_passed_over(frame: Any) -> None:
    world = World(health=1)
    connection = world.connected()
    heard = _heard(world, connection)
    world.gateway.peers[0].say(frame)
    world.gateway.peers[0].sendMessage(b"\xff{", isBinary=True)
    world.way.flush()
    assert heard == []
    assert now(world.ask(connection, "health")) == 1


# -- device tokens


def _device(world: World, tmp_path: Path) -> dict[str, Any]:
    world.gateway.device_token = "device-token-of-32-characters-00"
    path = tmp_path / "state" / "identity" / "device-auth.json"
    return {"identity": DeviceIdentity.generate(), "device_token_file": path}


def test_the_devices_token_is_used_next_time(tmp_path: Path) -> None:
    world = World()
    members = _device(world, tmp_path)
    world.connected(**members)
    path: Path = members["device_token_file"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    world.connected(**members)
    tokens = [params["auth"]["token"] for params in world.gateway.connects]
    assert tokens == [TOKEN, "device-token-of-32-characters-00"]


def test_a_stale_device_token_is_replaced_by_the_shared_one(tmp_path: Path) -> None:
    world = World()
    members = _device(world, tmp_path)
    world.connected(**members)
    world.gateway.device_token = "another-token-of-32-characters-0"
    world.connected(**members)
    tokens = [params["auth"]["token"] for params in world.gateway.connects]
    assert tokens == [TOKEN, "device-token-of-32-characters-00", TOKEN]
    assert "another-token" in members["device_token_file"].read_text()


def test_a_stale_device_token_goes_even_without_another_secret(tmp_path: Path) -> None:
    world = World()
    members = _device(world, tmp_path)
    world.connected(**members)
    world.gateway.device_token = None
    with pytest.raises(ConnectFailed):
        now(world.start(**members, token=None))
    assert "device-token" not in members["device_token_file"].read_text()


def test_a_refusal_for_another_reason_keeps_the_device_token(tmp_path: Path) -> None:
    world = World()
    members = _device(world, tmp_path)
    world.connected(**members)

    def refuse(asked: Asked) -> None:
        asked.answer(Failure("INVALID_REQUEST", "device signature expired"))
        asked.peer.end(1008, "device signature expired")

    world.gateway.greeting = refuse
    with pytest.raises(ConnectFailed, match="expired"):
        now(world.start(**members))
    assert "device-token" in members["device_token_file"].read_text()


@pytest.mark.parametrize(
    "content",
    ["", "no json", "[]", '{"deviceId": "other", "tokens": {}}', '{"tokens": 3}'],
)
def test_a_token_file_that_is_none_counts_as_empty(
    tmp_path: Path, content: str
) -> None:
    world = World()
    members = _device(world, tmp_path)
    path: Path = members["device_token_file"]
    path.parent.mkdir(parents=True)
    path.write_text(content)
    world.connected(**members)
    assert world.gateway.connects[0]["auth"]["token"] == TOKEN


def test_a_token_that_cannot_be_kept_is_no_failure(tmp_path: Path) -> None:
    world = World()
    members = _device(world, tmp_path)
    (tmp_path / "state").write_text("in the way")
    waiting: Deferred[Any] = world.start(**members)
    assert now(waiting).closed is None


def test_the_own_entries_shape_is_checked(tmp_path: Path) -> None:
    world = World()
    members = _device(world, tmp_path)
    path: Path = members["device_token_file"]
    path.parent.mkdir(parents=True)
    device_id = members["identity"].id
    path.write_text(f'{{"deviceId": "{device_id}", "tokens": {{"operator": 3}}}}')
    world.connected(**members)
    path.write_text(f'{{"deviceId": "{device_id}", "tokens": []}}')
    world.connected(**members)
    assert [p["auth"]["token"] for p in world.gateway.connects] == [TOKEN, TOKEN]
