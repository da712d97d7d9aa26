"""What is counted, as a scrape shows it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.address import IPv4Address

from moltbot_gw.errors import ProviderOverloaded
from moltbot_gw.events import Usage
from tests.monitoring.support import Figures, Watched
from tests.sessions.support import start
from tests.support.gateway import LogTape
from tests.support.http_client import chat_body, chat_request, http_request
from tests.support.keys import make_key, secret_of

Make = Callable[..., Watched]
MAIN = {"agent": "main", "provider": "script"}


def at_most(figures: Figures, name: str, bound: str, **labels: str) -> float:
    return figures.value(f"{name}_bucket", le=bound, **labels)


class TestRequests:
    def test_are_counted_by_route_and_status(self, watched: Watched) -> None:
        watched.complete()
        watched.ask(http_request("GET", "/v1/models/ghost"))
        watched.ask(http_request("GET", "/v1/models/other"))
        watched.ask(http_request(token=None))
        watched.ask(http_request("POST", "/chat/completions", b"{}", token=None))
        watched.ask(http_request("GET", "/a/strangers/text"))
        found = watched.figures().samples("moltbot_http_requests_total")
        assert {
            (dict(labels)["route"], dict(labels)["status"]): value
            for labels, value in found.items()
        } == {
            ("chat.completions", "200"): 1,
            ("chat.completions", "401"): 1,
            ("model", "404"): 2,
            ("models", "401"): 1,
            ("-", "404"): 1,
        }

    def test_connections_are_counted_and_so_is_who_finds_no_room(
        self, make_watched: Make, log: LogTape
    ) -> None:
        watched = make_watched(max_connections=3)
        for _ in range(2):
            watched.connect()
        assert watched.figures().value("moltbot_http_connections") == 3
        assert watched.site.buildProtocol(None) is None
        assert "more are refused" in log.take_problems()[0]
        watched.connections[0].hang_up()
        figures = watched.figures()
        assert figures.value("moltbot_http_connections_refused_total") == 1

    def test_wrong_secrets_are_counted_on_both_edges(self, make_watched: Make) -> None:
        watched = make_watched(max_auth_failures=2)
        peer = IPv4Address("TCP", "192.0.2.7", 50_000)
        for _ in range(3):
            watched.connect(peer=peer).send(http_request(token="guess"))
        watched.client("192.0.2.8").log_in(auth={"token": "guess"})
        figures = watched.figures()
        assert figures.value("moltbot_auth_failures_total") == 3
        assert figures.value("moltbot_auth_refusals_total") == 1


class TestRuns:
    def test_are_counted_by_agent_provider_and_outcome(self, watched: Watched) -> None:
        watched.complete()
        watched.complete(model="moltbot:beta")
        watched.complete(model="moltbot:beta")
        connection, _ = watched.chat()
        connection.hang_up()
        _, call = watched.chat()
        call.fail(ProviderOverloaded("later"))
        figures = watched.figures()
        runs = "moltbot_runs_total"
        assert figures.value(runs, outcome="done", **MAIN) == 1
        assert figures.value(runs, outcome="aborted", **MAIN) == 1
        assert figures.value(runs, outcome="failed", **MAIN) == 1
        beta = {"agent": "beta", "provider": "script"}
        assert figures.value(runs, outcome="done", **beta) == 2
        code = {"code": "provider_overloaded", **MAIN}
        assert figures.samples("moltbot_run_failures_total") == {
            tuple(sorted(code.items())): 1
        }

    def test_are_timed_from_their_admission(self, watched: Watched) -> None:
        connection, call = watched.chat(stream=True)
        watched.advance(0.3)
        call.say("hello")
        watched.advance(2.0)
        call.finish()
        assert connection.answer().text == "hello"
        figures = watched.figures()
        first, whole = "moltbot_run_first_token_seconds", "moltbot_run_seconds"
        assert figures.value(f"{first}_sum", **MAIN) == pytest.approx(0.3)
        assert at_most(figures, first, "0.25", **MAIN) == 0
        assert at_most(figures, first, "0.5", **MAIN) == 1
        assert at_most(figures, first, "+Inf", **MAIN) == 1
        assert figures.value(f"{whole}_sum", **MAIN) == pytest.approx(2.3)
        assert figures.value(f"{whole}_count", **MAIN) == 1

    def test_that_say_nothing_have_no_first_word(self, watched: Watched) -> None:
        _, call = watched.chat()
        call.fail(ProviderOverloaded("later"))
        figures = watched.figures()
        assert figures.samples("moltbot_run_first_token_seconds_count") == {}
        assert figures.value("moltbot_run_seconds_count", **MAIN) == 1

    def test_tokens_are_added_up_by_agent_and_model(self, watched: Watched) -> None:
        for _ in range(2):
            _, call = watched.chat()
            used = Usage(prompt_tokens=10, completion_tokens=3, cached_tokens=4)
            call.finish(usage=used)
        watched.complete()  # its provider tells of none
        figures = watched.figures()
        model = {"agent": "main", "model": "script/model"}
        assert figures.value("moltbot_tokens_total", kind="prompt", **model) == 20
        assert figures.value("moltbot_tokens_total", kind="completion", **model) == 6
        assert figures.value("moltbot_cached_prompt_tokens_total", **model) == 8

    def test_of_a_named_key_bear_its_name(self, make_watched: Make) -> None:
        watched = make_watched(keys=(make_key("ci"),))
        request = http_request(
            "POST", "/v1/chat/completions", chat_body(), token=secret_of("ci")
        )
        watched.send(request)
        used = Usage(prompt_tokens=10, completion_tokens=3)
        watched.model.calls[-1].finish(usage=used)
        watched.send(request)
        watched.model.calls[-1].fail(ProviderOverloaded("later"))
        figures, ci = watched.figures(), {"key": "ci"}
        runs = "moltbot_runs_total"
        assert figures.value(runs, outcome="done", **MAIN, **ci) == 1
        assert figures.value(runs, outcome="failed", **MAIN, **ci) == 1
        code = {"code": "provider_overloaded"}
        assert figures.value("moltbot_run_failures_total", **code, **MAIN, **ci) == 1
        model = {"agent": "main", "model": "script/model", "kind": "prompt"}
        assert figures.value("moltbot_tokens_total", **model, **ci) == 10
        route = {"route": "chat.completions", "status": "200"}
        assert figures.value("moltbot_http_requests_total", **route, **ci) == 1

    def test_that_wait_are_seen_and_their_wait_is_timed(
        self, make_watched: Make
    ) -> None:
        watched = make_watched(max_concurrent=1)
        _, first = watched.chat({"x-moltbot-session-key": "a"})
        watched.send(chat_request({"x-moltbot-session-key": "a"}))
        watched.send(chat_request({"x-moltbot-session-key": "b"}))
        figures = watched.figures()
        assert figures.value("moltbot_runs_active", agent="main") == 3
        assert figures.value("moltbot_lane_depth", lane="session") == 1
        assert figures.value("moltbot_lane_depth", lane="all") == 1
        watched.advance(4.0)
        first.finish()
        while len(watched.model.calls) < 3:
            watched.model.calls[-1].finish()
        watched.model.calls[-1].finish()
        figures = watched.figures()
        assert figures.value("moltbot_lane_wait_seconds_count") == 3
        assert figures.value("moltbot_lane_wait_seconds_sum") == pytest.approx(8.0)
        assert at_most(figures, "moltbot_lane_wait_seconds", "0.001") == 1
        assert figures.value("moltbot_runs_active", agent="main") == 0

    def test_that_are_refused_while_they_wait_have_no_provider(
        self, make_watched: Make
    ) -> None:
        watched = make_watched(max_concurrent=1)
        watched.chat()
        watched.send(chat_request())
        watched.drain()
        watched.advance(0)
        nobody = {"agent": "main", "provider": "none", "outcome": "aborted"}
        figures = watched.figures()
        assert figures.value("moltbot_runs_total", **nobody) == 1
        assert figures.value("moltbot_draining") == 1

    def test_labels_are_names_of_the_configuration_alone(
        self, watched: Watched
    ) -> None:
        watched.complete(model="canary-model", user="canary-user")
        watched.complete({"x-moltbot-session-key": "canary-key"})
        canaries = {
            "x-moltbot-model": "canary/model",
            "x-moltbot-agent-id": "canary-agent",
            "X-Request-Id": "canary-id",
            "X-Forwarded-For": "canary-address",
            "Authorization": "Bearer canary-token",
        }
        for name, value in canaries.items():
            raw = chat_request({name: value}, model="moltbot:canary")
            if name == "Authorization":
                raw = http_request(token="canary-token")
            watched.send(raw)
        watched.ask(http_request("CANARY", "/v1/canary?canary"))
        watched.member(client={**CLIENT, "displayName": "canary"})
        assert b"canary" not in watched.scrape().body.lower()


CLIENT = {"id": "cli", "version": "canary", "platform": "canary", "mode": "cli"}


class TestStreams:
    def test_that_stall_are_seen_with_what_waits_for_them(
        self, watched: Watched
    ) -> None:
        reading, first = watched.chat(stream=True)
        stalled, second = watched.chat(stream=True)
        stalled.socket.fill()
        first.say("x" * 300)
        second.say("x" * 1000)
        figures = watched.figures()
        assert figures.value("moltbot_streams_open") == 2
        assert figures.value("moltbot_streams_stalled") == 1
        assert figures.value("moltbot_streams_held_back_characters") == 1000
        assert figures.value("moltbot_runs_held_back") == 1
        stalled.socket.drain()
        first.finish()
        second.finish()
        assert (len(reading.answer().text), len(stalled.answer().text)) == (300, 1000)
        figures = watched.figures()
        assert figures.value("moltbot_streams_open") == 0
        assert figures.value("moltbot_streams_held_back_characters") == 0
        assert figures.value("moltbot_runs_held_back") == 0

    def test_that_are_cut_for_it_are_counted(self, watched: Watched) -> None:
        stalled, _ = watched.chat(stream=True)
        stalled.socket.fill()
        watched.advance(watched.options.stall + 1)
        assert stalled.aborted
        figures = watched.figures()
        assert figures.value("moltbot_http_stall_closes_total") == 1
        assert figures.value("moltbot_streams_open") == 0


class TestWebSockets:
    def test_clients_are_counted(self, watched: Watched) -> None:
        watched.client()
        member = watched.member()
        assert watched.figures().value("moltbot_websocket_clients") == 1
        member.connection.hang_up()
        assert watched.figures().value("moltbot_websocket_clients") == 0

    def test_slow_ones_that_are_let_go_are_counted_once(self, watched: Watched) -> None:
        member = watched.member()
        member.stall()
        watched.advance(200)
        figures = watched.figures()
        assert figures.value("moltbot_websocket_slow_closes_total") == 1
        assert figures.value("moltbot_websocket_clients") == 0


class TestStore:
    def test_commits_and_faults_are_counted(self, watched: Watched) -> None:
        watched.pump.wait(watched.disk.begin_turn(start()))
        figures = watched.figures()
        assert figures.value("moltbot_store_commit_seconds_count") == 1
        assert figures.value("moltbot_store_commit_seconds_sum") > 0
        assert figures.value("moltbot_store_queue", worker="writer") == 0
        assert figures.value("moltbot_store_queue", worker="reader") == 0
        assert figures.value("moltbot_store_faults_total") == 0
