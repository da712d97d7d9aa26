"""One line for each request, with nothing in it that a client could put there."""

from __future__ import annotations

from typing import Any

import pytest

from moltbot_gw.errors import ProviderFailed
from moltbot_gw.events import Usage
from tests.support.gateway import Gateway, LogTape
from tests.support.http_client import TOKEN, chat_request, http_request

TIMES = ("queue_ms", "first_ms", "run_ms", "prompt_tokens", "completion_tokens")
ID: dict[str, Any] = {"X_Request_Id": "r-1"}


def test_a_request_has_one_line(gateway: Gateway, log: LogTape) -> None:
    gateway.ask(http_request(**ID))
    assert log.lines == ["GET models 200 0 ms request=r-1 run=-"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_run_is_named_and_timed(gateway: Gateway, log: LogTape, stream: bool) -> None:
    connection, call = gateway.chat({"X-Request-Id": "r-1"}, stream=stream)
    gateway.advance(1.5)
    call.finish()
    body = connection.answer()
    run = body.chunks[0]["id"] if stream else body.json["id"]
    (line,) = log.lines
    began = (
        f"POST chat.completions 200 1500 ms request=r-1 run={run} agent=main session="
    )
    assert line.startswith(began)
    assert line.endswith(" outcome=done queue_ms=0 run_ms=1500")


def test_a_run_that_speaks_has_its_times_and_tokens(
    gateway: Gateway, log: LogTape
) -> None:
    connection, call = gateway.chat({"X-Request-Id": "r-1"}, stream=True, user="kim")
    gateway.advance(0.25)
    call.say("hello")
    gateway.advance(0.5)
    call.finish(usage=Usage(prompt_tokens=5, completion_tokens=2, total_tokens=7))
    connection.answer()
    (event,) = [one for one in log.events if "status" in one]
    fields = {name: event[name] for name in TIMES}
    assert fields == {
        "queue_ms": 0,
        "first_ms": 250,
        "run_ms": 750,
        "prompt_tokens": 5,
        "completion_tokens": 2,
    }
    assert (event["agent"], event["outcome"], event["status"]) == ("main", "done", 200)


def test_a_stream_that_failed_after_its_head_says_so(
    gateway: Gateway, log: LogTape
) -> None:
    connection, call = gateway.chat(stream=True)
    call.say("half an ans")
    call.fail(ProviderFailed("it went away"))
    connection.answer()
    (event,) = [one for one in log.events if "status" in one]
    assert (event["status"], event["outcome"]) == (200, "failed")
    assert event["code"] == "provider_error"
    assert " outcome=failed code=provider_error " in log.lines[-1]


def test_a_session_is_tagged_and_not_named(gateway: Gateway, log: LogTape) -> None:
    for user in ("kim@example.org", "kim@example.org", "lee@example.org"):
        gateway.complete(user=user)
    tags = [event["session"] for event in log.events if "session" in event]
    assert tags[0] == tags[1] != tags[2]
    assert "example.org" not in repr(log.events)


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (http_request(token=None, **ID), "GET models 401 0 ms request=r-1 run=-"),
        (http_request("GET", "/x", **ID), "GET - 404 0 ms request=r-1 run=-"),
        (
            http_request("POST", "/chat/completions", b"{}", token=None, **ID),
            "POST chat.completions 401 invalid_api_key request=r-1",
        ),
        (
            http_request("POST", "/chat/completions", b"{}", **ID),
            "POST chat.completions 400 0 ms request=r-1 run=-",
        ),
        (http_request(X_A="\x00", **ID), "GET - 400 invalid_value request="),
        (b"\x00\x1b[31m\r\n", "- - 400 invalid_value request="),
    ],
)
def test_a_refusal_has_one_line(
    gateway: Gateway, log: LogTape, raw: bytes, line: str
) -> None:
    gateway.ask(raw)
    (logged,) = log.lines
    assert logged.startswith(line)


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_whose_client_went_has_one_line(
    gateway: Gateway, log: LogTape, stream: bool
) -> None:
    connection, _ = gateway.chat({"X-Request-Id": "r-1"}, stream=stream)
    connection.hang_up()
    (line,) = log.lines
    assert line.startswith("POST chat.completions 499 0 ms request=r-1 run=chatcmpl_")


def test_a_connection_that_never_asked_has_no_line(
    gateway: Gateway, log: LogTape
) -> None:
    gateway.connect().hang_up()
    gateway.send(http_request()[:20]).hang_up()
    gateway.send(chat_request()[:-1]).hang_up()
    assert log.lines == []


@pytest.mark.parametrize(
    "raw",
    [
        http_request("GET", "/v1/models?token=SECRET"),
        http_request("GET", "/v1/models?token=SECRET", token=None),
        http_request("POST", "/v1/models?token=SECRET", b"SECRET"),
        http_request("GET", "/SECRET"),
        http_request("GET", "/models/SECRET"),
        http_request("GET", "/v1/models?token=SECRET", X_A="\x01"),
        http_request(X_Request_Id="SECRET SECRET", Cookie="SECRET"),
        http_request(token="SECRET"),
        http_request("GET", "/" + "SECRET" * 4000),
        chat_request(user="SECRET", model="SECRET"),
    ],
)
def test_no_line_holds_what_a_client_may_hide(
    gateway: Gateway, log: LogTape, raw: bytes
) -> None:
    gateway.send(raw).hang_up()
    everything = repr(log.events)
    assert len(log.lines) == 1
    assert "SECRET" not in everything
    assert TOKEN not in everything


@pytest.mark.parametrize("method", ["G" * 5000, "{line}", "A%0aB", "<b>"])
def test_a_method_is_logged_as_one_short_word(
    gateway: Gateway, log: LogTape, method: str
) -> None:
    gateway.ask(http_request(method, "/v1/models"))
    (line,) = log.lines
    assert len(line) < 120
    assert line.isprintable()
