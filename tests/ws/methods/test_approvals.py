"""``exec.approval.*``: who hears of a command that waits, and who may let it run."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from moltbot_gw.agents.approvals import Answer, ApprovalRequest
from tests.support.control import JSON, Client, Control, connect_params
from tests.ws.connecting import connect_frame

SCOPE = ["operator.approvals"]
REQUEST = ApprovalRequest(
    command="rm -rf build",
    cwd="/work",
    host="gateway",
    security="allowlist",
    ask="on-miss",
    agent_id="main",
    resolved_path="/usr/bin/rm",
    session_key="agent:main:main",
)


def ask(control: Control, id: str = "q") -> Deferred[Answer]:
    return Deferred.fromCoroutine(control.approvals.ask(REQUEST, 5.0, id))


def taken(asked: Deferred[Answer]) -> Answer:
    found: list[Answer] = []
    asked.addCallback(found.append)
    (answer,) = found
    return answer


def resolve(client: Client, decision: Any, id: str = "q") -> JSON:
    return client.call("exec.approval.resolve", {"id": id, "decision": decision})


@pytest.mark.parametrize("scopes", [SCOPE, ["operator.admin"]])
def test_a_question_is_told_to_those_who_decide(
    control: Control, scopes: list[str]
) -> None:
    client = control.member(scopes=scopes)
    others = [
        control.member(scopes=["operator.read", "operator.write", "operator.pairing"]),
        control.member(role="node", scopes=[]),
    ]
    asked = ask(control)
    now_ms = int(control.unix_time() * 1000)
    (event,) = client.events("exec.approval.requested")
    assert event["payload"] == {
        "id": "q",
        "request": {
            "command": "rm -rf build",
            "cwd": "/work",
            "host": "gateway",
            "security": "allowlist",
            "ask": "on-miss",
            "agentId": "main",
            "resolvedPath": "/usr/bin/rm",
            "sessionKey": "agent:main:main",
        },
        "createdAtMs": now_ms,
        "expiresAtMs": now_ms + 5000,
    }
    control.advance(5.0)
    assert taken(asked).decision == "deny"
    (event,) = client.events("exec.approval.resolved")
    assert event["payload"] == {
        "id": "q",
        "decision": "deny",
        "resolvedBy": None,
        "ts": now_ms + 5000,
    }
    names = ("exec.approval.requested", "exec.approval.resolved")
    assert [other.events(*names) for other in others] == [[], []]


def test_whoever_comes_later_is_told_what_waits(control: Control) -> None:
    asked = ask(control)
    late, reader = control.client(), control.client()
    for client, scopes in ((late, SCOPE), (reader, ["operator.read"])):
        client.send(connect_frame(connect_params(scopes=scopes)))
    control.advance(0)
    [_, hello, event] = late.messages()
    assert hello["ok"]
    assert event["event"] == "exec.approval.requested"
    assert event["payload"]["id"] == "q"
    assert reader.events("exec.approval.requested") == []
    assert resolve(late, "allow-once")["ok"]
    assert taken(asked).decision == "allow-once"


@pytest.mark.parametrize("decision", ["allow-once", "allow-always", "deny"])
def test_a_decision_is_told_with_its_author(control: Control, decision: str) -> None:
    cli = {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}
    client = control.member(scopes=SCOPE, client={**cli, "displayName": "Ada"})
    other = control.member(scopes=SCOPE)
    asked = ask(control)
    assert resolve(client, decision)["payload"] == {"ok": True}
    answer = taken(asked)
    assert (answer.decision, answer.by) == (decision, "Ada")
    (event,) = other.events("exec.approval.resolved")
    assert event["payload"]["decision"] == decision
    assert event["payload"]["resolvedBy"] == "Ada"
    again = resolve(other, "allow-once")
    assert again["error"]["message"] == "unknown approval id"
    assert again["error"]["code"] == "INVALID_REQUEST"


@pytest.mark.parametrize(
    "scopes", [["operator.read"], ["operator.write", "operator.pairing"]]
)
def test_nobody_else_decides(control: Control, scopes: list[str]) -> None:
    client = control.member(scopes=scopes)
    asked = ask(control)
    for answer in (
        resolve(client, "allow-once"),
        client.call("exec.approval.request", {"command": "ls"}),
    ):
        assert answer["error"]["message"] == "missing scope: operator.approvals"
    assert not asked.called
    asked.cancel()
    asked.addErrback(lambda failure: None)


@pytest.mark.parametrize("decision", ["allow", None, True, ""])
def test_a_decision_is_one_of_three_words(control: Control, decision: Any) -> None:
    client = control.member(scopes=SCOPE)
    asked = ask(control)
    message = resolve(client, decision)["error"]["message"]
    assert message.startswith("invalid exec.approval.resolve params: ")
    assert not asked.called
    asked.cancel()
    asked.addErrback(lambda failure: None)


def test_a_client_may_ask_for_somebody_else(control: Control) -> None:
    client, other = control.member(scopes=SCOPE), control.member(scopes=SCOPE)
    params = {"command": "ls", "id": "mine", "timeoutMs": 5000, "agentId": "ops"}
    client.ask("exec.approval.request", params)
    now_ms = int(control.unix_time() * 1000)
    (event,) = other.events("exec.approval.requested")
    assert event["payload"]["request"]["agentId"] == "ops"
    # Its own call does not hold it back.
    client.ask("exec.approval.resolve", {"id": "mine", "decision": "allow-once"})
    control.advance(0)
    told = {"id": "mine", "createdAtMs": now_ms, "expiresAtMs": now_ms + 5000}
    payloads = [answer["payload"] for answer in client.answers()]
    assert {"ok": True} in payloads
    assert {**told, "decision": "allow-once"} in payloads
    client.ask("exec.approval.request", params)
    control.advance(5.0)
    (answer,) = client.answers()
    assert answer["payload"] == {**told, "decision": None}


def test_an_id_that_waits_is_not_taken_twice(control: Control) -> None:
    client = control.member(scopes=SCOPE)
    client.ask("exec.approval.request", {"command": "ls", "id": "mine"})
    answer = client.call("exec.approval.request", {"command": "rm", "id": "mine"})
    assert answer["error"]["code"] == "INVALID_REQUEST"
    assert "waiting already" in answer["error"]["message"]
    assert len(control.approvals.waiting) == 1


def test_a_client_that_goes_takes_its_question_back(control: Control) -> None:
    client, other = control.member(scopes=SCOPE), control.member(scopes=SCOPE)
    client.ask("exec.approval.request", {"command": "ls", "id": "mine"})
    client.connection.hang_up()
    control.advance(0)
    (event,) = other.events("exec.approval.resolved")
    assert event["payload"]["decision"] == "deny"
    assert control.approvals.waiting == ()


def test_the_rules_are_shown_and_replaced(control: Control) -> None:
    client = control.member()
    shown = client.call("exec.approvals.get")["payload"]
    assert shown == {
        "path": str(control.folder / "state" / "exec-approvals.json"),
        "exists": False,
        "hash": sha256(b"").hexdigest(),
        "file": {"version": 1, "agents": {}},
    }
    file = {"version": 1, "agents": {"main": {"allowlist": [{"pattern": "/bin/ls"}]}}}
    written = client.call("exec.approvals.set", {"file": file})["payload"]
    assert written["exists"]
    assert written["file"] == file
    assert client.call("exec.approvals.get")["payload"] == written
    stale = client.call("exec.approvals.set", {"file": file, "baseHash": "x"})
    assert "changed since last load" in stale["error"]["message"]
    assert stale["error"]["code"] == "INVALID_REQUEST"


def test_damaged_rules_are_told(
    control: Control, make_control: Callable[..., Control]
) -> None:
    path = control.folder / "state" / "exec-approvals.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text("{")
    error = control.member().call("exec.approvals.get")["error"]
    assert error["code"] == "UNAVAILABLE"
    assert error["message"] == "exec-approvals.json cannot be read: it makes no sense"


def test_only_admins_see_the_rules(control: Control) -> None:
    client = control.member(scopes=[*SCOPE, "operator.write"])
    for method in ("exec.approvals.get", "exec.approvals.set"):
        answer = client.call(method, {})
        assert answer["error"]["message"] == "missing scope: operator.admin"
