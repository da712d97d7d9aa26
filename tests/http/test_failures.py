"""Defects of ours: told as JSON, with the request id; never a page of HTML."""

from __future__ import annotations

import pytest
from klein import Klein

from moltbot_gw.agents.run import Run
from moltbot_gw.agents.service import AgentService
from moltbot_gw.wire.chat_response import ChunkRenderer
from tests.support.gateway import Gateway, LogTape
from tests.support.http_client import chat_request, http_request

SECRET = "secret detail in /home/x"


def explode(*_: object) -> object:
    raise RuntimeError(SECRET)


@pytest.mark.parametrize("stream", [False, True])
def test_a_defect_before_the_first_byte_is_a_500_with_the_request_id(
    gateway: Gateway, log: LogTape, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setattr(AgentService, "start_run", explode)
    connection = gateway.send(chat_request({"X-Request-Id": "r-1"}, stream=stream))
    answer = connection.answer()
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert "r-1" in answer.error["message"]
    assert SECRET not in answer.body.decode()
    assert not connection.closed
    (problem,) = log.take_problems()
    assert "request r-1 failed" in problem
    assert SECRET in problem


@pytest.mark.parametrize("words", ["hello", None])
def test_a_defect_after_the_first_byte_breaks_the_stream(
    gateway: Gateway,
    log: LogTape,
    monkeypatch: pytest.MonkeyPatch,
    words: str | None,
) -> None:
    connection, call = gateway.chat({"X-Request-Id": "r-1"}, stream=True)
    monkeypatch.setattr(ChunkRenderer, "render", explode)
    call.say(words) if words else call.finish()
    answer = connection.stream()
    assert not answer.complete
    assert connection.closed
    assert answer.chunks[-1]["error"]["code"] == "internal_error"
    assert "r-1" in answer.chunks[-1]["error"]["message"]
    assert answer.records[-1] == "[DONE]"
    assert b"<html" not in connection.received
    assert SECRET in "".join(log.take_problems())
    assert gateway.agents.idle


def test_a_defect_of_the_first_record_is_a_500(
    gateway: Gateway, log: LogTape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChunkRenderer, "render", explode)
    connection = gateway.send(chat_request(stream=True))
    assert connection.answer().status == 500
    assert gateway.model.calls[0].cancelled
    assert SECRET in "".join(log.take_problems())


def test_a_defect_that_a_stalled_reader_meets_is_cut_off_in_time(
    gateway: Gateway, log: LogTape, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, call = gateway.chat(stream=True)
    monkeypatch.setattr(ChunkRenderer, "render", explode)
    connection.socket.full = True
    call.say("hello")
    gateway.advance(30)
    assert connection.aborted
    assert SECRET in "".join(log.take_problems())


def test_a_defect_of_the_run_is_an_outcome(
    gateway: Gateway, log: LogTape, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, call = gateway.chat()
    call.fail(RuntimeError(SECRET))
    answer = connection.answer()
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert SECRET not in answer.body.decode()
    assert SECRET in "".join(log.take_problems())


def test_a_defect_of_rendering_an_answer_is_a_500(
    gateway: Gateway, log: LogTape, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, call = gateway.chat()
    monkeypatch.setattr(Run, "text", explode)
    call.finish()
    assert connection.answer().status == 500
    assert SECRET in "".join(log.take_problems())


def test_a_defect_of_the_failure_handler_breaks_the_connection(
    gateway: Gateway, log: LogTape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moltbot_gw.http.api.prepare_error", explode)
    connection = gateway.send(http_request("GET", "/models/ghost"))
    assert connection.received == b""
    assert connection.aborted
    assert SECRET in "".join(log.take_problems())


def test_a_defect_of_the_router_is_a_500(
    gateway: Gateway, log: LogTape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Klein, "execute_endpoint", explode)
    answer = gateway.send(http_request()).answer()
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert SECRET not in answer.body.decode()
    assert SECRET in "".join(log.take_problems())
