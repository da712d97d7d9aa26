"""One line for each request, with nothing in it that a client could put there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.gateway import Gateway, LogTape
from tests.support.http_client import TOKEN, chat_request, http_request

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
    line = f"POST chat.completions 200 1500 ms request=r-1 run={run}"
    assert log.lines == [line]


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
