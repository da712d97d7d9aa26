from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.python.failure import Failure

from moltbot_gw.errors import ProviderFailed
from moltbot_gw.logs.failures import MAX_CHAIN
from moltbot_gw.logs.scribe import MAX_FIELDS, Scribe
from moltbot_gw.logs.scrub import Scrubber
from moltbot_gw.logs.words import Words
from tests.logs.support import event

TOKEN = "the-token-of-this-test"


def scribe(*, conversation: bool = False) -> Scribe:
    return Scribe(Scrubber([TOKEN]), conversation=conversation)


def failure_of(work: Callable[[], Any]) -> Failure:
    try:
        work()
    except BaseException:
        return Failure()
    raise AssertionError("nothing failed")


def raising(error: BaseException) -> Failure:
    def work() -> None:
        hidden = "my private words"
        raise error if hidden else AssertionError

    return failure_of(work)


def told(failure: Failure, *, conversation: bool = False) -> str:
    kept = scribe(conversation=conversation)
    return "\n".join(kept.entry(event(log_failure=failure)).trace)


# -- messages


def test_words_are_seen_only_where_that_is_asked_for() -> None:
    said = event("{words} {words!s} {words!r}", words=Words("my words"))
    assert scribe().entry(said).text == (
        "[8 characters withheld] [8 characters withheld] [8 characters withheld]"
    )
    assert scribe().fields(said) == {}
    asked = scribe(conversation=True)
    assert asked.entry(said).text == "my words my words 'my words'"
    assert asked.fields(said) == {"words": "my words"}


def test_fields_are_plain_values_without_secrets() -> None:
    made = event(
        "{a}",
        a=1,
        b="x\n" + TOKEN,
        c=None,
        d=True,
        e=object(),
        f=b"bytes",
        g={"h": 1},
        line="x",
        time="x",
        log_x="x",
    )
    assert scribe().fields(made) == {"a": 1, "b": r"x\n***", "c": None, "d": True}


def test_fields_are_bounded() -> None:
    many = event(**{f"n{number}": number for number in range(1000)})
    assert len(scribe().fields(many)) == MAX_FIELDS
    (long,) = scribe().fields(event(a="x" * 100_000)).values()
    assert isinstance(long, str)
    assert len(long) == 1000


def test_the_same_event_is_written_down_once() -> None:
    calls = []
    it = event("{it()}", it=lambda: calls.append(1))
    kept = scribe()
    assert kept.entry(it) is kept.entry(it)
    assert calls == [1]


def test_other_rules_count_at_once() -> None:
    it = event("the {it}", it=TOKEN)
    kept = scribe()
    assert kept.entry(it).text == "the ***"
    kept.change(Scrubber([]), conversation=False)
    assert kept.entry(it).text == f"the {TOKEN}"


# -- failures


def test_a_failure_names_its_place_and_none_of_its_values() -> None:
    text = told(raising(ValueError("my private words")))
    assert "in work" in text
    assert "raise error" in text
    assert "ValueError: [what it says is not logged" in text
    assert "my private words" not in text


def test_what_an_exception_says_is_seen_if_that_is_asked_for() -> None:
    text = told(raising(ValueError("my words\n")), conversation=True)
    assert text.endswith(r"ValueError: my words\n")


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (TypeError("int and str"), "TypeError: int and str"),
        (FileNotFoundError(2, "No such file"), "[Errno 2] No such file"),
        (OSError(f"no {TOKEN}"), "OSError: no ***"),
        (ValueError(), "ValueError: "),
        (ProviderFailed("it said: hello"), "ProviderFailed: provider_error"),
    ],
)
def test_what_quotes_nobody_is_always_seen(error: Exception, last: str) -> None:
    assert told(raising(error)).endswith(last)


class Stubborn(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_exception_that_cannot_be_told() -> None:
    assert told(raising(Stubborn(1)), conversation=True).endswith("cannot be told]")


def test_causes_are_told_as_far_as_they_were_meant_to_be() -> None:
    def chained(last: Callable[[Exception], None]) -> Failure:
        def work() -> None:
            try:
                raise TypeError("first")
            except TypeError as error:
                last(error)

        return failure_of(work)

    def from_it(error: Exception) -> None:
        raise NameError("second") from error

    def from_none(error: Exception) -> None:
        raise NameError("second") from None

    def beside(error: Exception) -> None:
        raise NameError("second")

    for last, shown in ((from_it, True), (beside, True), (from_none, False)):
        text = told(chained(last))
        assert "NameError: second" in text
        assert ("TypeError: first" in text) == shown


def test_a_long_chain_is_cut() -> None:
    error: Exception | None = None
    for _ in range(20):
        error, before = TypeError("again"), error
        error.__cause__ = before
    assert error is not None
    assert told(raising(error)).count("TypeError: again") == MAX_CHAIN


def test_the_text_of_twisteds_older_interface_holds_no_traceback() -> None:
    failure = raising(ValueError("my private words"))
    old = event("{log_text}", log_text=failure.getTraceback(), log_failure=failure)
    assert scribe().entry(old).text == "Unhandled error"
    assert scribe().entry({**old, "why": "It broke"}).text == "It broke"
