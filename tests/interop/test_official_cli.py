"""The original's command line, command by command."""

from __future__ import annotations

import json

from tests.interop.machine import Machine

MAIN_SESSION = "agent:main:main"


def test_agent_prints_the_answer(machine: Machine) -> None:
    done = machine.run("agent", "--agent", "main", "--message", "one small word")
    assert (done.status, done.stdout.strip()) == (0, "one small word")
    # After a failure it would ask a model by itself, and say so.
    assert done.stderr == ""


def test_agent_prints_the_whole_response(machine: Machine) -> None:
    done = machine.run("agent", "--session-id", "s1", "--message", "hello", "--json")
    assert done.status == 0
    response = done.json()
    assert (response["status"], response["summary"]) == ("ok", "completed")
    assert response["runId"]
    assert [part["text"] for part in response["result"]["payloads"]] == ["hello"]


def test_gateway_call_prints_the_health(machine: Machine) -> None:
    done = machine.run("gateway", "call", "health")
    assert done.status == 0
    head, _, body = done.stdout.partition("\n")
    assert head == "Gateway call: health"
    health = json.loads(body)
    assert (health["ok"], health["defaultAgentId"]) == (True, "main")


def test_gateway_call_prints_the_reason_of_a_refusal(machine: Machine) -> None:
    done = machine.run("gateway", "call", "no.such.method")
    assert done.status == 1
    assert "unknown method: no.such.method" in done.stderr


def test_gateway_call_with_a_wrong_token(machine: Machine) -> None:
    done = machine.run("gateway", "call", "health", CLAWDBOT_GATEWAY_TOKEN="wrong")
    assert done.status == 1
    assert "gateway closed (1008): unauthorized: gateway token mismatch" in done.stderr


def test_gateway_probe_reaches_the_gateway(machine: Machine) -> None:
    done = machine.run("gateway", "probe")
    assert done.status == 0
    assert "Reachable: yes" in done.stdout
    assert "RPC: ok" in done.stdout
    assert "  Gateway: " in done.stdout


def test_health_lists_agents_and_their_sessions(machine: Machine) -> None:
    done = machine.run("health")
    assert (done.status, done.stderr) == (0, "")
    assert "Agents: main (default)" in done.stdout
    assert "Session store (main): " in done.stdout


def test_status_shows_the_gateway_reachable(machine: Machine) -> None:
    done = machine.run("status")
    assert done.status == 0
    (row,) = [line for line in done.stdout.splitlines() if "│ Gateway  " in line]
    assert " reachable " in row
    assert "auth token" in row


def test_sessions_completes(machine: Machine) -> None:
    # It reads a file of its own machine, and asks no gateway.
    done = machine.run("sessions")
    assert done.status == 0
    assert done.stdout.startswith("Session store: ")


def test_session_of_a_run_is_listed(machine: Machine) -> None:
    assert machine.run("agent", "--agent", "main", "--message", "hi").status == 0
    done = machine.run("gateway", "call", "sessions.list", "--json")
    assert done.status == 0
    assert MAIN_SESSION in [row["key"] for row in done.json()["sessions"]]


def test_device_token_serves_a_command_that_asks_for_more(machine: Machine) -> None:
    # The probe asks for fewer scopes than the commands after it, which then come with
    # the device token that the probe was given.
    assert machine.run("gateway", "probe").status == 0
    done = machine.run("gateway", "call", "health")
    assert (done.status, done.stderr) == (0, "")
