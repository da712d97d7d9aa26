"""Runs as clients see them: paced, whole for everybody, merged for the slow."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from zope.interface.verify import verifyObject

from moltbot_gw.agents.log import MAX_TAKE_CHARS
from moltbot_gw.errors import ProviderFailed, RunAborted
from moltbot_gw.events import ReasoningDelta, RunOutcome, TextDelta
from moltbot_gw.interfaces import IRunSubscriber
from moltbot_gw.ws.feeds import (
    CHARS_PER_INTERVAL,
    CHAT_INTERVAL,
    MAX_FINAL_CHARS,
    MAX_INTERVAL,
    MAX_REPEATED_CHARS,
    MIN_INTERVAL,
)

from .boxes import UNIX_TIME, Client, Stage

DONE = RunOutcome(state="done", finish_reason="stop", started_at_ms=1, ended_at_ms=9)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def say(stage: Stage, *texts: str) -> None:
    stage.run.extend([TextDelta(text) for text in texts])


def chat_text(payload: Any) -> str:
    (part,) = payload["message"]["content"]
    text: str = part["text"]
    return text


def test_feed_reads_a_run(stage: Stage) -> None:
    assert verifyObject(IRunSubscriber, stage.feed)


def test_client_sees_a_run_from_its_start_to_its_end(stage: Stage) -> None:
    client = stage.join()
    stage.run.begin(5)
    stage.clock.advance(1)
    say(stage, "hel")
    stage.clock.advance(1)
    say(stage, "lo")
    stage.run.end(DONE)
    told = [
        (payload["seq"], payload["stream"], payload["ts"], payload["data"])
        for payload in client.events("agent")
    ]
    now_ms = UNIX_TIME * 1000
    end = {"phase": "end", "startedAt": 1, "endedAt": 9}
    assert told == [
        (1, "lifecycle", now_ms, {"phase": "start", "startedAt": 5}),
        (2, "assistant", now_ms + 1000, {"text": "hel", "delta": "hel"}),
        (3, "assistant", now_ms + 2000, {"text": "hello", "delta": "lo"}),
        (4, "lifecycle", now_ms + 2000, end),
    ]
    chats = client.events("chat")
    assert [(one["seq"], one["state"], chat_text(one)) for one in chats] == [
        (2, "delta", "hel"),
        (3, "delta", "hello"),
        (4, "final", "hello"),
    ]
    assert [one["seq"] for one in client.frames] == list(range(1, 8))
    assert stage.feed.ended


def test_each_client_counts_its_own_frames(stage: Stage) -> None:
    first, second = stage.join(), Client()
    first.state("tick", 1)
    stage.join(second)
    stage.run.begin(5)
    assert [client.frames[-1]["seq"] for client in (first, second)] == [2, 1]


def test_reasoning_is_not_shown(stage: Stage) -> None:
    client = stage.join()
    stage.run.extend([ReasoningDelta("hm")])
    assert client.frames == []
    stage.clock.advance(1)
    say(stage, "a")
    stage.run.extend([ReasoningDelta("hm")])
    say(stage, "b")
    stage.run.end(DONE)
    assert client.text == "ab"
    assert b"hm" not in b"".join(client.raw)
    assert [chat_text(one) for one in client.events("chat")] == ["a", "ab"]


@pytest.mark.parametrize(
    ("outcome", "phase", "state"),
    [
        (
            RunOutcome(state="failed", error=ProviderFailed("gone"), ended_at_ms=9),
            "error",
            "error",
        ),
        (
            RunOutcome(state="aborted", error=RunAborted("bye"), ended_at_ms=9),
            "end",
            "aborted",
        ),
    ],
)
def test_bad_end_is_told_too(
    stage: Stage, outcome: RunOutcome, phase: str, state: str
) -> None:
    client = stage.join()
    say(stage, "half")
    stage.run.end(outcome)
    assert (client.phases, client.events("chat")[-1]["state"]) == ([phase], state)


def test_whoever_comes_later_begins_where_all_others_are(stage: Stage) -> None:
    first = stage.join()
    stage.run.begin(5)
    say(stage, "hel")
    late = stage.join()
    assert first.text == "hel"
    assert late.frames == []
    stage.clock.advance(1)
    say(stage, "lo")
    stage.run.end(DONE)
    assert (late.text, late.phases) == ("lo", ["end"])
    assert late.events("agent")[0]["data"] == {"text": "hello", "delta": "lo"}
    assert chat_text(late.events("chat")[0]) == "hello"


def test_run_is_told_as_ended_before_whoever_waits_for_it_is(stage: Stage) -> None:
    client = stage.join()
    stage.run.when_ended().addCallback(lambda _: client.answer(1))
    say(stage, "a")
    say(stage, "b")
    stage.run.end(DONE)
    assert client.frames[-1]["id"] == "1"
    assert client.text == "ab"


# -- pace


def test_first_words_come_at_once_and_the_next_together(stage: Stage) -> None:
    client = stage.join()
    say(stage, "a")
    assert client.text == "a"
    for text in "bcd":
        say(stage, text)
    assert client.text == "a"
    stage.clock.advance(MIN_INTERVAL * 1.01)
    assert client.text == "abcd"
    stage.clock.advance(10)
    assert len(stage.steps) == 2
    stage.run.end(DONE)


def test_chat_is_told_more_rarely_and_at_the_end_whole(stage: Stage) -> None:
    client = stage.join()
    for text in ("a", "b", "c"):
        say(stage, text)
        stage.clock.advance(CHAT_INTERVAL * 0.45)
    assert client.text == "abc"
    assert [chat_text(one) for one in client.events("chat")] == ["a"]
    say(stage, "d")
    assert chat_text(client.events("chat")[-1]) == "abcd"
    say(stage, "e")
    stage.run.end(DONE)
    assert client.events("agent")[-2]["data"] == {"text": "abcde", "delta": "e"}
    assert chat_text(client.events("chat")[-1]) == "abcde"


def test_only_the_last_words_of_a_batch_repeat_those_before(stage: Stage) -> None:
    client = stage.join()
    say(stage, "x" * 2 * MAX_TAKE_CHARS + "y")
    data = [one["data"] for one in client.events("agent")]
    assert ["text" in one for one in data] == [False, False, True]
    assert data[-1]["text"] == stage.run.text()
    assert len(client.events("chat")) == 1
    stage.run.end(DONE)


@pytest.mark.parametrize(
    ("chars", "interval"),
    [
        (1, MIN_INTERVAL),
        (CHARS_PER_INTERVAL, 2 * MIN_INTERVAL),
        (5 * CHARS_PER_INTERVAL, 6 * MIN_INTERVAL),
        (100 * CHARS_PER_INTERVAL, MAX_INTERVAL),
    ],
)
def test_longer_text_is_told_more_rarely(
    stage: Stage, chars: int, interval: float
) -> None:
    client = stage.join()
    say(stage, "x" * chars)
    say(stage, "y")
    stage.clock.advance(interval * 0.99)
    assert not client.text.endswith("y")
    stage.clock.advance(interval * 0.02)
    assert client.text.endswith("y")
    stage.run.end(DONE)


def test_end_is_told_at_once_and_leaves_no_timer(stage: Stage) -> None:
    client = stage.join()
    say(stage, "a")
    say(stage, "b")
    assert stage.clock.getDelayedCalls()
    stage.run.end(DONE)
    assert client.text == "ab"
    assert client.phases == ["end"]
    assert stage.clock.getDelayedCalls() == []


def test_traffic_of_a_long_answer_stays_near_its_length(stage: Stage) -> None:
    client = stage.join()
    for _ in range(6000):
        say(stage, "x" * 50)
        stage.clock.advance(0.01)
    stage.run.end(DONE)
    assert client.text == "x" * 300_000
    assert sum(map(len, client.raw)) < 80 * 300_000


def test_text_of_a_very_long_answer_is_not_repeated(stage: Stage) -> None:
    client = stage.join()
    say(stage, "x" * MAX_REPEATED_CHARS)
    stage.clock.advance(2)
    assert len(chat_text(client.events("chat")[-1])) == MAX_REPEATED_CHARS
    chats = len(client.events("chat"))
    say(stage, "y")
    assert client.events("agent")[-1]["data"] == {"delta": "y"}
    assert len(client.events("chat")) == chats
    stage.run.end(DONE)
    assert chat_text(client.events("chat")[-1]).endswith("xy")


@pytest.mark.parametrize("extra", [0, 1])
def test_last_event_has_all_but_the_longest_text(stage: Stage, extra: int) -> None:
    client = stage.join()
    say(stage, "x" * (MAX_FINAL_CHARS + extra))
    stage.run.end(DONE)
    assert ("message" in client.events("chat")[-1]) is (not extra)
    assert len(client.text) == MAX_FINAL_CHARS + extra


# -- who is slow


def test_step_is_rendered_once_for_all_who_are_up_to_date(stage: Stage) -> None:
    clients = [stage.join() for _ in range(3)]
    stage.run.begin(5)
    say(stage, "hello")
    stage.run.end(DONE)
    assert len(stage.steps) == 3  # whoever has joined adds none
    assert clients[0].raw == clients[1].raw == clients[2].raw


def test_slow_client_gets_what_it_missed_in_one_piece(stage: Stage) -> None:
    fast, slow = stage.join(), stage.join()
    stage.run.begin(5)
    slow.stall()
    for text in "abcdef":
        say(stage, text)
        stage.clock.advance(1)
    assert (fast.text, slow.text) == ("abcdef", "")
    slow.read()
    assert slow.events("agent")[-1]["data"] == {"text": "abcdef", "delta": "abcdef"}
    assert len(slow.frames) == 3
    say(stage, "g")
    assert slow.frames[-1]["payload"] == fast.frames[-1]["payload"]
    stage.run.end(DONE)
    assert slow.text == fast.text == "abcdefg"


def test_slow_client_does_not_get_ahead_of_all_others(stage: Stage) -> None:
    fast, slow = stage.join(), stage.join()
    slow.stall()
    say(stage, "a")
    say(stage, "b")  # not told yet
    slow.read()
    assert (fast.text, slow.text) == ("a", "a")
    stage.run.end(DONE)
    assert (fast.text, slow.text) == ("ab", "ab")


def test_whoever_missed_nothing_gets_nothing(stage: Stage) -> None:
    stage.run.begin(5)
    assert stage.feed.missed(stage.feed.position) == (stage.feed.position, ())
    stage.run.end(DONE)


def test_slow_client_gets_a_whole_run_that_is_over(stage: Stage) -> None:
    slow = stage.join()
    slow.stall()
    stage.run.begin(5)
    say(stage, "x" * 3 * MAX_TAKE_CHARS)
    stage.run.extend([ReasoningDelta("hm")])
    say(stage, "y")
    stage.run.end(DONE)
    slow.read()
    assert slow.text == stage.run.text()
    assert slow.phases == ["start", "end"]
    deltas = [one["data"].get("delta", "") for one in slow.events("agent")]
    assert max(map(len, deltas)) == MAX_TAKE_CHARS
    assert chat_text(slow.events("chat")[-1]) == stage.run.text()


def test_slow_client_stops_in_the_middle_of_what_it_missed(stage: Stage) -> None:
    slow = stage.join()
    slow.stall()
    stage.run.begin(5)
    stage.clock.advance(1)
    say(stage, "x" * 3 * MAX_TAKE_CHARS)
    slow.read(room=2)
    assert (slow.text, slow.phases) == ("x" * MAX_TAKE_CHARS, ["start"])
    say(stage, "y")
    stage.run.end(DONE)
    assert len(slow.frames) == 2
    slow.read()
    assert slow.text == stage.run.text()
    assert slow.phases == ["start", "end"]


class Audience(RuleBasedStateMachine):
    """Clients that stall and read at random: each gets every word once, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()
        self.joined: dict[Client, int] = {}
        self.answered: dict[Client, list[int]] = {}
        self.states: dict[str, int] = {}
        self.count = 0

    @precondition(lambda self: len(self.joined) < 4)
    @rule(early=st.booleans())
    def join(self, early: bool) -> None:
        client = self.stage.join()
        self.joined[client] = len(self.stage.run.text())
        self.answered[client] = []

    @precondition(lambda self: self.stage.run.outcome is None)
    @rule(
        text=st.sampled_from(["a", "é\u2028", "b" * 5000, "c" * 50_000, "d" * 200_000]),
        kind=st.sampled_from([TextDelta, TextDelta, ReasoningDelta]),
    )
    def speak(self, text: str, kind: type[TextDelta] | type[ReasoningDelta]) -> None:
        self.stage.run.extend([kind(text)])

    @rule(seconds=st.sampled_from([0.01, 0.06, 0.5, 2.0]))
    def wait(self, seconds: float) -> None:
        self.stage.clock.advance(seconds)

    @precondition(lambda self: self.joined)
    @rule(data=st.data())
    def stall(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(list(self.joined))).stall()

    @precondition(lambda self: self.joined)
    @rule(data=st.data(), room=st.none() | st.integers(1, 5))
    def read(self, data: st.DataObject, room: int | None) -> None:
        data.draw(st.sampled_from(list(self.joined))).read(room)

    @precondition(lambda self: self.joined)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(list(self.joined)))
        told = sum(len(text) for text in self.told())
        client.answer(told)
        self.answered[client].append(told)

    @rule(name=st.sampled_from(["tick", "presence"]))
    def change(self, name: str) -> None:
        self.count += 1
        self.states[name] = self.count
        for client in self.joined:
            client.state(name, self.count)

    @precondition(lambda self: self.stage.run.outcome is None)
    @rule()
    def end(self) -> None:
        self.stage.run.end(DONE)

    def told(self) -> list[str]:
        """Return what the feed has told so far."""
        text = self.stage.run.log.text_until(self.stage.feed.position, 10**9)
        assert text is not None
        return [text]

    @invariant()
    def who_reads_is_up_to_date(self) -> None:
        told = "".join(self.told())
        for client, start in self.joined.items():
            assert told[start:].startswith(client.text)
            if not client.paused:
                assert client.text == told[start:]
                assert client.answers == self.answered[client]

    @invariant()
    def frames_are_in_order(self) -> None:
        for client, start in self.joined.items():
            said, last = start, 0
            events = []
            for frame in client.frames:
                if frame["type"] == "res":
                    assert said >= int(frame["id"])
                    continue
                events.append(frame["seq"])
                if frame["event"] != "agent":
                    continue
                payload = frame["payload"]
                assert payload["seq"] >= last
                last = payload["seq"]
                said += len(payload["data"].get("delta", ""))
                if "text" in payload["data"]:
                    assert len(payload["data"]["text"]) == said
            assert events == list(range(1, len(events) + 1))

    def teardown(self) -> None:
        if self.stage.run.outcome is None:
            self.stage.run.end(DONE)
        for client, start in self.joined.items():
            client.read()
            assert client.text == self.stage.run.text()[start:]
            assert client.answers == self.answered[client]
            for name in ("tick", "presence"):
                values = client.events(name)
                assert values == sorted(set(values))
        self.frames_are_in_order()
        assert self.stage.clock.getDelayedCalls() == []


TestAudience = Audience.TestCase
TestAudience.settings = settings(max_examples=150, stateful_step_count=25)
