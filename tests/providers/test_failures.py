"""What kind of failure a status, a name or a text of a provider stands for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from moltbot_gw.errors import FailureReason
from moltbot_gw.providers.failures import (
    MAX_RETRY_AFTER,
    reason_in_stream,
    reason_of,
    retry_after_of,
)
from moltbot_gw.wire.openai import decode_error
from moltbot_gw.wire.providererror import ProviderError


def told(message: str = "", **names: Any) -> ProviderError:
    """Return what an error body with these members is read as."""
    return decode_error(json.dumps({"error": {"message": message, **names}}).encode())


def _openai(message: str = "", code: str | None = None) -> ProviderError:
    return told(message, type="invalid_request_error", code=code)


# -- error statuses


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (301, "unreachable"),
        (400, "format"),
        (401, "auth"),
        (402, "billing"),
        (403, "auth"),
        (404, "model_not_found"),
        (408, "timeout"),
        (409, "other"),
        (413, "context_overflow"),
        (418, "other"),
        (422, "format"),
        (429, "rate_limit"),
        (500, "server_error"),
        (502, "server_error"),
        (503, "overloaded"),
        (504, "timeout"),
        (520, "server_error"),
        (522, "timeout"),
        (524, "timeout"),
        (529, "overloaded"),
    ],
)
@pytest.mark.parametrize("names", [{}, {"type": "invalid_request_error"}, {"code": 7}])
def test_a_status_is_enough(
    status: int, reason: FailureReason, names: dict[str, Any]
) -> None:
    assert reason_of(status, told(**names)) == reason


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        # One status, several meanings.
        (429, told(type="insufficient_quota", code="insufficient_quota"), "billing"),
        (429, told(type="tokens", code="rate_limit_exceeded"), "rate_limit"),
        (429, told(type="requests", code=None), "rate_limit"),
        (413, told(type="tokens", code="rate_limit_exceeded"), "rate_limit"),
        (500, told(type="overloaded_error"), "overloaded"),
        (529, told(type="rate_limit_error"), "rate_limit"),
        (400, told(type="billing_error"), "billing"),
        (400, _openai(code="context_length_exceeded"), "context_overflow"),
        (400, told(code=400, type="exceed_context_size_error"), "context_overflow"),
        (413, told(type="request_too_large"), "context_overflow"),
        (400, _openai(code="invalid_api_key"), "auth"),
        (400, _openai(code="model_not_found"), "model_not_found"),
        (404, told(type="not_found_error"), "model_not_found"),
        (429, told(code=429, status="RESOURCE_EXHAUSTED"), "rate_limit"),
        (403, told(code=403, status="PERMISSION_DENIED"), "auth"),
        (500, told(type="timeout_error"), "timeout"),
        # Names that say only whose fault it is.
        (529, told(type="api_error"), "overloaded"),
        (402, told(type="api_error"), "billing"),
        (503, told(code="server_error"), "overloaded"),
        (401, _openai(), "auth"),
    ],
)
def test_a_name_says_more_than_a_status(
    status: int, error: ProviderError, reason: FailureReason
) -> None:
    assert reason_of(status, error) == reason


@pytest.mark.parametrize(
    ("status", "message", "reason"),
    [
        (400, "Your credit balance is too low to use this API.", "billing"),
        (429, "You are out; please check your plan and billing details.", "billing"),
        (400, "prompt is too long: 203112 tokens > 200000 maximum", "context_overflow"),
        (400, "This model's maximum context length is 8192.", "context_overflow"),
        (400, "This model's maximum prompt length is 131072", "context_overflow"),
        (400, "the request exceeds the available context size", "context_overflow"),
        (400, "context length of 4096 is exceeded", "context_overflow"),
        (400, "Please reduce the length of the messages.", "context_overflow"),
        (400, "input token count (9) exceeds the maximum (8)", "context_overflow"),
        (500, "context window exceeded", "context_overflow"),
        (400, "API key not valid. Please pass a valid API key.", "auth"),
        (400, "max_tokens: too large", "format"),
        # A status that says enough is not argued with.
        (401, "rate limit", "auth"),
        (429, "invalid api key", "rate_limit"),
        (503, "maximum context length", "overloaded"),
        (404, "timed out", "model_not_found"),
    ],
)
def test_a_text_counts_where_the_status_says_little(
    status: int, message: str, reason: FailureReason
) -> None:
    assert reason_of(status, told(message)) == reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "server_error"),
        (b"<html>rate limit</html>", "server_error"),
        (b'{"object":"error","type":"rate_limit_error","message":"x"}', "rate_limit"),
        (b'{"message":"x","code":"insufficient_quota"}', "billing"),
        (b'[{"error":{"status":"UNAVAILABLE"}}]', "overloaded"),
        (b'{"error":{"type":{"a":1},"code":[2]}}', "server_error"),
    ],
)
def test_bodies_of_other_shapes(body: bytes, reason: FailureReason) -> None:
    assert reason_of(500, decode_error(body)) == reason


# -- failures inside of an answer


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (told(type="overloaded_error"), "overloaded"),
        (told(type="rate_limit_error"), "rate_limit"),
        (told(code=429), "rate_limit"),
        (told("no credit balance", code="429"), "billing"),
        (told(code="503"), "overloaded"),
        (told(code=200), "other"),
        (told(type="api_error"), "server_error"),
        (told(type="server_error", code=None), "server_error"),
        (told(type="invalid_request_error"), "format"),
        (told("prompt is too long", type="invalid_request_error"), "context_overflow"),
        (told(code="content_filter"), "other"),
        (told("Rate limit reached", code="17"), "rate_limit"),
        (told("Too Many Requests"), "rate_limit"),
        (told("The model is overloaded"), "overloaded"),
        (told("insufficient credits"), "billing"),
        (told("Incorrect API key provided"), "auth"),
        (told("upstream request timeout"), "timeout"),
        (told("it timed out"), "timeout"),
        (told(), "server_error"),
        (ProviderError("the provider sent something odd"), "server_error"),
    ],
)
def test_failure_in_an_answer(error: ProviderError, reason: FailureReason) -> None:
    assert reason_in_stream(error) == reason


# -- Retry-After


class Answer:
    """As much of a response as has headers."""

    def __init__(self, **headers: str) -> None:
        self.headers = Headers()
        for name, value in headers.items():
            self.headers.setRawHeaders(name.replace("_", "-"), [value.encode()])


def waits(answer: Any) -> int | None:
    response: IResponse = answer
    return retry_after_of(response)


DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("17", 17),
        (" 17 ", 17),
        ("0", 1),
        ("86401", MAX_RETRY_AFTER),
        ("9" * 60, MAX_RETRY_AFTER),
        ("9" * 5000, MAX_RETRY_AFTER),
        ("-5", None),
        ("", None),
        ("soon", None),
        ("Wed, 21 Oct 2026 07:30:05 GMT", 125),
        ("Wednesday, 21-Oct-26 07:30:05 GMT", 125),
        ("Wed Oct 21 07:30:05 2026", 125),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 1),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
        ("Wed, 21 Foo 2026 07:28:00 GMT", None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    ],
)
def test_the_time_that_a_provider_asks_for(value: str, seconds: int | None) -> None:
    assert waits(Answer(Retry_After=value, Date=DATE)) == seconds


def test_a_date_without_another_says_nothing() -> None:
    assert waits(Answer(Retry_After=DATE)) is None
    assert waits(Answer()) is None


@given(st.text(), st.text())
def test_any_header_gives_a_sane_time_or_none(value: str, date: str) -> None:
    answer = Answer()
    answer.headers.setRawHeaders(b"Retry-After", [value.encode("utf-8", "replace")])
    answer.headers.setRawHeaders(b"Date", [date.encode("utf-8", "replace")])
    seconds = waits(answer)
    assert seconds is None or 1 <= seconds <= MAX_RETRY_AFTER
