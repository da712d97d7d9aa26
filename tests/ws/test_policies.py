"""What may be sent where, what is kept for whom, and what the operator hears."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moltbot_gw.ws import outbox
from tests.support.control import Control, connect_params
from tests.support.device import make_identity, sign_connect
from tests.support.gateway import LogTape
from tests.support.http_client import chat_request

Make = Callable[..., Control]
OWN = "agent:main:session:no-such-id"


def agent(control: Control, key: str, **more: object) -> str:
    """Run an agent to its end; return the answer's text."""
    client = control.member()
    params = {"message": "hi", "idempotencyKey": key, **more}
    wanted = client.ask("agent", params)
    call = control.model.calls[-1]
    call.say(f"answer to {key}")
    call.finish()
    (_, last) = [m for m in client.messages() if m.get("id") == wanted]
    return str(last["payload"]["result"]["payloads"][0]["text"])


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("chat.send", {"sessionKey": "main", "message": "x", "idempotencyKey": "k"}),
        ("agent", {"agentId": "main", "message": "x", "idempotencyKey": "k"}),
    ],
)
def test_nothing_is_sent_to_a_session_whose_policy_denies_it(
    control: Control, method: str, params: dict[str, str]
) -> None:
    client = control.member()
    for policy in ("deny", "allow"):
        patch = {"key": "main", "sendPolicy": policy}
        assert client.call("sessions.patch", patch)["ok"]
        error = client.call(method, params).get("error")
        said = error and error["message"]
        assert said == ("send blocked by session policy" if policy == "deny" else None)
    control.model.calls[-1].finish()


def test_session_id_that_nobody_knows_is_a_session_of_its_own(
    control: Control,
) -> None:
    agent(control, "k1", agentId="main")
    agent(control, "k2", agentId="main", sessionId="no-such-id")
    assert len(control.history("agent:main:main")) == 2
    agent(control, "k3", sessionId="no-such-id")
    assert control.sessions().keys() == {"agent:main:main", OWN}
    assert len(control.history(OWN)) == 4


def test_run_of_an_earlier_process_has_ended_for_who_waits(
    make_control: Make, control: Control
) -> None:
    agent(control, "k1", agentId="main")
    later = make_control(store=control.store)
    waited = later.member().call("agent.wait", {"runId": "k1", "timeoutMs": 0})
    assert waited["payload"]["status"] == "ok"


def test_replay_tells_what_ran_and_when(control: Control) -> None:
    client = control.member()
    agent(control, "k1", agentId="main")
    params = {"message": "hi", "idempotencyKey": "k1", "agentId": "main"}
    result = client.call("agent", params)["payload"]["result"]
    assert set(result["meta"]["agentMeta"]) >= {"sessionId", "provider", "model"}


def test_news_that_come_while_others_are_told_wait_for_the_next_message(
    control: Control,
) -> None:
    client = control.member()
    client.call("system-event", {"text": "news A"})
    send = {"sessionKey": "main", "message": "a", "idempotencyKey": "k1"}
    client.call("chat.send", send)
    client.call("system-event", {"text": "news B"})
    control.model.calls[-1].finish()
    client.call("chat.send", {**send, "message": "b", "idempotencyKey": "k2"})
    control.model.calls[-1].finish()
    told = [str(call.request.messages[-1]) for call in control.model.calls]
    assert [("news A" in text, "news B" in text) for text in told] == [
        (True, False),
        (False, True),
    ]


def test_whoever_reads_too_slowly_for_what_is_kept_for_him_is_cut(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MAX_KEPT_BYTES", 1000)
    reader, slow = control.member(), control.member()
    slow.stall()
    for number in range(3):
        control.send(chat_request())
        call = control.model.calls[-1]
        call.say("x" * 400)
        call.finish()
        control.advance(0.1)
        assert (slow.closed_with is None) == (number < 3)
    slow.read_on()
    assert slow.close == (1008, "slow consumer")
    assert reader.close is None


def test_token_that_is_replaced_closes_its_connections(control: Control) -> None:
    admin, identity = control.member(), make_identity(1)
    client = control.client(peer=None)
    nonce = client.messages()[0]["payload"]["nonce"]
    now_ms = int(control.unix_time() * 1000)
    params = sign_connect(identity, connect_params(), signed_at_ms=now_ms, nonce=nonce)
    client.send({"type": "req", "id": "c", "method": "connect", "params": params})
    control.advance(0)
    (pending,) = admin.call("device.pair.list")["payload"]["pending"]
    admin.call("device.pair.approve", {"requestId": pending["requestId"]})
    again = control.client(peer=None)
    nonce = again.messages()[0]["payload"]["nonce"]
    params = sign_connect(identity, connect_params(), signed_at_ms=now_ms, nonce=nonce)
    again.send({"type": "req", "id": "c", "method": "connect", "params": params})
    control.advance(0)
    assert again.close is None
    rotate = {"deviceId": identity.id, "role": "operator"}
    assert admin.call("device.token.rotate", rotate)["ok"]
    control.advance(0)
    assert again.close == (1008, "device token revoked")


def test_operator_hears_of_runs_of_clients(control: Control, log: LogTape) -> None:
    agent(control, "k1", agentId="main")
    line = next(line for line in log.lines if "run=k1" in line)
    assert "agent=main" in line
    assert "done" in line


def test_there_is_room_for_so_many_connections_and_no_more(
    make_control: Make, log: LogTape
) -> None:
    control = make_control(max_connections=2)
    control.member()
    control.member()
    for _ in range(3):
        assert control.site.buildProtocol(None) is None
    (problem,) = log.take_problems()
    assert "2 connections" in problem
