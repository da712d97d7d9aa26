"""What every session store does for those who list its sessions."""

from __future__ import annotations

import msgspec
import pytest

from moltbot_gw.stored import AgentSessions, OverviewQuery, SessionQuery
from tests.contracts.support import Subject
from tests.sessions.support import start


def keys(subject: Subject, query: SessionQuery) -> list[str]:
    """Return the keys of the sessions that *query* finds, in their order."""
    found = subject.wait(subject.store.list_sessions(query))
    return [one.session_key for one in found]


@pytest.fixture
def crowd(subject: Subject) -> Subject:
    """Return a store with five sessions of two agents."""
    subject.patch("global", at_ms=1000)
    subject.patch("agent:main:Über-Größe", at_ms=2000, label="Ärger mit Müll")
    subject.patch("agent:main:Work", at_ms=3000, label="Daily", spawned_by="global")
    subject.patch("agent:other:main", "other", at_ms=4000, label="daily")
    anonymous = start("run-1", key="agent:main:openai:1", session_id="one-shot")
    begun = msgspec.structs.replace(anonymous, anonymous=True, started_at_ms=5000)
    subject.wait(subject.store.begin_turn(begun))
    return subject


NEWEST_FIRST = [
    "agent:main:openai:1",
    "agent:other:main",
    "agent:main:Work",
    "agent:main:Über-Größe",
    "global",
]


@pytest.mark.parametrize(
    ("query", "places"),
    [
        (SessionQuery(), [0, 1, 2, 3, 4]),
        (SessionQuery(limit=2), [0, 1]),
        (SessionQuery(agent_id="other"), [1]),
        (SessionQuery(agent_id="nobody"), []),
        (SessionQuery(session_id="one-shot"), [0]),
        (SessionQuery(session_id="patched-global"), [4]),
        (SessionQuery(session_id="ONE-SHOT"), []),
        (SessionQuery(label="daily"), [1]),
        (SessionQuery(label="Daily"), [2]),
        (SessionQuery(spawned_by="global"), [2]),
        (SessionQuery(updated_since_ms=3000), [0, 1, 2]),
        (SessionQuery(updated_since_ms=5001), []),
        (SessionQuery(hidden=frozenset({"global", "unknown"})), [0, 1, 2, 3]),
        (SessionQuery(hidden=frozenset({"agent:main", "lobal"})), [0, 1, 2, 3, 4]),
        (SessionQuery(anonymous=False), [1, 2, 3, 4]),
        (SessionQuery(anonymous=False, limit=1), [1]),
        (SessionQuery(words="daily"), [1, 2]),
        (SessionQuery(words="work"), [2]),
        (SessionQuery(words="one-s"), [0]),
        (SessionQuery(words="größe"), [3]),
        (SessionQuery(words="über"), [3]),
        (SessionQuery(words="ärger"), [3]),
        (SessionQuery(words="mit m"), [3]),
        (SessionQuery(words="%"), []),
        (SessionQuery(words="daily", agent_id="main", label="Daily"), [2]),
        (SessionQuery(words="daily", limit=1), [1]),
        (SessionQuery(label="Daily", updated_since_ms=3001), []),
    ],
)
def test_finds_exactly_what_is_wanted_the_newest_first(
    crowd: Subject, query: SessionQuery, places: list[int]
) -> None:
    assert keys(crowd, query) == [NEWEST_FIRST[place] for place in places]


def test_sessions_of_one_moment_stand_in_the_order_of_their_keys(
    subject: Subject,
) -> None:
    for key in ("c", "a", "b"):
        subject.patch(key, at_ms=7)
    assert keys(subject, SessionQuery(limit=2)) == ["a", "b"]


def test_only_the_current_session_of_a_key_is_found(subject: Subject) -> None:
    subject.turn("run-1", key="a", session_id="old")
    subject.wait(subject.store.reset("a", "new", 2000))
    assert keys(subject, SessionQuery(session_id="old")) == []
    assert keys(subject, SessionQuery(session_id="new")) == ["a"]


def test_overview_counts_all_and_shows_the_newest_of_each_agent(crowd: Subject) -> None:
    query = OverviewQuery(recent=2, hidden=frozenset({"global"}))
    overview = crowd.wait(crowd.store.overview(query))
    everything = {one.session_key: one for one in crowd.summaries()}
    assert overview == [
        AgentSessions(
            agent_id="main",
            count=3,
            recent=(
                everything["agent:main:openai:1"],
                everything["agent:main:Work"],
            ),
        ),
        AgentSessions(
            agent_id="other", count=1, recent=(everything["agent:other:main"],)
        ),
    ]


def test_overview_counts_no_session_that_a_reset_has_left_behind(
    subject: Subject,
) -> None:
    subject.turn("run-1", key="a", session_id="old")
    subject.wait(subject.store.reset("a", "new", 2000))
    (own,) = subject.wait(subject.store.overview(OverviewQuery(recent=5)))
    assert (own.count, [one.session_id for one in own.recent]) == (1, ["new"])


def test_overview_of_an_empty_store_is_empty(subject: Subject) -> None:
    assert subject.wait(subject.store.overview(OverviewQuery(recent=5))) == []
