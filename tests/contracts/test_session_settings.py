"""What every session store does with what is set for a session."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from moltbot_gw.errors import LabelTaken
from moltbot_gw.stored import History, SessionSettings, SessionSummary
from tests.contracts.support import Subject
from tests.sessions.support import KEY, start

_ALL: dict[str, Any] = {
    name: f"{name} of\u2028it" for name in SessionSettings.__struct_fields__
}


def test_all_that_was_set_comes_back(subject: Subject) -> None:
    subject.turn("run-1")
    settings = SessionSettings(**_ALL)
    assert subject.patch(**_ALL).settings == settings
    assert subject.history().settings == settings
    assert subject.transcript().settings == settings
    assert [one.settings for one in subject.summaries()] == [settings]


def test_a_patch_leaves_what_it_does_not_name(subject: Subject) -> None:
    subject.patch(label="a", model="p/m", thinking_level="low")
    patched = subject.patch(label=None, thinking_level="high")
    assert patched.settings == SessionSettings(model="p/m", thinking_level="high")


def test_a_patch_makes_the_session_that_is_not_there(subject: Subject) -> None:
    patched = subject.patch(KEY, "other", at_ms=5000, label="mine")
    assert patched == SessionSummary(
        session_key=KEY,
        session_id=f"patched-{KEY}",
        agent_id="other",
        created_at_ms=5000,
        updated_at_ms=5000,
        anonymous=False,
        aborted_last_run=False,
        provider=None,
        model=None,
        input_tokens=0,
        output_tokens=0,
        total_tokens=0,
        messages=0,
        settings=SessionSettings(label="mine"),
    )
    assert subject.history() == History(
        session_id=f"patched-{KEY}", settings=SessionSettings(label="mine")
    )


def test_a_patched_session_goes_on(subject: Subject) -> None:
    subject.patch(label="mine")
    subject.turn("run-1", session_id=f"patched-{KEY}")
    assert subject.words() == ["hello", "hi"]
    assert subject.history().settings.label == "mine"


def test_a_patch_touches_the_session_but_never_backwards(subject: Subject) -> None:
    subject.turn("run-1", at_ms=5000)
    assert subject.patch(at_ms=4000).updated_at_ms == 5000
    assert subject.patch(at_ms=6000).updated_at_ms == 6000
    assert subject.patch(at_ms=6000).created_at_ms == 5000


def test_a_label_is_given_once_among_the_sessions_of_an_agent(subject: Subject) -> None:
    subject.patch("agent:main:a", label='the "one"')
    with pytest.raises(LabelTaken) as caught:
        subject.patch("agent:main:b", label='the "one"')
    assert caught.value.message == 'label already in use: the "one"'
    assert [one.session_key for one in subject.summaries()] == ["agent:main:a"]
    subject.patch("agent:main:a", label='the "one"', model="p/m")
    subject.patch("agent:main:b", label="the one")
    subject.patch("agent:other:a", "other", label='the "one"')


def test_a_label_that_was_given_up_is_free(subject: Subject) -> None:
    subject.patch("agent:main:a", label="one")
    subject.patch("agent:main:a", label="two")
    subject.patch("agent:main:b", label="one")
    subject.wait(subject.store.delete("agent:main:a"))
    subject.patch("agent:main:c", label="two")


def test_other_settings_may_be_what_another_label_is(subject: Subject) -> None:
    subject.patch("agent:main:a", model="one", exec_node='"label":"one"')
    subject.patch("agent:main:b", label="one")


def test_settings_of_a_stale_session_are_told_and_taken_over(subject: Subject) -> None:
    subject.turn("run-1", at_ms=1000)
    subject.patch(label="mine", exec_security="deny")
    settings = SessionSettings(label="mine", exec_security="deny")
    assert subject.history(fresh_after_ms=9000) == History(settings=settings)
    begun = start("run-2", session_id="id-2", at_ms=9500)
    subject.wait(subject.store.begin_turn(begun))
    again = subject.history(fresh_after_ms=9000)
    assert (again.session_id, again.settings) == ("id-2", settings)


def test_an_older_session_takes_over_the_settings_too(subject: Subject) -> None:
    subject.turn("run-1", session_id="id-1")
    subject.turn("run-2", session_id="id-2")
    subject.patch(model="p/m")
    subject.turn("run-3", session_id="id-1")
    assert subject.history().settings == SessionSettings(model="p/m")


def test_a_reset_drops_what_is_not_for_the_next_conversation(subject: Subject) -> None:
    subject.turn("run-1")
    subject.patch(**_ALL)
    subject.wait(subject.store.reset(KEY, "id-2", 9000))
    stays = (
        "label",
        "model",
        "reasoning_level",
        "response_usage",
        "send_policy",
        "thinking_level",
        "verbose_level",
    )
    left = SessionSettings(**{name: _ALL[name] for name in stays})
    assert subject.history().settings == left


def test_turns_leave_the_settings(subject: Subject) -> None:
    subject.turn("run-1")
    subject.patch(label="mine")
    subject.turn("run-2")
    assert subject.history().settings == SessionSettings(label="mine")


def test_settings_are_named_like_their_attributes() -> None:
    assert msgspec.json.encode(SessionSettings(label="x")) == b'{"label":"x"}'
