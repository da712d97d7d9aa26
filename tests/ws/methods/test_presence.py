from __future__ import annotations

import json

import msgspec
import pytest
from twisted.internet.task import Clock

from moltbot_gw.ws.presence import (
    MAX_ENTRIES,
    MAX_FIELD_CHARS,
    MAX_ITEMS,
    Presence,
    Report,
)
from tests.ws.methods.support import (
    NOW,
    NOW_MS,
    Desk,
    caller_of,
    taken,
)


def presence_on(clock: Clock) -> Presence:
    return Presence(unix_time=lambda: NOW + clock.seconds(), version="9", host="box")


def others(presence: Presence) -> list[dict[str, object]]:
    entries = json.loads(msgspec.json.encode(presence.entries()))
    return [one for one in entries if one.get("mode") != "gateway"]


def test_the_gateway_itself_is_always_listed() -> None:
    clock = Clock()
    presence = presence_on(clock)
    clock.advance(10_000)
    [own] = presence.entries()
    assert own["host"] == "box"
    assert own["version"] == "9"
    assert (own["mode"], own["reason"]) == ("gateway", "self")
    assert own["text"] == "Gateway: box · app 9 · mode gateway · reason self"
    assert own["ts"] == NOW_MS + 10_000_000
    assert own["platform"]
    assert own["deviceFamily"]
    assert own["modelIdentifier"]


def test_client_is_entered_as_it_describes_itself() -> None:
    presence = presence_on(Clock())
    caller = caller_of(
        "write",
        "read",
        address="192.0.2.7",
        device_id="AbC",
        display_name="Eve's phone",
        device_family="iPhone",
        model_identifier="iPhone17",
    )
    presence.connected(caller)
    assert presence.version == 2
    assert others(presence) == [
        {
            "host": "Eve's phone",
            "ip": "192.0.2.7",
            "version": "1",
            "platform": "linux",
            "deviceFamily": "iPhone",
            "modelIdentifier": "iPhone17",
            "mode": "ui",
            "reason": "connect",
            "deviceId": "AbC",
            "instanceId": "AbC",
            "roles": ["operator"],
            "scopes": ["operator.read", "operator.write"],
            "text": "Node: Eve's phone · mode ui",
            "ts": NOW_MS,
        }
    ]


def test_local_client_without_a_name_or_device() -> None:
    presence = presence_on(Clock())
    presence.connected(caller_of())
    [entry] = others(presence)
    assert entry["host"] == "test"
    assert "ip" not in entry
    assert "deviceId" not in entry
    assert "instanceId" not in entry


def test_commands_come_and_go_unseen() -> None:
    presence = presence_on(Clock())
    presence.connected(caller_of(mode="cli"))
    assert not presence.disconnected(caller_of(mode="cli"))
    assert others(presence) == []
    assert presence.version == 1


def test_client_that_goes_stays_listed_as_gone() -> None:
    presence = presence_on(Clock())
    presence.connected(caller_of(instance_id="I-1"))
    assert presence.disconnected(caller_of(instance_id="I-1", conn_id="conn-2"))
    [entry] = others(presence)
    assert entry["reason"] == "disconnect"
    assert entry["instanceId"] == "I-1"
    assert presence.version == 3


def test_entries_vanish_after_five_minutes() -> None:
    clock = Clock()
    presence = presence_on(clock)
    presence.connected(caller_of())
    clock.advance(300)
    assert len(others(presence)) == 1
    clock.advance(1)
    assert others(presence) == []


def test_newest_entry_comes_first() -> None:
    clock = Clock()
    presence = presence_on(clock)
    for name in ("a", "b"):
        presence.connected(caller_of(conn_id=name, display_name=name))
        clock.advance(1)
    presence.disconnected(caller_of(conn_id="a", display_name="a"))
    assert [one["host"] for one in presence.entries()] == ["box", "a", "b"]


def test_number_of_entries_is_bounded() -> None:
    presence = presence_on(Clock())
    for number in range(MAX_ENTRIES + 5):
        presence.connected(caller_of(conn_id=str(number), display_name=str(number)))
    assert len(presence.entries()) == MAX_ENTRIES
    assert {"0", "5"}.isdisjoint(str(one["host"]) for one in presence.entries())


def test_presence_line_fills_in_what_the_report_leaves_unsaid() -> None:
    presence = presence_on(Clock())
    line = "Node: Pad (10.0.0.2) · app 1.2 · last input 7s ago · mode app · reason beat"
    presence.update(line, Report(mode="node"))
    [entry] = others(presence)
    assert entry == {
        "host": "Pad",
        "ip": "10.0.0.2",
        "version": "1.2",
        "mode": "node",
        "lastInputSeconds": 7,
        "reason": "beat",
        "text": line,
        "ts": NOW_MS,
    }


def test_presence_line_of_a_host_alone() -> None:
    presence = presence_on(Clock())
    assert presence.update("Node: Pad", Report()) == {"host": "Pad"}


def test_report_changes_only_what_it_says() -> None:
    presence = presence_on(Clock())
    presence.update("one", Report(device_id="D", host="Pad", mode="app"))
    assert presence.update("two", Report(device_id="d", mode="node")) == {
        "mode": "node"
    }
    [entry] = others(presence)
    assert (entry["host"], entry["mode"], entry["text"]) == ("Pad", "node", "two")


@pytest.mark.parametrize(
    ("report", "again"),
    [
        (Report(instance_id="I"), Report(instance_id="i")),
        (Report(host="H"), Report(host="h")),
        (Report(ip="10.0.0.1"), Report(ip="10.0.0.1")),
        (Report(), Report()),
    ],
)
def test_reports_of_one_source_make_one_entry(report: Report, again: Report) -> None:
    presence = presence_on(Clock())
    presence.update("some news", report)
    presence.update("some news", again)
    assert len(presence.entries()) == 2


def test_long_reports_are_cut() -> None:
    presence = presence_on(Clock())
    presence.update("x" * 9999, Report(host="y" * 9999, tags=("z" * 999,) * 99))
    [entry] = others(presence)
    assert len(str(entry["text"])) == 1000
    assert len(str(entry["host"])) == 200
    assert entry["tags"] == ["z" * 200] * 32


def test_presence_is_a_bare_array(desk: Desk) -> None:
    desk.presence.connected(caller_of())
    told = desk.ask("system-presence", {"anything": 1}, caller_of("read"))
    assert [one["mode"] for one in told] == ["gateway", "ui"]


def test_system_event_is_presence_and_news_for_the_agent(desk: Desk) -> None:
    event = {
        "text": " the door opened ",
        "host": "Door",
        "lastInputSeconds": 3,
        "roles": ["node"],
        "scopes": "no list",
        "tags": ["a", 1],
        "mode": 7,
        "version": True,
        "what": "else",
    }
    assert desk.ask("system-event", event) == {"ok": True}
    assert taken(desk.events, "agent:main:main") == ["the door opened"]
    [told] = desk.hub.told
    assert told.name == "presence"
    [entry] = [one for one in told.payload["presence"] if one["host"] == "Door"]
    assert entry == {
        "host": "Door",
        "lastInputSeconds": 3,
        "roles": ["node"],
        "text": "the door opened",
        "ts": NOW_MS,
    }


def test_presence_lines_tell_the_agent_of_changes_only(desk: Desk) -> None:
    line = "Node: Pad (10.0.0.2) · app 1.2 · mode app"
    desk.ask("system-event", {"text": line})
    desk.ask("system-event", {"text": line})
    desk.ask("system-event", {"text": line, "mode": "node"})
    assert taken(desk.events, "agent:main:main") == [
        "Node: Pad · ip 10.0.0.2 · version 1.2 · mode app",
        "Node · mode node",
    ]


@pytest.mark.parametrize("text", [None, "", "  ", 5])
def test_system_event_needs_words(desk: Desk, text: object) -> None:
    assert desk.refusal("system-event", {"text": text}) == (
        "INVALID_REQUEST",
        "text required",
    )


def test_client_cannot_fill_the_list_with_long_words() -> None:
    presence = presence_on(Clock())
    words = "x" * (MAX_FIELD_CHARS + 1)
    presence.connected(caller_of(*[words + str(n) for n in range(64)], platform=words))
    [entry] = others(presence)
    assert entry["platform"] == words[:MAX_FIELD_CHARS]
    assert len(json.dumps(entry)) < (MAX_ITEMS + 4) * (MAX_FIELD_CHARS + 20)
