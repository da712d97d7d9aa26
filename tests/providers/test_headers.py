"""Headers that are made once and stay as they are."""

from __future__ import annotations

from twisted.web.http_headers import Headers

from moltbot_gw.providers.headers import FixedHeaders


def _made() -> FixedHeaders:
    return FixedHeaders(Headers({b"authorization": [b"Bearer KEY"], b"X-A": [b"1"]}))


def test_they_stand_on_the_wire_as_they_were_given() -> None:
    assert _made().lines == (
        b"Authorization: Bearer KEY\r\nX-A: 1\r\nAccept-Encoding: identity\r\n"
    )


def test_no_compression_is_asked_for_whatever_was_configured() -> None:
    headers = FixedHeaders(Headers({b"accept-encoding": [b"gzip", b"br"]}))
    assert headers.lines == b"Accept-Encoding: identity\r\n"


def test_a_line_break_in_a_value_makes_no_second_header() -> None:
    assert FixedHeaders(Headers({b"X-A": [b"1\r\nX-B: 2"]})).lines.count(b"\r\n") == 2


def test_what_a_layer_adds_to_its_copy_is_not_taken() -> None:
    headers = _made()
    copy = headers.copy()
    copy.addRawHeader(b"Accept-Encoding", b"gzip")
    assert copy.getRawHeaders(b"Accept-Encoding") == [b"identity"]
    assert copy.lines == _made().lines


def test_they_do_not_change_what_they_were_made_of() -> None:
    given = Headers({b"X-A": [b"1"]})
    FixedHeaders(given)
    assert not given.hasHeader(b"Accept-Encoding")


def test_the_key_is_not_shown() -> None:
    assert "KEY" not in repr(_made())
