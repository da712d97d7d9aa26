"""``/v1/runs/{id}``: what is told of a run, and who may cut it off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from moltbot_gw.agents.endedruns import KEPT_SECONDS
from moltbot_gw.agents.run import Run
from moltbot_gw.errors import ProviderFailed
from moltbot_gw.events import Usage
from tests.agents.support import GatedStore
from tests.support.gateway import CREATED, Gateway
from tests.support.http_client import Answer, chat_body, chat_request, http_request

MakeGateway = Callable[..., Gateway]
Start = Callable[..., Run]
USAGE = Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3)


def ask(gateway: Gateway, run_id: str, what: str = "", method: str = "GET") -> Answer:
    return gateway.ask(http_request(method, f"/v1/runs/{run_id}{what}"))


def cancel(gateway: Gateway, run_id: str) -> Answer:
    return ask(gateway, run_id, "/cancel", "POST")


def last_run(gateway: Gateway) -> Run:
    return gateway.agents.active[-1]


# -- looking


def test_running_run_shows_what_it_is(gateway: Gateway) -> None:
    gateway.advance(2)
    gateway.chat(model="moltbot/beta", user="alice")
    run = last_run(gateway)
    assert ask(gateway, run.run_id).json == {
        "id": run.run_id,
        "object": "run",
        "state": "running",
        "agent": "beta",
        "session_key": "agent:beta:openai-user:alice",
        "key": None,
        "session_id": run.session_id,
        "model": "script/model",
        "created": CREATED + 2,
        "started_at_ms": (CREATED + 2) * 1000,
        "ended_at_ms": None,
        "finish_reason": None,
        "usage": None,
        "error": None,
    }


def test_ended_run_shows_how_it_ended(gateway: Gateway) -> None:
    connection, call = gateway.chat()
    gateway.advance(3)
    call.finish("length", USAGE)
    shown = ask(gateway, connection.answer().json["id"]).json
    assert (shown["state"], shown["finish_reason"]) == ("done", "length")
    assert shown["ended_at_ms"] - shown["started_at_ms"] == 3000
    assert shown["usage"] == connection.answer().json["usage"]
    assert shown["error"] is None


def test_failed_run_shows_its_error_as_the_client_got_it(gateway: Gateway) -> None:
    connection, call = gateway.chat()
    run = last_run(gateway)
    call.fail(ProviderFailed("It broke."))
    shown = ask(gateway, run.run_id).json
    assert (shown["state"], shown["finish_reason"]) == ("failed", None)
    assert shown["error"] == connection.answer().error


def test_waiting_run_has_not_begun(gateway: Gateway) -> None:
    gateway.chat(user="alice")
    gateway.send(chat_request(user="alice"))
    shown = ask(gateway, last_run(gateway).run_id).json
    assert (shown["state"], shown["started_at_ms"], shown["model"]) == (
        "waiting",
        None,
        None,
    )


def test_run_is_forgotten_in_time(gateway: Gateway) -> None:
    run_id = gateway.complete().json["id"]
    gateway.advance(KEPT_SECONDS - 1)
    assert ask(gateway, run_id).status == 200
    gateway.advance(1)
    assert ask(gateway, run_id).status == 404


def test_runs_of_the_other_edge_are_shown_too(gateway: Gateway, start: Start) -> None:
    start(gateway, "my:run-1", session_key="M ain")
    assert ask(gateway, "my:run-1").json["session_key"] == "M ain"
    assert ask(gateway, "my%3Arun-1").json["id"] == "my:run-1"


def test_looking_needs_no_body_and_head_gets_none(gateway: Gateway) -> None:
    run_id = gateway.complete().json["id"]
    data = http_request("HEAD", f"/v1/runs/{run_id}")
    answer = gateway.send(data).answer(head_only=True)
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.header("content-length") or 0) > 100


# -- who and where


@pytest.mark.parametrize(
    "path", ["/runs/r-1", "/v1/v1/runs/r-1", "/v1/runs/r-1/", "/v1/runs/r-1?x=1"]
)
def test_runs_are_served_at_every_spelling(
    gateway: Gateway, path: str, start: Start
) -> None:
    start(gateway, "r-1")
    assert gateway.ask(http_request("GET", path)).json["id"] == "r-1"


@pytest.mark.parametrize("what", ["", "/stream", "/cancel"])
def test_unknown_run_is_not_found(gateway: Gateway, what: str) -> None:
    answer = ask(gateway, "ghost", what, "POST" if what == "/cancel" else "GET")
    assert (answer.status, answer.error["code"]) == (404, "run_not_found")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/%00",
        "/a%20b",
        "/a%0d%0ab",
        "/%ff",
        "/a%2Fstream",
        "/" + "a" * 256,
        "/a/other",
        "/a/stream/b",
        "//a",
        "/a//stream",
    ],
)
def test_no_other_path_leads_to_a_run(
    gateway: Gateway, path: str, start: Start
) -> None:
    start(gateway, "a")
    answer = gateway.ask(http_request("GET", f"/v1/runs{path}"))
    assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize("run_id", ["..", "%41", "stream", "<b>", "a?b#c", "a" * 255])
def test_any_printable_id_is_found_and_taken_literally(
    gateway: Gateway, run_id: str, start: Start
) -> None:
    start(gateway, run_id)
    encoded = "".join(f"%{ord(char):02x}" for char in run_id)
    assert ask(gateway, encoded).json["id"] == run_id


@pytest.mark.parametrize(
    ("what", "method", "allow"),
    [
        ("", "POST", "GET, HEAD"),
        ("/stream", "POST", "GET, HEAD"),
        ("/cancel", "GET", "POST"),
        ("/cancel", "HEAD", "POST"),
    ],
)
def test_other_methods_are_refused(
    gateway: Gateway, what: str, method: str, allow: str
) -> None:
    data = http_request(method, f"/v1/runs/r{what}", token=None)
    answer = gateway.send(data).answer(head_only=method == "HEAD")
    assert (answer.status, answer.header("allow")) == (405, allow)


@pytest.mark.parametrize("what", ["", "/stream"])
def test_runs_need_the_secret(gateway: Gateway, what: str, start: Start) -> None:
    start(gateway, "r")
    data = http_request("GET", f"/v1/runs/r{what}", token="wrong")
    assert gateway.ask(data).status == 401


def test_runs_are_disabled_with_the_endpoint(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(enabled=False)
    answer = ask(gateway, "r", "/stream")
    assert (answer.status, answer.error["code"]) == (404, "endpoint_disabled")


@pytest.mark.parametrize("what", ["", "/stream", "/cancel"])
def test_hidden_run_is_as_good_as_unknown(
    make_gateway: MakeGateway, what: str, start: Start
) -> None:
    def may_see(request: Any, run: Run) -> bool:
        return run.run_id != "hidden"

    gateway = make_gateway(may_see=may_see)
    run = start(gateway, "hidden")
    method = "POST" if what == "/cancel" else "GET"
    hidden, unknown = (ask(gateway, one, what, method) for one in ("hidden", "ghost"))
    assert (hidden.status, hidden.body) == (unknown.status, unknown.body)
    assert run.cancelled is None


def test_an_allowed_page_may_ask_before_it_attaches(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(cors=("https://app.example",))
    asking = {
        "Origin": "https://app.example",
        "Access_Control_Request_Method": "GET",
        "Access_Control_Request_Headers": "authorization, last-event-id",
    }
    data = http_request("OPTIONS", "/v1/runs/r/stream", token=None, **asking)
    answer = gateway.ask(data)
    assert answer.status == 204
    assert answer.header("access-control-allow-methods") == "GET, HEAD"
    allowed = answer.header("access-control-allow-headers")
    assert allowed == "authorization, last-event-id"


# -- cutting off


def test_cancelled_run_ends_for_its_client(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True, user="alice")
    run = last_run(gateway)
    call.say("hel")
    answer = cancel(gateway, run.run_id)
    assert answer.status == 200
    assert answer.json["state"] == "aborted"
    assert call.cancelled
    events = [event.data for event in connection.answer().events]
    assert '"run_aborted"' in events[-2]
    assert events[-1] == "[DONE]"
    (_, said) = gateway.history("agent:main:openai-user:alice")
    assert (said.text, said.stop_reason) == ("hel", "aborted")


def test_run_that_has_yet_to_store_its_end_is_accepted(
    make_gateway: MakeGateway,
) -> None:
    store = GatedStore("end")
    gateway = make_gateway(store=store)
    gateway.chat()
    run = last_run(gateway)
    for _ in range(2):
        answer = cancel(gateway, run.run_id)
        assert (answer.status, answer.json["state"]) == (202, "cancelling")
    store.open_gate()
    assert ask(gateway, run.run_id).json["state"] == "aborted"


def test_waiting_run_can_be_cancelled(gateway: Gateway) -> None:
    gateway.chat(user="alice")
    waiting = gateway.send(chat_request(user="alice"))
    run_id = last_run(gateway).run_id
    assert cancel(gateway, run_id).json["state"] == "aborted"
    assert waiting.answer().error["code"] == "run_aborted"


def test_ended_run_stays_as_it_is(gateway: Gateway) -> None:
    run_id = gateway.complete().json["id"]
    answer = cancel(gateway, run_id)
    assert (answer.status, answer.json["state"]) == (200, "done")


def test_body_of_a_cancel_has_no_use(gateway: Gateway, start: Start) -> None:
    start(gateway, "r")
    path = "/v1/runs/r/cancel"
    assert gateway.ask(http_request("POST", path, b"{}")).status == 200
    large = http_request("POST", path, chat_body(user="x" * 70_000))
    assert gateway.ask(large).status == 413
