"""Runs that clients start, wait for, watch and stop, beside those of the HTTP edge."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from moltbot_gw.errors import ProviderFailed
from moltbot_gw.messages import AssistantMessage, ImagePart, TextPart, UserMessage
from tests.support.control import JSON, Client, Control
from tests.support.gateway import Call
from tests.support.http_client import chat_request

Make = Callable[..., Control]

MAIN = "agent:main:main"


def agent_params(key: str = "k1", **changes: Any) -> JSON:
    params = {"message": "hi", "agentId": "main", "idempotencyKey": key, **changes}
    return {name: value for name, value in params.items() if value is not None}


def send_params(key: str = "k1", **changes: Any) -> JSON:
    return {"sessionKey": "main", "message": "hi", "idempotencyKey": key, **changes}


def start(client: Client, control: Control, **changes: Any) -> tuple[str, Call]:
    """Begin a run with ``agent``; return the request's id and the call of the model."""
    wanted = client.ask("agent", agent_params(**changes))
    return wanted, control.model.calls[-1]


def play(call: Call, *texts: str) -> None:
    """Let the model say *texts* and be done."""
    call.say(*texts)
    call.finish()


def statuses(answers: list[JSON]) -> list[str]:
    return [answer["payload"]["status"] for answer in answers]


def states(client: Client) -> list[str]:
    """Return the states of the ``chat`` events that have come."""
    return [event["payload"]["state"] for event in client.events("chat")]


# -- agent


def test_a_run_is_accepted_and_answered_when_it_ends(control: Control) -> None:
    client = control.member()
    wanted, call = start(client, control)
    (accepted,) = client.answers()
    assert accepted["id"] == wanted
    assert accepted["payload"] == {
        "runId": "k1",
        "status": "accepted",
        "acceptedAt": int(control.unix_time() * 1000),
    }
    control.advance(2.0)
    play(call, "hello", " you")
    (answer,) = client.answers()
    assert answer["id"] == wanted
    assert answer["ok"] is True
    payload = answer["payload"]
    assert {**payload, "result": None} == {
        "runId": "k1",
        "status": "ok",
        "summary": "completed",
        "result": None,
    }
    result = payload["result"]
    assert result["payloads"] == [{"text": "hello you", "mediaUrl": None}]
    assert result["meta"]["durationMs"] == 2000
    assert result["meta"]["stopReason"] == "stop"
    agent_meta = result["meta"]["agentMeta"]
    assert (agent_meta["provider"], agent_meta["model"]) == ("script", "model")
    assert set(agent_meta["usage"]) >= {"input", "output", "total"}


def test_the_last_event_comes_before_the_last_answer(control: Control) -> None:
    client = control.member()
    wanted, call = start(client, control)
    client.messages()
    play(call, "hello")
    told = [m.get("event") or m["id"] for m in client.messages()]
    assert told[-3:] == ["agent", "chat", wanted]


def test_a_silent_run_has_no_payloads(control: Control) -> None:
    client = control.member()
    _, call = start(client, control)
    call.finish()
    assert client.answers()[-1]["payload"]["result"]["payloads"] == []


def test_an_answer_of_no_reply_shows_nothing(control: Control) -> None:
    client = control.member()
    _, call = start(client, control)
    play(call, "NO_", "REPLY")
    messages = client.messages()
    assert messages[-1]["payload"]["result"]["payloads"] == []
    told = [m["payload"] for m in messages if "event" in m]
    assert [one.get("stream") for one in told] == ["lifecycle", "lifecycle", None]
    assert told[-1]["state"] == "final"
    assert "message" not in told[-1]


def test_a_failed_run_is_an_error_with_a_payload(control: Control) -> None:
    client = control.member()
    _, call = start(client, control)
    call.fail(ProviderFailed("The provider is out of order."))
    answer = client.answers()[-1]
    summary = "The provider is out of order."
    assert answer["ok"] is False
    assert answer["error"] == {"code": "UNAVAILABLE", "message": summary}
    assert answer["payload"] == {"runId": "k1", "status": "error", "summary": summary}


@pytest.mark.parametrize("fails", [False, True])
def test_a_repeat_is_answered_with_the_same_end(control: Control, fails: bool) -> None:
    client = control.member()
    _, call = start(client, control)
    call.say("hello")
    if fails:
        call.fail(ProviderFailed("The provider is out of order."))
    else:
        call.finish()
    first = client.answers()[-1]
    (second,) = [control.member().call("agent", agent_params())]
    assert second["payload"]["status"] == ("error" if fails else "ok")
    assert second.get("error") == first.get("error")
    assert len(control.model.calls) == 1


def test_a_repeat_is_answered_once_if_the_run_is_over(control: Control) -> None:
    client = control.member()
    _, call = start(client, control)
    play(call, "hello")
    client.messages()
    client.ask("agent", agent_params())
    assert statuses(client.answers()) == ["ok"]


def test_a_repeat_joins_the_run_that_is_still_going(control: Control) -> None:
    client, other = control.member(), control.member()
    _, call = start(client, control)
    for each in (client, other):
        each.ask("agent", agent_params())
    assert len(control.model.calls) == 1
    play(call, "hello")
    assert statuses(client.answers()) == ["accepted", "accepted", "ok", "ok"]
    assert statuses(other.answers()) == ["accepted", "ok"]


def test_a_key_is_for_one_request_only(control: Control) -> None:
    client = control.member()
    _, call = start(client, control)
    for _ in ("while it runs", "after it"):
        error = client.call("agent", agent_params(message="other"))["error"]
        assert error["code"] == "INVALID_REQUEST"
        if not call.finished.called:
            play(call, "hello")
    assert len(control.model.calls) == 1


def test_a_key_of_a_chat_is_no_key_of_an_agent(control: Control) -> None:
    client = control.member()
    client.call("chat.send", send_params())
    error = client.call("agent", agent_params())["error"]
    assert error["code"] == "INVALID_REQUEST"
    play(control.model.calls[0])


def test_what_is_asked_reaches_the_model(control: Control) -> None:
    client = control.member()
    _, call = start(client, control, message=" hi \n", extraSystemPrompt="Be short.")
    assert call.request.messages == (UserMessage("hi"),)
    assert "Be short." in call.request.system
    play(call)


def test_a_run_may_take_as_long_as_its_caller_says(control: Control) -> None:
    client = control.member()
    _, call = start(client, control, timeout=5)
    control.advance(5.0)
    assert call.cancelled
    answer = client.answers()[-1]
    assert answer["error"]["message"] == "The run took longer than 5 seconds."


WRONG: list[tuple[JSON, str]] = [
    ({"message": " \n"}, "Message (--message) is required"),
    ({"message": ""}, "invalid agent params: "),
    ({"idempotencyKey": ""}, "invalid agent params: "),
    ({"idempotencyKey": "x" * 256}, "invalid agent params: "),
    ({"timeout": -1}, "invalid agent params: "),
    ({"zz": 1}, "invalid agent params: "),
    ({"thinking": "much"}, "invalid agent params: "),
    ({"label": "x" * 65}, "invalid agent params: "),
    ({"channel": "pigeon"}, "invalid agent params: unknown channel: pigeon"),
    ({"replyChannel": "pigeon"}, "invalid agent params: unknown channel: pigeon"),
    ({"agentId": "nobody"}, 'invalid agent params: unknown agent id "nobody"'),
    (
        {"agentId": None, "sessionKey": "agent:nobody:main"},
        'invalid agent params: unknown agent id "nobody"',
    ),
    (
        {"agentId": "beta", "sessionKey": MAIN},
        'invalid agent params: agent "beta" does not match session key agent "main"',
    ),
    ({"sessionKey": "subagent:x"}, "invalid agent params: at /sessionKey: "),
    ({"sessionKey": "x" * 513}, "invalid agent params: at /sessionKey: "),
    ({"sessionKey": "a\nb"}, "invalid agent params: at /sessionKey: "),
    ({"sessionId": "../etc"}, "invalid agent params: at /sessionId: "),
    (
        {"sessionId": "../etc", "sessionKey": "main"},
        "invalid agent params: at /sessionId: ",
    ),
    ({"agentId": None}, "Pass --to <E.164>, --session-id, or --agent"),
    ({"agentId": "", "sessionKey": " "}, "Pass --to <E.164>, --session-id, or --agent"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_a_wrong_call_starts_nothing(
    control: Control, changes: JSON, message: str
) -> None:
    answer = control.member().call("agent", agent_params(**changes))
    assert answer["error"]["code"] == "INVALID_REQUEST"
    assert answer["error"]["message"].startswith(message)
    assert control.model.calls == []


@pytest.mark.parametrize("channel", ["webchat", "last", " WhatsApp "])
def test_channels_that_the_original_knows_are_taken(
    control: Control, channel: str
) -> None:
    _, call = start(control.member(), control, channel=channel, deliver=False)
    play(call)


SESSIONS: list[tuple[JSON, str]] = [
    ({"agentId": "beta"}, "agent:beta:main"),
    ({"agentId": "Beta"}, "agent:beta:main"),
    ({"sessionKey": "work"}, "agent:main:work"),
    ({"sessionKey": "work", "agentId": "beta"}, "agent:beta:work"),
    ({"sessionKey": " agent:beta:work "}, "agent:beta:work"),
    ({"to": "+15551234567"}, MAIN),
    ({"sessionId": "unheard-of"}, "agent:main:session:unheard-of"),
]


@pytest.mark.parametrize(("changes", "stored"), SESSIONS)
def test_a_call_finds_its_session(control: Control, changes: JSON, stored: str) -> None:
    params = {"agentId": None, **changes}
    _, call = start(control.member(), control, **params)
    play(call, "hello")
    assert list(control.sessions()) == [stored]


def test_a_session_is_found_by_its_id(control: Control) -> None:
    client = control.member()
    _, call = start(client, control, agentId="beta", sessionKey="work")
    play(call, "hello")
    meta = client.answers()[-1]["payload"]["result"]["meta"]["agentMeta"]
    control.advance(1.0)
    _, call = start(client, control, key="k0", sessionKey="another")
    play(call, "hello")
    by_id: JSON = {"agentId": None, "sessionId": meta["sessionId"]}
    _, call = start(client, control, key="k2", **by_id)
    play(call, "again")
    assert len(control.history("agent:beta:work")) == 4


def test_an_unheard_of_session_id_is_taken_for_the_new_session(
    control: Control,
) -> None:
    client = control.member()
    _, call = start(client, control, sessionId="mine")
    play(call, "hello")
    meta = client.answers()[-1]["payload"]["result"]["meta"]["agentMeta"]
    assert meta["sessionId"] == "mine"


# -- agent.wait


def wait(client: Client, run_id: str = "k1", timeout_ms: int = 5000) -> str:
    return client.ask("agent.wait", {"runId": run_id, "timeoutMs": timeout_ms})


@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_whoever_waits_hears_of_the_end(control: Control, moment: str) -> None:
    client, waiter = control.member(), control.member()
    if moment == "before":
        wait(waiter)
    started_at = int(control.unix_time() * 1000)
    _, call = start(client, control)
    if moment == "during":
        wait(waiter)
    control.advance(1.0)
    play(call, "hello")
    if moment == "after":
        wait(waiter)
    (answer,) = waiter.answers()
    assert answer["payload"] == {
        "runId": "k1",
        "status": "ok",
        "startedAt": started_at,
        "endedAt": started_at + 1000,
    }


def test_whoever_waits_hears_of_a_failure(control: Control) -> None:
    client = control.member()
    _, call = start(client, control)
    call.fail(ProviderFailed("The provider is out of order."))
    payload = client.call("agent.wait", {"runId": "k1"})["payload"]
    assert payload["status"] == "error"
    assert payload["error"] == "The provider is out of order."


def test_whoever_waits_for_nothing_is_told_in_time(control: Control) -> None:
    client = control.member()
    wait(client, timeout_ms=1000)
    control.advance(0.9)
    assert client.answers() == []
    control.advance(0.1)
    (answer,) = client.answers()
    assert answer["ok"]
    assert answer["payload"] == {"runId": "k1", "status": "timeout"}


def test_by_default_one_waits_thirty_seconds(control: Control) -> None:
    client = control.member()
    client.ask("agent.wait", {"runId": "k1"})
    control.advance(29.9)
    assert client.answers() == []
    control.advance(0.1)
    assert statuses(client.answers()) == ["timeout"]


def test_no_time_to_wait_is_a_question(control: Control) -> None:
    client = control.member()
    _, call = start(client, control)
    client.messages()
    wait(client, timeout_ms=0)
    control.advance(0)
    assert statuses(client.answers()) == ["timeout"]
    play(call)


def test_who_has_waited_long_enough_does_not_end_the_run(control: Control) -> None:
    client = control.member()
    _, call = start(client, control)
    wait(client, timeout_ms=1000)
    control.advance(1.0)
    assert not call.cancelled
    play(call, "hello")
    assert statuses(client.answers())[-1] == "ok"


def test_runs_of_the_http_edge_can_be_waited_for(control: Control) -> None:
    client = control.member()
    _, call = control.chat()
    (event,) = client.events("agent")
    wait(client, event["payload"]["runId"])
    play(call, "hello")
    assert statuses(client.answers()) == ["ok"]


def test_a_run_that_never_began_has_no_start(control: Control) -> None:
    client, waiter = control.member(), control.member()
    _, call = start(client, control)
    client.call("chat.send", send_params("k2"))
    wait(waiter, "k2")
    client.call("chat.abort", {"sessionKey": "main", "runId": "k2"})
    (answer,) = waiter.answers()
    now_ms = int(control.unix_time() * 1000)
    assert answer["payload"] == {"runId": "k2", "status": "ok", "endedAt": now_ms}
    play(call)


# -- chat.send


def test_a_message_is_answered_at_once_and_then_by_events(control: Control) -> None:
    client = control.member()
    answer = client.call("chat.send", send_params())
    assert answer["payload"] == {"runId": "k1", "status": "started"}
    play(control.model.calls[0], "hello")
    *_, final = client.events("chat")
    assert final["payload"]["state"] == "final"
    assert final["payload"]["message"]["content"] == [{"type": "text", "text": "hello"}]


def test_a_message_that_is_sent_again_is_in_flight_and_then_done(
    control: Control,
) -> None:
    client = control.member()
    client.call("chat.send", send_params())
    again = client.call("chat.send", send_params())
    assert again["payload"] == {"runId": "k1", "status": "in_flight"}
    play(control.model.calls[0], "hello")
    done = client.call("chat.send", send_params())
    assert done["payload"] == {"runId": "k1", "status": "ok"}
    assert len(control.model.calls) == 1


def test_a_failed_message_that_is_sent_again_has_failed(control: Control) -> None:
    client = control.member()
    client.call("chat.send", send_params())
    control.model.calls[0].fail(ProviderFailed("The provider is out of order."))
    again = client.call("chat.send", send_params())
    assert again["ok"] is False
    assert again["error"]["code"] == "UNAVAILABLE"
    assert again["payload"] == {
        "runId": "k1",
        "status": "error",
        "summary": "The provider is out of order.",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"message": " \n"}, "message or attachment required"),
        ({"sessionKey": ""}, "invalid chat.send params: "),
        ({"sessionKey": "main" + " " * 600}, "invalid chat.send params: "),
        ({"sessionKey": "cron:x"}, "invalid chat.send params: at /sessionKey: "),
        ({"sessionKey": "agent:nobody:x"}, "invalid chat.send params: unknown agent"),
        ({"idempotencyKey": ""}, "invalid chat.send params: "),
        ({"timeoutMs": -1}, "invalid chat.send params: "),
        ({"zz": 1}, "invalid chat.send params: "),
    ],
)
def test_a_wrong_message_starts_nothing(
    control: Control, changes: JSON, message: str
) -> None:
    answer = control.member().call("chat.send", send_params(**changes))
    assert answer["error"]["code"] == "INVALID_REQUEST"
    assert answer["error"]["message"].startswith(message)
    assert control.model.calls == []


def test_a_failing_provider_is_told_by_an_event(control: Control) -> None:
    client = control.member()
    control.model.error = ProviderFailed("The provider is out of order.")
    client.ask("chat.send", send_params())
    (event,) = client.events("chat")
    assert event["payload"]["state"] == "error"
    assert event["payload"]["errorMessage"] == "The provider is out of order."


def test_a_provider_that_is_missing_is_told_at_once(make_control: Make) -> None:
    client = make_control(missing_provider=True).member()
    error = client.call("chat.send", send_params())["error"]
    assert error["code"] == "UNAVAILABLE"
    assert "not configured" in error["message"]


def test_what_happened_is_told_before_the_next_message_only(control: Control) -> None:
    client = control.member()
    assert client.call("system-event", {"text": "The disk is full."})["ok"]
    for key in ("k1", "k2"):
        client.call("chat.send", send_params(key))
        play(control.model.calls[-1], "hello")
    first, second = (call.request.messages[-1] for call in control.model.calls)
    assert isinstance(first, UserMessage)
    assert "The disk is full.\nhi" in str(first.content)
    assert second == UserMessage("hi")


# -- stopping


@pytest.mark.parametrize(
    "word", ["/stop", "stop", " ESC\n", "Abort", "wait", "exit", "interrupt"]
)
def test_a_stop_word_stops_the_runs_of_its_session(control: Control, word: str) -> None:
    client = control.member()
    client.call("chat.send", send_params())
    client.call("chat.send", send_params("k2", sessionKey="work"))
    answer = client.call("chat.send", send_params("k3", message=word))
    assert answer["payload"] == {"ok": True, "aborted": True, "runIds": ["k1"]}
    mine, other = control.model.calls
    assert mine.cancelled
    assert not other.cancelled
    play(other)


def test_a_stop_word_without_a_run_stops_nothing(control: Control) -> None:
    answer = control.member().call("chat.send", send_params(message="stop"))
    assert answer["payload"] == {"ok": True, "aborted": False, "runIds": []}


def test_a_word_in_a_sentence_stops_nothing(control: Control) -> None:
    answer = control.member().call("chat.send", send_params(message="stop it"))
    assert answer["payload"]["status"] == "started"
    play(control.model.calls[0])


def test_a_stop_word_beside_a_picture_stops_nothing(make_control: Make) -> None:
    control = make_control(images=True)
    params = send_params(message="stop", attachments=[{"content": b64(PNG)}])
    answer = control.member().call("chat.send", params)
    assert answer["payload"]["status"] == "started"
    play(control.model.calls[0])


@pytest.mark.parametrize(
    ("params", "stopped"),
    [
        ({"sessionKey": "main", "runId": "k1"}, ["k1"]),
        ({"sessionKey": MAIN, "runId": "k1"}, ["k1"]),
        ({"sessionKey": "main"}, ["k1", "k2"]),
        ({"sessionKey": "main", "runId": "unknown"}, []),
        ({"sessionKey": "quiet"}, []),
    ],
)
def test_runs_are_aborted_by_id_or_by_session(
    control: Control, params: JSON, stopped: list[str]
) -> None:
    client = control.member()
    client.call("chat.send", send_params())
    client.ask("agent", agent_params("k2"))
    client.call("chat.send", send_params("k3", sessionKey="work"))
    answer = client.call("chat.abort", params)
    assert answer["payload"] == {
        "ok": True,
        "aborted": bool(stopped),
        "runIds": stopped,
    }
    for call in control.model.calls:
        if not call.cancelled:
            play(call)


def test_a_run_of_another_session_is_not_aborted(control: Control) -> None:
    client = control.member()
    client.call("chat.send", send_params())
    error = client.call("chat.abort", {"sessionKey": "work", "runId": "k1"})["error"]
    assert error == {
        "code": "INVALID_REQUEST",
        "message": "runId does not match sessionKey",
    }
    assert not control.model.calls[0].cancelled
    play(control.model.calls[0])


@pytest.mark.parametrize("by", ["abort", "word"])
def test_all_are_told_why_a_run_was_aborted(control: Control, by: str) -> None:
    client, other = control.member(), control.member()
    client.call("chat.send", send_params())
    if by == "abort":
        client.ask("chat.abort", {"sessionKey": "main"})
    else:
        client.ask("chat.send", send_params("k2", message="stop"))
    *_, event = other.events("chat")
    assert event["payload"]["state"] == "aborted"
    assert event["payload"]["stopReason"] == ("rpc" if by == "abort" else "stop")


def test_an_aborted_run_is_answered_with_what_was_said(control: Control) -> None:
    client = control.member()
    _, call = start(client, control)
    call.say("half an")
    client.messages()
    client.ask("chat.abort", {"sessionKey": "main"})
    result = client.answers()[0]["payload"]["result"]
    assert result["payloads"][0]["text"] == "half an"
    assert result["meta"]["aborted"] is True


def test_a_run_that_is_aborted_before_it_began_has_said_nothing(
    control: Control,
) -> None:
    client = control.member()
    _, call = start(client, control)
    wanted = client.ask("agent", agent_params("k2"))
    client.ask("chat.abort", {"sessionKey": "main", "runId": "k2"})
    (answer,) = [
        answer
        for answer in client.answers()
        if answer["id"] == wanted and answer["payload"]["status"] == "ok"
    ]
    result = answer["payload"]["result"]
    assert result == {"payloads": [], "meta": {"durationMs": 0, "aborted": True}}
    play(call)


def test_runs_of_the_http_edge_can_be_aborted(control: Control) -> None:
    client = control.member()
    connection, call = control.chat({"X_Moltbot_Session_Key": "work"})
    answer = client.call("chat.abort", {"sessionKey": "work"})
    assert answer["payload"]["aborted"] is True
    assert call.cancelled
    assert connection.answer().status >= 400


# -- events


def test_every_member_hears_of_every_run(control: Control) -> None:
    clients = [control.member(), control.member(role="node")]
    reader = control.member(scopes=["operator.read"])
    clients.append(reader)
    _, call = start(clients[0], control)
    control.advance(1.0)
    play(call, "hello")
    for client in clients:
        told = client.events("agent", "chat")
        kinds = [(e["event"], _kind(e["payload"])) for e in told]
        assert kinds == [
            ("agent", "start"),
            ("agent", "assistant"),
            ("chat", "delta"),
            ("agent", "end"),
            ("chat", "final"),
        ]


def _kind(payload: JSON) -> Any:
    if "state" in payload:
        return payload["state"]
    return payload["data"].get("phase", payload["stream"])


def test_runs_of_the_http_edge_are_told_of(control: Control) -> None:
    client = control.member()
    connection, call = control.chat({"X_Moltbot_Session_Key": "work"}, stream=True)
    control.advance(1.0)
    play(call, "hello")
    events = client.events("agent", "chat")
    assert {event["payload"]["sessionKey"] for event in events} == {"work"}
    assert events[-1]["payload"]["state"] == "final"
    assert connection.stream().text == "hello"


def test_the_numbers_of_events_go_up(control: Control) -> None:
    client = control.member()
    _, call = start(client, control)
    for text in ("a", "b", "c"):
        control.advance(1.0)
        call.say(text)
    call.finish()
    events = client.events("agent", "chat", "health", "presence", "tick")
    numbers = [event["seq"] for event in events]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    inside = [event["payload"]["seq"] for event in events if event["event"] == "agent"]
    assert inside == sorted(set(inside))


@pytest.mark.parametrize("key", ["main", MAIN, " main ", "agent:MAIN:main"])
def test_a_chat_hears_its_own_spelling_of_the_session(
    control: Control, key: str
) -> None:
    client = control.member()
    client.call("chat.send", send_params(sessionKey=key))
    play(control.model.calls[0], "hello")
    assert {e["payload"]["sessionKey"] for e in client.events("chat")} == {key}
    assert list(control.sessions()) == [MAIN]


def test_an_agent_hears_its_own_spelling_of_the_session(control: Control) -> None:
    client = control.member()
    _, call = start(client, control, sessionKey=" work ")
    play(call, "hello")
    assert {e["payload"]["sessionKey"] for e in client.events("agent")} == {"work"}


def test_whoever_comes_in_the_middle_hears_the_whole_text(control: Control) -> None:
    first = control.member()
    _, call = start(first, control)
    call.say("Hel")
    control.advance(1.0)
    late = control.member()
    call.say("lo")
    control.advance(1.0)
    call.finish()
    events = late.events("chat")
    texts = [e["payload"]["message"]["content"][0]["text"] for e in events]
    assert texts[0] == "Hello"
    assert texts[-1] == "Hello"
    assert states(first)[-1] == "final"


def test_whoever_comes_in_the_middle_begins_where_all_others_are(
    control: Control,
) -> None:
    _, call = start(control.member(), control)
    call.say("He")
    call.say("l")  # too soon after the last event, so it waits
    late = control.member()
    call.say("lo")
    control.advance(1.0)
    (event,) = late.events("agent")
    assert event["payload"]["data"] == {"text": "Hello", "delta": "Hello"}
    call.finish()


def test_a_run_that_nobody_watched_is_joined_by_whoever_comes(
    control: Control,
) -> None:
    _, call = control.chat()
    call.say("Hel")
    client = control.member()
    control.advance(1.0)
    play(call, "lo")
    *_, final = client.events("chat")
    assert final["payload"]["message"]["content"][0]["text"] == "Hello"


# -- one session, two edges


def test_both_edges_take_turns_in_one_session(control: Control) -> None:
    client = control.member()
    wanted, first = start(client, control, sessionKey="work")
    connection = control.send(_completion("second"))
    assert len(control.model.calls) == 1
    play(first, "one")
    second = control.model.calls[1]
    assert [type(message) for message in second.request.messages] == [
        UserMessage,
        AssistantMessage,
        UserMessage,
    ]
    client.ask("chat.send", send_params("k3", sessionKey=WORK, message="third"))
    assert len(control.model.calls) == 2
    play(second, "two")
    play(control.model.calls[2], "three")
    assert connection.answer().status == 200
    said = [
        message.content if isinstance(message, UserMessage) else message.text
        for message in control.history(WORK)
    ]
    assert said == ["hi", "one", "second", "two", "third", "three"]
    assert wanted in [answer["id"] for answer in client.answers()]


WORK = "agent:main:work"


def _completion(text: str) -> bytes:
    messages = [{"role": "user", "content": text}]
    return chat_request({"X_Moltbot_Session_Key": WORK}, messages=messages)


# -- attachments

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
PICTURES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0" + bytes(20),
    "image/gif": b"GIF89a" + bytes(20),
    "image/webp": b"RIFF\0\0\0\0WEBP" + bytes(20),
}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("mime", PICTURES)
@pytest.mark.parametrize("prefix", ["", "data:text/plain;base64,"])
def test_a_picture_is_known_by_its_first_bytes(
    make_control: Make, mime: str, prefix: str
) -> None:
    control = make_control(images=True)
    data = PICTURES[mime]
    item = {"type": "image", "mimeType": "text/plain", "content": prefix + b64(data)}
    control.member().ask("agent", agent_params(attachments=[item]))
    (call,) = control.model.calls
    (message,) = call.request.messages
    picture = ImagePart(f"data:{mime};base64,{b64(data)}")
    assert message == UserMessage((TextPart("hi"), picture))
    play(call)


def test_a_picture_needs_no_words(make_control: Make) -> None:
    control = make_control(images=True)
    client = control.member()
    params = send_params(message="", attachments=[{"content": b64(PNG)}])
    assert client.call("chat.send", params)["payload"]["status"] == "started"
    picture = ImagePart(f"data:image/png;base64,{b64(PNG)}")
    assert control.model.calls[0].request.messages == (UserMessage((picture,)),)
    play(control.model.calls[0])


def test_a_model_that_sees_nothing_is_shown_no_picture(control: Control) -> None:
    params = send_params(attachments=[{"content": b64(PNG)}])
    error = control.member().call("chat.send", params)["error"]
    assert error["code"] == "INVALID_REQUEST"
    assert "does not take images" in error["message"]


def test_what_is_no_picture_is_left_out(control: Control) -> None:
    items: list[JSON] = [
        {"content": b64(b"%PDF-1.7"), "mimeType": "image/png"},
        {"fileName": "without content"},
        {"content": {"not": "text"}},
        {"content": ""},
    ]
    control.member().ask("agent", agent_params(attachments=items))
    (call,) = control.model.calls
    assert call.request.messages == (UserMessage("hi"),)
    play(call)


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ({"content": "A"}, "attachment-1: invalid base64 content"),
        ({"content": "AA*="}, "attachment-1: invalid base64 content"),
        ({"content": "\u00e9\u00e9\u00e9\u00e9"}, "attachment-1: invalid base64"),
        ({"content": "A", "type": "image"}, "image: invalid base64 content"),
        ({"content": "A", "type": "i", "fileName": "f"}, "f: invalid base64 content"),
    ],
)
def test_a_bad_attachment_is_told(control: Control, item: JSON, problem: str) -> None:
    client = control.member()
    answer = client.call("agent", agent_params(attachments=[item]))
    assert answer["error"]["code"] == "INVALID_REQUEST"
    assert answer["error"]["message"].startswith(f"Error: attachment {problem}")
    answer = client.call("chat.send", send_params(attachments=[item]))
    assert answer["error"]["message"].startswith(f"Error: attachment {problem}")
    assert control.model.calls == []


def test_an_attachment_may_not_have_other_members(control: Control) -> None:
    params = agent_params(attachments=[{"content": b64(PNG), "x": 1}])
    error = control.member().call("agent", params)["error"]
    assert error["message"].startswith("invalid agent params: ")
