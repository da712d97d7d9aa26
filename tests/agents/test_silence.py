"""``NO_REPLY``: what of a message is shown, whatever pieces it comes in."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moltbot_gw.agents.silence import MAX_BLANKS, NOTE, TOKEN, SilenceFilter

BLANKS = " " * MAX_BLANKS

# What looks like the token, or belongs around it.
scraps = st.sampled_from(
    [TOKEN, *TOKEN, "NO_", "REPLY", " ", "\n", ".", "x", "é", BLANKS, "hello there"]
)
messages = st.one_of(st.lists(scraps, max_size=12).map("".join), st.text(max_size=30))


def shown(*pieces: str) -> list[str]:
    """Return what comes out at each of *pieces*, and at the end."""
    filtered = SilenceFilter()
    return [filtered.feed(piece) for piece in pieces] + [filtered.finish()]


def cut(message: str, places: list[int]) -> list[str]:
    ends = sorted({place % len(message) for place in places} | {len(message)} - {0})
    return [message[a:b] for a, b in zip([0, *ends], ends, strict=False) if a < b]


@pytest.mark.parametrize(
    "message",
    [
        TOKEN,
        f"\n {TOKEN}",
        f"{TOKEN}\n",
        f"{TOKEN}.",
        f"{TOKEN}: all is well",
        f"{TOKEN} I think that is N",
        f"{BLANKS}{TOKEN}",
    ],
)
def test_silent_message_is_not_shown_at_all(message: str) -> None:
    assert "".join(shown(message)) == "".join(shown(*message)) == ""


@pytest.mark.parametrize(
    "message",
    [
        "NO",
        "NO_REP",
        "NO, thanks",
        "N",
        f"{TOKEN}ING",
        f"{TOKEN}é",
        f"{TOKEN}_",
        "no_reply",
        f"x{TOKEN}",
        f"_{TOKEN}",
        f"é{TOKEN}",
        f"say {TOKEN} or not",
        f"say {TOKEN}.",
        f"say {TOKEN}{BLANKS} ",
        " \n",
        BLANKS + " ",
        "answer: N",
    ],
)
def test_message_without_the_token_comes_out_unchanged(message: str) -> None:
    assert "".join(shown(message)) == "".join(shown(*message)) == message


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (f"Done.\n\n{TOKEN}", "Done.\n\n"),
        (f"Done. {TOKEN}\n", "Done. "),
        (f"{TOKEN}S or {TOKEN}", f"{TOKEN}S or "),
        (f"{BLANKS} {TOKEN}", f"{BLANKS} "),
        (f"{TOKEN}Y {TOKEN} {TOKEN}{BLANKS}", f"{TOKEN}Y {TOKEN} "),
    ],
)
def test_token_at_the_end_is_kept_back(message: str, told: str) -> None:
    assert "".join(shown(message)) == "".join(shown(*message)) == told


def test_only_what_may_become_the_token_waits() -> None:
    assert shown("Say", " N", "O", "W", "!") == ["Say", " ", "", "NOW", "!", ""]
    assert shown("REPL", "Y N", "o") == ["REPL", "Y ", "No", ""]
    assert shown("a", f" {TOKEN}", " ", "b") == ["a", " ", "", f"{TOKEN} b", ""]


def test_beginning_waits_until_it_is_no_token() -> None:
    assert shown("\n", "N", "O", "pe") == ["", "", "", "\nNOpe", ""]


def test_empty_piece_changes_nothing() -> None:
    assert shown("", "a", "", "N") == ["", "a", "", "N", ""]


def test_silent_message_keeps_its_words_for_the_record() -> None:
    filtered = SilenceFilter()
    for piece in (" NO_", "REPLY", ".", " because"):
        assert filtered.feed(piece) == ""
    assert filtered.withheld() == f" {TOKEN}. because"


@given(messages, st.lists(st.integers(0, 100)))
@example("", [])
@example(f"a {TOKEN}", [2, 5])
def test_what_is_shown_does_not_depend_on_the_cuts(
    message: str, places: list[int]
) -> None:
    pieces = cut(message, places) if message else []
    assert "".join(shown(*pieces)) == "".join(shown(message))


@given(messages, st.lists(st.integers(0, 100)))
def test_no_letter_is_lost_or_moved(message: str, places: list[int]) -> None:
    filtered = SilenceFilter()
    told = ""
    for piece in cut(message, places) if message else []:
        told += filtered.feed(piece)
        assert message.startswith(told + filtered.withheld())
    assert told + filtered.withheld() == message
    told += filtered.finish()
    assert told + filtered.withheld() == message
    if TOKEN not in message:
        assert told == message


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1))
def test_words_that_cannot_end_in_the_token_never_wait(pieces: list[str]) -> None:
    filtered = SilenceFilter()
    assert filtered.feed("So: ") == "So: "
    for piece in pieces:
        safe = piece + "!"
        assert filtered.feed(safe) == safe


def test_model_is_told_of_the_token() -> None:
    assert TOKEN in NOTE
