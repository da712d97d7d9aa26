from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_gw.errors import InvalidJSON, InvalidRequest, MissingField
from moltbot_gw.wire.jsontext import decode_body, encode_line


class Inner(msgspec.Struct):
    a: str


class Body(msgspec.Struct):
    n: int | None = None
    items: list[Inner] = []
    free: dict[str, Any] | None = None


DECODER = msgspec.json.Decoder(Body)
HINTS = {"n": "send a number"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["n", "items", "free", "a", "z"]), inner)
    ),
    max_leaves=10,
)


def decode(body: bytes) -> Body:
    return decode_body(body, DECODER, HINTS)


def refusal(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        decode(body)
    assert caught.value.message.isprintable()
    return caught.value


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_encoded_text_is_one_line_for_every_splitter(text: str) -> None:
    data = encode_line({"t": text})
    assert len(data.splitlines()) == len(data.decode().splitlines()) == 1
    assert json.loads(data) == {"t": text}


@pytest.mark.parametrize("char", "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
def test_every_line_end_is_escaped(char: str) -> None:
    assert len(encode_line(f"a{char}é").decode().splitlines()) == 1


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes_give_a_value_or_a_refusal(body: bytes) -> None:
    with contextlib.suppress(InvalidRequest):
        decode(body)


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_random_json_gives_a_value_or_a_refusal(tree: Any) -> None:
    with contextlib.suppress(InvalidRequest):
        decode(json.dumps(tree).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"{",
        b"{} x",
        b"null",
        b"[]",
        b"5",
        b'"x"',
        b"{'n':1}",
        b'{"n":1,}',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        "{}".encode("utf-32-le"),
        b'{"x":NaN}',
        b'{"n":NaN}',
        b'{"x":-Infinity}',
        b'{"x":"\xff"}',
        b'{"x":"\xed\xa0\x80"}',
        b'{"x":"\xc0\x80"}',
        b'{"\xff":1}',
        b'{"x":"\\ud800"}',
        b'{"x":"\\udc00\\ud800"}',
        b'{"x":"\x00"}',
        b'{"x":"a\nb"}',
        b'{"x":"\\q"}',
        b'{"n":01}',
    ],
)
def test_what_is_no_strict_json_object_is_invalid_json(body: bytes) -> None:
    error = refusal(body)
    assert isinstance(error, InvalidJSON)
    assert (error.code, error.param) == ("invalid_json", None)


@pytest.mark.parametrize(
    "bomb",
    [
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"free":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b"[" * 100_000,
    ],
)
def test_depth_bomb_is_refused(bomb: bytes) -> None:
    assert isinstance(refusal(bomb), InvalidJSON)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"n":' + b"9" * 5000 + b"}", "n"),
        (b'{"n":1e999}', "n"),
        (b'{"n":"1"}', "n"),
        (b'{"n":true}', "n"),
        (b'{"free":{"a":1e999}}', "free[...]"),
        (b'{"free":{"a":' + b"9" * 5000 + b"}}", "free[...]"),
        (b'{"items":[{"a":"x"},{"a":5}]}', "items[1].a"),
        (b'{"items":[5]}', "items[0]"),
    ],
)
def test_wrong_value_is_named_by_its_path(body: bytes, param: str) -> None:
    error = refusal(body)
    assert (error.code, error.param) == ("invalid_value", param)
    assert error.message.startswith(f"{param}: ")


def test_hint_tells_what_to_send_instead() -> None:
    assert refusal(b'{"n":"x"}').message == (
        "n: expected `int | null`, got `str`; send a number."
    )


def test_missing_member_is_named_by_its_path() -> None:
    error = refusal(b'{"items":[{}]}')
    assert isinstance(error, MissingField)
    assert (error.code, error.param) == ("missing_field", "items[0].a")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"free":{"b":[1,{"c":"x\\u0000"}]}}', "free.b[1].c"),
        (b'{"free":{"b":{"a\\u0000":1}}}', "free.b"),
        (b'{"items":[{"a":"x"},{"a":"\\u0000"}]}', "items[1].a"),
        (b'{"n":1,"free":{"a":[1,["a"]],"b":null,"c":"\\u0000"}}', "free.c"),
    ],
)
def test_nul_is_refused_wherever_it_would_be_kept(body: bytes, param: str) -> None:
    error = refusal(body)
    assert (error.param, error.code) == (param, "invalid_value")
    assert error.message == f"{param}: the character U+0000 is not allowed."


def test_nul_at_the_top_is_refused_without_a_path() -> None:
    decoder = msgspec.json.Decoder(dict[str, int])
    with pytest.raises(InvalidRequest) as caught:
        decode_body(b'{"\\u0000":1}', decoder, {})
    assert caught.value.param is None


def test_nul_in_an_unknown_member_is_ignored_with_it() -> None:
    assert decode(b'{"n":1,"x":{"y":"\\u0000"}}').n == 1


def test_escaped_backslash_before_u0000_is_no_nul() -> None:
    value = decode(b'{"free":{"a":"\\\\u0000"}}')
    assert value.free == {"a": "\\u0000"}


def test_last_of_duplicate_members_wins() -> None:
    assert decode(b'{"n":1,"n":2}').n == 2


def test_unknown_members_are_ignored() -> None:
    assert decode(b'{"n":1,"x":{"y":[1e999]}}').n == 1


def test_echo_of_a_strangers_words_is_short() -> None:
    body = b'{"items":[{"a":"' + b"x" * 1000 + b'"}],"free":{"a":"\\u0000"}}'
    assert len(refusal(body).message) < 300
    assert len(refusal(b"x" * 1000).message) < 300


def test_path_of_a_nul_is_cut_and_printable() -> None:
    name = "\n\u2028" + "y" * 1000
    body = json.dumps({"free": {name: {name: "\x00"}}}).encode()
    error = refusal(body)
    assert error.param is not None
    assert len(error.param) < 210
    assert error.param.isprintable()
