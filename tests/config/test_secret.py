from __future__ import annotations

import copy
import pickle

import msgspec
import pytest

from moltbot_gw.config import Secret, Unread, decode_hook


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{:>30}".format, ascii])
def test_secret_never_shows_its_text(show: object) -> None:
    assert show(Secret("hunter2")) == "Secret(***)"  # type: ignore[operator]


def test_secret_is_revealed_on_demand() -> None:
    assert Secret("hunter2").reveal() == "hunter2"


def test_secrets_compare_by_their_text() -> None:
    assert Secret("ä") == Secret("ä")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_secret_with_half_a_surrogate_pair_compares() -> None:
    assert Secret("\ud800") == Secret("\ud800")


def test_secrets_have_no_order() -> None:
    with pytest.raises(TypeError):
        sorted([Secret("a"), Secret("b")])  # type: ignore[type-var]


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_secret_refuses_to_be_serialized(duplicate: object) -> None:
    with pytest.raises(TypeError, match="pickled"):
        duplicate(Secret("a"))  # type: ignore[operator]


def test_secret_has_no_attribute_dictionary() -> None:
    assert not hasattr(Secret("a"), "__dict__")


def test_msgspec_makes_secrets_with_the_hook() -> None:
    made = msgspec.convert(["a"], tuple[Secret, ...], dec_hook=decode_hook)
    assert made == (Secret("a"),)


def test_msgspec_error_about_a_secret_does_not_quote_it() -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(424242, Secret, dec_hook=decode_hook)
    assert "424242" not in str(caught.value)


def test_unread_forgets_what_it_stands_for() -> None:
    made = msgspec.convert({"botToken": "hunter2"}, Unread, dec_hook=decode_hook)
    assert repr(made) == "Unread()"
    assert made == Unread()
    assert hash(made) == hash(Unread())
