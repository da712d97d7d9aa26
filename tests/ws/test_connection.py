"""A client that is in: its frames, its rights, and its calls beside each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests.support.control import JSON, Client, Control
from tests.support.gateway import LogTape
from tests.support.ws_frames import BINARY, frame
from tests.ws.connecting import stop

Make = Callable[..., Control]

RUN: JSON = {"message": "hi", "agentId": "main", "idempotencyKey": "k1"}


def error_of(answer: JSON) -> JSON:
    assert answer["ok"] is False
    error: JSON = answer["error"]
    return error


# -- frames

WRONG: list[tuple[str, bytes, Any]] = [
    ("a number as id", b'{"id":5}', 5),
    ("a fraction as id", b'{"id":1.5}', 1.5),
    ("a flag as id", b'{"id":true}', True),
    ("an empty id", b'{"type":"req","id":"","method":"x"}', ""),
    ("a list as id", b'{"id":[1]}', "invalid"),
    ("null as id", b'{"id":null}', "invalid"),
    ("a huge id", b'{"id":"%b"}' % (b"x" * 513), "invalid"),
    ("an unknown member", b'{"type":"req","id":"a","method":"x","zz":1}', "a"),
    ("no method", b'{"type":"req","id":"a"}', "a"),
    ("an empty method", b'{"type":"req","id":"a","method":""}', "a"),
    ("a huge method", b'{"type":"req","id":"a","method":"%b"}' % (b"x" * 129), "a"),
    ("another type", b'{"type":"res","id":"a","method":"x"}', "a"),
    ("a list", b"[]", "invalid"),
    ("a text", b'"id"', "invalid"),
    ("null", b"null", "invalid"),
]


@pytest.mark.parametrize(
    ("message", "frame_id"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_a_frame_that_is_no_request_is_answered_under_its_id(
    control: Control, message: bytes, frame_id: Any
) -> None:
    client = control.member()
    client.send(message)
    (answer,) = client.answers()
    assert answer["id"] == frame_id
    assert type(answer["id"]) is type(frame_id)
    error = error_of(answer)
    assert error["code"] == "INVALID_REQUEST"
    assert error["message"].startswith("invalid request frame: ")
    assert client.close is None


IGNORED = [
    b"",
    b"junk",
    b"{",
    b"\xef\xbb\xbf{}",
    b'{"id":%b}' % (b"9" * 5000),
    b"[" * 100_000,
    b'{"type":"req","id":"a","method":"x","params":%b1%b}'
    % (b"[" * 50_000, b"]" * 50_000),
]


ODD = [
    (b'{"id":1e999}', "invalid"),
    (b'{"id":"\\ud800"}', "invalid"),
    (b'{"type":"req","id":"a","method":"x","params":{"a":"\\udfff"}}', "a"),
]


@pytest.mark.parametrize(("message", "frame_id"), ODD)
def test_json_that_is_too_odd_is_answered_all_the_same(
    control: Control, message: bytes, frame_id: str
) -> None:
    client = control.member()
    client.send(message)
    (answer,) = client.answers()
    assert (answer["id"], error_of(answer)["code"]) == (frame_id, "INVALID_REQUEST")


@pytest.mark.parametrize("message", IGNORED, ids=range(len(IGNORED)))
def test_what_is_not_json_is_ignored(control: Control, message: bytes) -> None:
    client = control.member()
    client.send(message)
    assert client.answers() == []
    assert client.close is None


@pytest.mark.parametrize(
    ("message", "is_answered"),
    [
        (b'{"type":"req","id":"a","method":"device.pair.list"}', True),
        (b'{"type":"req","id":"\xff","method":"x"}', False),
        (b"\x00\x01\x02", False),
    ],
)
def test_binary_messages_are_read_as_text(
    control: Control, message: bytes, is_answered: bool
) -> None:
    client = control.member()
    client.connection.send(frame(BINARY, message))
    assert [answer["ok"] for answer in client.answers()] == [True] * is_answered
    assert client.close is None


def test_an_unknown_method_is_told_by_name(control: Control) -> None:
    error = error_of(control.member().call("no.such", {}))
    assert error == {"code": "INVALID_REQUEST", "message": "unknown method: no.such"}


@pytest.mark.parametrize("params", [{"x": 1}, [], "x", 5, {"limit": "x" * 5000}])
def test_wrong_parameters_are_told(control: Control, params: Any) -> None:
    error = error_of(control.member().call("device.pair.list", params))
    assert error["code"] == "INVALID_REQUEST"
    assert error["message"].startswith("invalid device.pair.list params: ")
    assert len(error["message"]) < 600


@pytest.mark.parametrize("more", [{}, {"params": None}, {"params": {}}])
def test_missing_parameters_are_no_parameters(control: Control, more: JSON) -> None:
    client = control.member()
    client.ask("device.pair.list", **more)
    (answer,) = client.answers()
    assert answer["ok"]


def test_connect_is_not_for_a_client_that_is_in(control: Control) -> None:
    error = error_of(control.member().call("connect", {}))
    assert error["message"] == "connect is only valid as the first request"
    reader = control.member(scopes=["operator.read"])
    assert error_of(reader.call("connect"))["message"] == (
        "missing scope: operator.admin"
    )


# -- rights

READ = (
    "health logs.tail channels.status status usage.status usage.cost tts.status"
    " tts.providers models.list models.status agents.list agents.show"
    " agent.identity.get skills.status voicewake.get sessions.list sessions.preview"
    " cron.list cron.status cron.runs system-presence last-heartbeat node.list"
    " node.describe chat.history"
)
WRITE = (
    "send agent agent.wait wake talk.mode tts.enable tts.disable tts.convert"
    " tts.setProvider voicewake.set node.invoke chat.send chat.abort browser.request"
)
PAIRING = (
    "node.pair.request node.pair.list node.pair.approve node.pair.reject"
    " node.pair.verify node.rename device.pair.list device.pair.approve"
    " device.pair.reject device.token.rotate device.token.revoke"
)
APPROVALS = "exec.approval.request exec.approval.resolve"
ADMIN = (
    "config.get config.set config.patch config.apply config.schema sessions.patch"
    " sessions.reset sessions.delete sessions.compact sessions.resolve chat.inject"
    " system-event set-heartbeats channels.logout cron.add update.run no.such.method"
)
NODE = "node.invoke.result node.event skills.bins"
RIGHTS = {"read": READ, "write": WRITE, "pairing": PAIRING, "approvals": APPROVALS}
HELD = {
    "read": {"read"},
    "write": {"read", "write"},
    "pairing": {"pairing"},
    "approvals": {"approvals"},
    "odd": set(),
}


@pytest.mark.parametrize("scope", HELD)
def test_each_scope_opens_its_methods_only(control: Control, scope: str) -> None:
    served = served_by(control)
    client = control.member(scopes=[f"operator.{scope}"])
    for right, methods in {**RIGHTS, "admin": ADMIN}.items():
        for method in methods.split():
            # What is not served looks like what is for admins.
            needed = right if method in served else "admin"
            expected = None if needed in HELD[scope] else needed
            assert missing_scope(client, method) == expected, method


def test_an_admin_may_do_all_that_operators_may(control: Control) -> None:
    client = control.member(scopes=["operator.admin"])
    for methods in (*RIGHTS.values(), ADMIN):
        for method in methods.split():
            assert missing_scope(client, method) is None, method


def test_who_names_no_scope_is_an_admin(control: Control) -> None:
    assert missing_scope(control.member(scopes=[]), "config.get") is None
    assert missing_scope(control.member(), "config.get") is None


def test_a_node_may_not_what_operators_may(control: Control) -> None:
    client = control.member(role="node", scopes=["operator.admin"])
    for method in f"{READ} {WRITE} {ADMIN}".split():
        error = error_of(client.call(method, {"no such": 1}))
        assert error["message"] == "unauthorized role: node"


def test_operators_may_not_what_nodes_may(control: Control) -> None:
    served = served_by(control)
    client = control.member()
    for method in NODE.split():
        message = error_of(client.call(method, {"no such": 1}))["message"]
        unknown = f"unknown method: {method}"
        assert message == (
            "unauthorized role: operator" if method in served else unknown
        )


def served_by(control: Control) -> set[str]:
    """Return what is served, advertised or not."""
    client = control.member()
    names = " ".join([*RIGHTS.values(), ADMIN, NODE]).split()
    return {name for name in names if not is_unknown(client, name)}


def is_unknown(client: Client, method: str) -> bool:
    error = client.call(method, {"no such parameter": 1}).get("error", {})
    return bool(error.get("message", "").startswith("unknown method: "))


def missing_scope(client: Client, method: str) -> str | None:
    answer = client.call(method, {"no such parameter": 1})
    message: str = answer.get("error", {}).get("message", "")
    start = "missing scope: operator."
    return message.removeprefix(start) if message.startswith(start) else None


# -- calls beside each other


def wait_for(client: Client, run_id: str, timeout_ms: int = 5000) -> str:
    return client.ask("agent.wait", {"runId": run_id, "timeoutMs": timeout_ms})


def test_answers_keep_their_ids_in_any_order(control: Control) -> None:
    client = control.member()
    late, early = wait_for(client, "a", 2000), wait_for(client, "b", 1000)
    control.advance(3.0)
    answers = client.answers()
    assert [(a["id"], a["payload"]["runId"]) for a in answers] == [
        (early, "b"),
        (late, "a"),
    ]


def test_the_same_id_twice_is_answered_twice(control: Control) -> None:
    client = control.member()
    for run_id in ("a", "b"):
        client.ask("agent.wait", {"runId": run_id, "timeoutMs": 0}, id="same")
    control.advance(0)
    assert [a["payload"]["runId"] for a in client.answers()] == ["a", "b"]


def test_requests_in_flight_are_bounded(make_control: Make) -> None:
    control = make_control({"gateway": {"limits": {"maxRequestsInFlight": 3}}})
    client, other = control.member(), control.member()
    for number in range(3):
        wait_for(client, f"run {number}")
    assert error_of(client.call("device.pair.list")) == {
        "code": "UNAVAILABLE",
        "message": "too many requests in flight",
        "retryable": True,
        "retryAfterMs": 1000,
    }
    assert other.call("device.pair.list")["ok"]
    control.advance(6.0)
    assert len(client.answers()) == 3
    assert client.call("device.pair.list")["ok"]


def test_four_calls_of_a_client_are_worked_on_at_once(control: Control) -> None:
    client, other = control.member(), control.member()
    assert client.call("device.pair.list")["ok"]
    control.hold_threads()
    held = [client.ask("config.get") for _ in range(4)]
    fifth = client.ask("device.pair.list")
    assert client.answers() == []
    assert other.call("device.pair.list")["ok"]
    control.release_threads()
    assert {answer["id"] for answer in client.answers()} == {*held, fifth}


def test_who_only_waits_for_a_run_holds_nobody_back(control: Control) -> None:
    client = control.member()
    waiting = [wait_for(client, "a") for _ in range(10)]
    assert client.call("device.pair.list")["ok"]
    control.advance(5.0)
    assert [answer["id"] for answer in client.answers()] == waiting


def test_a_client_that_goes_gives_up_its_calls(control: Control) -> None:
    client = control.member()
    wait_for(client, "a")
    control.hold_threads()
    for _ in range(6):
        client.ask("config.get")
    client.connection.hang_up()
    control.release_threads()
    assert control.clock.getDelayedCalls() == []


def test_a_client_that_goes_leaves_its_run_running(control: Control) -> None:
    client, other = control.member(), control.member()
    client.ask("agent", RUN)
    client.connection.hang_up()
    (call,) = control.model.calls
    assert not call.cancelled
    call.say("hello")
    call.finish()
    answer = other.call("agent", RUN)
    assert answer["payload"]["result"]["payloads"][0]["text"] == "hello"


# -- what goes wrong


def test_an_unexpected_failure_is_told_without_its_words(
    control: Control, log: LogTape, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run_id: str) -> None:
        raise RuntimeError("a detail")

    client = control.member()
    monkeypatch.setattr(control.agents, "when_run_ended", fail)
    answer = client.call("agent.wait", {"runId": "a"})
    assert error_of(answer) == {
        "code": "UNAVAILABLE",
        "message": "the gateway failed; its log knows more",
    }
    (problem,) = log.take_problems()
    assert "agent.wait" in problem
    assert "a detail" in problem
    assert client.call("device.pair.list")["ok"]


def test_a_result_that_cannot_be_told_is_a_failure_too(
    control: Control, log: LogTape, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = control.member()
    monkeypatch.setattr(control.agents, "find_run", lambda _: None)
    monkeypatch.setattr(control.agents, "runs_of", lambda _: [Unspeakable()])
    answer = client.call("chat.abort", {"sessionKey": "main"})
    assert error_of(answer)["code"] == "UNAVAILABLE"
    assert len(log.take_problems()) == 1


class Unspeakable:
    """A run whose id is no JSON."""

    run_id = object()

    def cancel(self, reason: Exception) -> None:
        pass


def test_a_gateway_that_stops_asks_to_come_back(control: Control) -> None:
    client = control.member()
    control.drain(0.0)
    assert error_of(client.call("agent", RUN)) == {
        "code": "UNAVAILABLE",
        "message": "The gateway is stopping.",
        "retryable": True,
        "retryAfterMs": 5000,
    }


def test_a_full_queue_asks_to_come_back(make_control: Make) -> None:
    control = make_control(max_waiting_per_session=0)
    client = control.member()
    client.ask("agent", RUN)
    error = error_of(client.call("agent", {**RUN, "idempotencyKey": "k2"}))
    assert error["code"] == "UNAVAILABLE"
    assert error["retryable"] is True
    assert error["retryAfterMs"] > 0
    control.model.calls[0].finish()


def test_a_key_of_another_request_is_the_callers_fault(control: Control) -> None:
    client = control.member()
    client.ask("agent", RUN)
    error = error_of(client.call("agent", {**RUN, "message": "something else"}))
    assert error["code"] == "INVALID_REQUEST"
    assert "retryable" not in error
    control.model.calls[0].finish()


# -- states and the end


def test_time_is_told_every_thirty_seconds(control: Control) -> None:
    client = control.member()
    control.advance(35.0)
    client.send(b"still here")
    control.advance(30.0)
    ticks = client.events("tick")
    now = int(control.unix_time() * 1000)
    assert [now - tick["payload"]["ts"] for tick in ticks] == [35_000, 5_000]
    assert ticks[0]["seq"] < ticks[1]["seq"]


def test_whoever_leaves_is_missed(control: Control) -> None:
    client, other = control.member(), control.member(client=SCREEN)
    client.messages()
    other.connection.hang_up()
    (event,) = client.events("presence")
    found = [e for e in event["payload"]["presence"] if e.get("instanceId") == "screen"]
    assert [entry["reason"] for entry in found] == ["disconnect"]
    assert set(event["stateVersion"]) == {"presence", "health"}


SCREEN = {
    "id": "test",
    "version": "1",
    "platform": "linux",
    "mode": "ui",
    "instanceId": "screen",
}


def test_a_command_that_leaves_is_not_missed(control: Control) -> None:
    client, other = control.member(), control.member()
    other.connection.hang_up()
    assert client.events("presence") == []


def test_a_stop_is_told_to_all_before_they_are_closed(control: Control) -> None:
    clients = [control.member(), control.member(role="node")]
    closing = stop(control)
    control.advance(0)
    for client in clients:
        (event,) = client.events("shutdown")
        assert event["payload"] == {"reason": "gateway stopping"}
        assert client.close == (1012, "service restart")
    control.advance(3.0)
    assert closing.called
    assert control.control.hub.members == 0


def test_who_comes_in_during_a_stop_is_closed_too(control: Control) -> None:
    client, late = control.member(), control.client()
    closing = stop(control)
    assert late.log_in()["ok"]
    assert late.close == (1012, "service restart")
    assert client.close is not None
    control.advance(3.0)
    assert closing.called


def test_a_stop_without_clients_is_over_at_once(control: Control) -> None:
    assert stop(control).called


def test_a_stop_is_told_while_runs_may_still_end(control: Control) -> None:
    client = control.member()
    client.ask("agent", RUN)
    control.control.announce_stop("gateway stopping")
    control.advance(0)
    assert client.events("shutdown")
    assert client.close is None
    control.model.calls[-1].finish()
    assert [one["ok"] for one in client.answers()] == [True]
    closing = Deferred.fromCoroutine(control.control.close())
    control.advance(0)
    assert client.close == (1012, "service restart")
    control.advance(3.0)
    assert closing.called


def test_who_comes_in_while_runs_end_is_sent_away(control: Control) -> None:
    control.control.announce_stop("gateway stopping")
    late = control.client()
    assert late.log_in()["ok"]
    assert late.close == (1012, "service restart")
