"""Where a conversation may be cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_gw.agents.cut import Places

SIZES = (100,) * 10


@pytest.mark.parametrize(
    ("turns", "rounds", "recent", "turn", "expected"),
    [
        ((3, 6, 8), (), 400, 400, 6),  # as many turns as fit
        ((3, 6, 8), (), 700, 700, 3),
        ((3, 6, 8), (), 150, 250, 8),  # the last turn, whole
        ((3, 6), (7, 9), 150, 250, 9),  # as many rounds as fit
        ((3, 6), (7, 8, 9), 200, 250, 8),
        ((), (4, 6), 450, 500, 6),
        ((3,), (), 10, 10, 3),  # the least that can be
        ((3,), (7,), 10, 10, 7),
        ((), (), 500, 500, None),
    ],
)
def test_cut_keeps_as_much_as_fits(
    turns: tuple[int, ...],
    rounds: tuple[int, ...],
    recent: int,
    turn: int,
    expected: int | None,
) -> None:
    places = Places(sizes=SIZES, turns=turns, rounds=rounds)
    assert places.choose(recent=recent, turn=turn) == expected


@given(st.data())
def test_cut_is_at_a_place_that_is_allowed(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(0, 1000), min_size=1, max_size=30))
    inside = st.lists(st.integers(1, max(1, len(sizes) - 1)), unique=True)
    chosen = [n for n in sorted(data.draw(inside)) if n < len(sizes)]
    turns = [n for n in chosen if data.draw(st.booleans())]
    rounds = [n for n in chosen if n not in turns]
    recent, turn = data.draw(st.integers(0, 5000)), data.draw(st.integers(0, 9000))
    cut = Places(sizes=sizes, turns=turns, rounds=rounds).choose(
        recent=recent, turn=turn
    )
    if cut is None:
        assert not chosen
        return
    assert cut in chosen
    if turns and sum(sizes[turns[-1] :]) <= max(recent, turn):
        assert cut in turns  # the last turn is kept whole
    if cut in turns and sum(sizes[cut:]) <= recent:
        assert all(sum(sizes[n:]) > recent for n in turns if n < cut)
