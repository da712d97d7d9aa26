"""Where figures are served, and to whom."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moltbot_gw import __version__
from tests.monitoring.support import Watched, read_figures
from tests.support.http_client import chat_request, http_request
from tests.support.ws_frames import handshake

Make = Callable[..., Watched]


def test_they_are_text_that_prometheus_reads(watched: Watched) -> None:
    answer = watched.scrape()
    assert answer.status == 200
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    figures = read_figures(answer.body.decode())
    assert {"process_open_fds", "python_gc_objects_collected_total"} <= figures.names
    ((labels, value),) = figures.samples("moltbot_build_info").items()
    assert (dict(labels)["version"], value) == (__version__, 1)
    assert set(dict(labels)) == {"version", "python", "twisted"}


@pytest.mark.parametrize("token", [None, "wrong"])
def test_the_gateways_port_asks_for_the_secret(
    watched: Watched, token: str | None
) -> None:
    answer = watched.scrape(token=token)
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


def test_they_are_off_unless_the_configuration_enables_them(
    make_watched: Make,
) -> None:
    answer = make_watched(metrics=False).scrape()
    assert (answer.status, answer.error["code"]) == (404, "endpoint_disabled")
    assert "gateway.metrics.enabled" in answer.error["message"]


def test_they_need_no_other_endpoint(make_watched: Make) -> None:
    assert make_watched(enabled=False).scrape().status == 200


def test_other_methods_are_refused(watched: Watched) -> None:
    answer = watched.ask(http_request("POST", "/metrics", b""))
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD")


def test_a_web_page_of_an_allowed_origin_needs_the_secret_too(
    make_watched: Make,
) -> None:
    watched = make_watched(cors=("https://app.example",))
    answer = watched.scrape(token=None, Origin="https://app.example")
    assert answer.status == 401


class TestOwnListener:
    def test_needs_no_secret(self, make_watched: Make) -> None:
        watched = make_watched(metrics=False, enabled=False)
        answer = watched.beside(http_request("GET", "/metrics", token=None)).answer()
        assert answer.status == 200
        assert read_figures(answer.body.decode()).names

    @pytest.mark.parametrize("path", ["/healthz", "/readyz"])
    def test_has_the_probes(self, watched: Watched, path: str) -> None:
        answer = watched.beside(http_request("GET", path, token=None)).answer()
        assert answer.status == 200

    @pytest.mark.parametrize(
        "raw",
        [
            http_request("GET", "/v1/models"),
            http_request("GET", "/metrics/x"),
            chat_request(),
        ],
    )
    def test_has_nothing_else(self, watched: Watched, raw: bytes) -> None:
        answer = watched.beside(raw).answer()
        assert (answer.status, answer.error["code"]) == (404, "not_found")
        assert watched.model.calls == []

    def test_has_no_websocket(self, watched: Watched) -> None:
        raw = handshake().replace(b"GET / ", b"GET /metrics ")
        assert watched.beside(raw).answer().status == 404

    def test_refuses_names_that_are_not_ours(self, watched: Watched) -> None:
        raw = http_request("GET", "/metrics", token=None)
        raw = raw.replace(b"gateway.test", b"rebound.example")
        assert watched.beside(raw).answer().status == 403

    def test_refuses_other_methods_and_large_bodies(self, watched: Watched) -> None:
        answer = watched.beside(http_request("DELETE", "/metrics")).answer()
        assert answer.status == 405
        large = http_request("GET", "/metrics", Content_Length="70000")
        assert watched.beside(large).answer().status == 413

    def test_has_no_cors(self, make_watched: Make) -> None:
        watched = make_watched(cors=("https://app.example",))
        raw = http_request("GET", "/metrics", token=None, Origin="https://app.example")
        answer = watched.beside(raw).answer()
        assert answer.header("access-control-allow-origin") is None

    def test_is_not_among_the_requests_that_are_counted(self, watched: Watched) -> None:
        watched.beside(http_request("GET", "/healthz"))
        assert watched.figures().samples("moltbot_http_requests_total") == {}


def test_a_scrape_lets_others_have_their_turns(watched: Watched) -> None:
    connection, call = watched.chat(stream=True)
    scraping = watched.connect()
    scraping.deliver(http_request("GET", "/metrics"))
    assert scraping.socket.received == b""
    call.say("hello")
    assert connection.stream().text == "hello"
    watched.advance(0)
    assert scraping.answer().status == 200
    call.finish()


def test_whoever_goes_ends_his_scrape(watched: Watched) -> None:
    scraping = watched.connect()
    scraping.deliver(http_request("GET", "/metrics"))
    scraping.hang_up()
    assert watched.clock.getDelayedCalls() == []
