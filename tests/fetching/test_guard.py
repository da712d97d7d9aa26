"""``GuardedFetch``: what it brings, what it sends, and how it is given up."""

from __future__ import annotations

import gzip
from ipaddress import ip_address
from pathlib import Path

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.web.client import BrowserLikePolicyForHTTPS

from moltbot_gw.fetching.addresses import is_our_own
from moltbot_gw.fetching.guard import MAX_FETCHES, MAX_WAITING, GuardedFetch
from moltbot_gw.fetching.lookups import MAX_LOOKUPS, look_up
from moltbot_gw.fetching.meter import IDLE_SECONDS
from moltbot_gw.fetching.values import Fetched, FetchFailed, FetchLimits, FetchRefused
from tests.fetching.support import (
    OTHER,
    PUBLIC,
    PUBLIC6,
    Web,
    chunked_page,
    page,
    redirect,
)
from tests.integration.waiting import next_turn, reactor, socket_test, start, until
from tests.support.fake_provider import (
    CLOSE,
    RESET,
    STALL,
    FakeProvider,
    Script,
    head,
)
from tests.support.tls import Authority

LIMITS = FetchLimits(max_bytes=1000, timeout=30)

# Twisted gives pyOpenSSL what pyOpenSSL no longer likes.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


async def get(web: Web, *scripts: Script, url: str = "http://example.com/") -> Fetched:
    web.serve(*scripts)
    return await web.fetcher().fetch(url, LIMITS)


@socket_test
async def test_a_page_comes_with_what_is_known_of_it(web: Web) -> None:
    kind = "Text/HTML; charset=latin-1"
    assert await get(web, page(b"hello", kind)) == Fetched(
        url="http://example.com/", status=200, content_type=kind, body=b"hello"
    )
    assert web.connects == [(PUBLIC, 80)]


@socket_test
async def test_nothing_of_ours_goes_along(web: Web) -> None:
    cookie = [b"HTTP/1.1 302 X\r\nSet-Cookie: a=b\r\nLocation: /2\r\n\r\n"]
    await get(web, cookie, page(b""), url="http://example.com:8080/1?q=%20#part")
    first, second = web.server.requests
    assert first.line == "GET /1?q=%20 HTTP/1.1"
    assert second.line == "GET /2 HTTP/1.1"
    assert second.headers == {
        "host": "example.com:8080",
        "user-agent": LIMITS.user_agent,
        "accept": "*/*",
        "accept-encoding": "gzip",
        "connection": "close",
    }


@pytest.mark.parametrize(
    ("url", "line", "host"),
    [
        ("HTTP://EXAMPLE.com.:80", "GET / HTTP/1.1", "example.com"),
        ("http://example.com?q=é", "GET /?q=%C3%A9 HTTP/1.1", "example.com"),
        (" http://exämple.com/ü ", "GET /%C3%BC HTTP/1.1", "xn--exmple-cua.com"),
        (f"http://{PUBLIC}:8000/", "GET / HTTP/1.1", f"{PUBLIC}:8000"),
        (f"http://[{PUBLIC6}]/", "GET / HTTP/1.1", f"[{PUBLIC6}]"),
        (f"http://[{PUBLIC6.upper()}]:1024/", "GET / HTTP/1.1", f"[{PUBLIC6}]:1024"),
        ("http://[64:ff9b::8.8.8.8]/", "GET / HTTP/1.1", "[64:ff9b::808:808]"),
    ],
)
@socket_test
async def test_an_address_is_asked_by_its_plain_form(
    web: Web, url: str, line: str, host: str
) -> None:
    web.names["xn--exmple-cua.com"] = [[PUBLIC]]
    await get(web, page(b""), url=url)
    (request,) = web.server.requests
    assert (request.line, request.headers["host"]) == (line, host)


@socket_test
async def test_each_redirect_is_looked_up_anew(web: Web) -> None:
    web.names["other.example"] = [[OTHER]]
    found = await get(
        web,
        redirect("//other.example/a/b", 301),
        redirect("../c?d", 308),
        redirect("?é", 303),
        page(b"there"),
    )
    assert (found.url, found.body) == ("http://other.example/c?%C3%A9", b"there")
    assert web.asked == ["example.com", *["other.example"] * 3]
    assert [host for host, _ in web.connects] == [PUBLIC, OTHER, OTHER, OTHER]


@pytest.mark.parametrize(
    "script",
    [
        page(gzip.compress(b"hello"), Content_Encoding="gzip"),
        page(gzip.compress(b"hel") + gzip.compress(b"lo"), Content_Encoding="X-Gzip"),
        page(b"hello", Content_Encoding="identity"),
        chunked_page(b"hel", b"lo"),
        [head(200, {}), b"hello", CLOSE],
        [b"HTTP/1.0 200 OK\n\nhello", CLOSE],
        [b"HTTP/1.1 103 X\r\n\r\n" * 7 + b"HTTP/1.1 200 X\r\n\r\nhello", CLOSE],
    ],
)
@socket_test
async def test_a_body_comes_in_many_forms(web: Web, script: Script) -> None:
    assert (await get(web, script)).body == b"hello"


@socket_test
async def test_an_answer_may_be_empty(web: Web) -> None:
    assert (await get(web, page(b"", Content_Encoding="gzip"))).body == b""
    assert (await get(web, [head(204, {})])).status == 204


@socket_test
async def test_a_body_may_speak_of_heads(web: Web) -> None:
    body = b"\n\nHTTP/1.1 100\n\n" * 30
    assert (await get(web, page(body))).body == body


@pytest.mark.parametrize("step", [CLOSE, RESET])
@socket_test
async def test_an_answer_that_is_cut_off_is_none(web: Web, step: object) -> None:
    for data in (b"", b"HTTP/1.1 2", head(200, {"Content-Length": "9"}) + b"part"):
        with pytest.raises(FetchFailed):
            await get(web, [data, step])  # type: ignore[list-item]


@socket_test
async def test_chunks_of_one_byte_are_too_many(web: Web) -> None:
    chunks = b"".join(b"1;%s\r\nx\r\n" % (b"e" * 900) for _ in range(500))
    start = head(200, {"Transfer-Encoding": "chunked"})
    with pytest.raises(FetchFailed, match="small pieces"):
        await get(web, [start, chunks])


@socket_test
async def test_what_follows_too_much_is_dropped(web: Web) -> None:
    start, *chunks = chunked_page(*[b"x" * 600] * 4)
    with pytest.raises(FetchFailed, match="larger than 1000 bytes"):
        await get(web, [start, b"".join(chunks)])  # type: ignore[arg-type]


@socket_test
async def test_the_next_address_is_tried(web: Web) -> None:
    web.names["example.com"] = [[PUBLIC6, OTHER, PUBLIC]]
    web.unreachable = {PUBLIC6, OTHER}
    assert (await get(web, page(b"x"))).body == b"x"
    assert [host for host, _ in web.connects] == [PUBLIC6, OTHER, PUBLIC]


@socket_test
async def test_a_host_where_nobody_listens(web: Web) -> None:
    web.unreachable = {PUBLIC}
    with pytest.raises(FetchFailed, match="takes no connection"):
        await get(web)


# -- time


@socket_test
async def test_a_silent_server_is_left(web: Web) -> None:
    work = start(get(web, [STALL]))
    request = await web.server.when_asked()
    web.clock.advance(IDLE_SECONDS)
    with pytest.raises(FetchFailed, match="silent for 15 seconds"):
        await work
    await request.connection.when_closed()


@socket_test
async def test_a_server_that_falls_silent_inside_the_body_is_left(web: Web) -> None:
    work = start(get(web, [head(200, {}), b"part", STALL]))
    await web.server.when_asked()
    await until(lambda: web.server.connections[0].written > 20)
    await next_turn()
    web.clock.advance(IDLE_SECONDS - 1)
    await next_turn()
    web.clock.advance(IDLE_SECONDS)
    with pytest.raises(FetchFailed, match="silent for 15 seconds"):
        await work


@socket_test
async def test_a_drip_does_not_keep_us(web: Web) -> None:
    gates: list[Deferred[None]] = [Deferred() for _ in range(6)]
    drip = [step for gate in gates for step in (gate, b"x")]
    work = start(get(web, [head(200, {"Content-Length": "9"}), *drip, STALL]))
    request = await web.server.when_asked()
    for number, gate in enumerate(gates):
        web.clock.advance(6)
        if number < 4:
            written = request.connection.written
            gate.callback(None)
            await until(lambda w=written: request.connection.written > w)  # type: ignore[misc]
            await next_turn()
    with pytest.raises(FetchFailed, match="within 30 seconds"):
        await work
    await request.connection.when_closed()


@pytest.mark.parametrize("steps", [[STALL], [head(200, {}), b"part", STALL]])
@socket_test
async def test_cancel_closes_the_connection(web: Web, steps: Script) -> None:
    work = start(get(web, steps))
    request = await web.server.when_asked()
    await until(lambda: steps == [STALL] or request.connection.written > 0)
    await next_turn()
    work.cancel()
    with pytest.raises(CancelledError):
        await work
    await request.connection.when_closed()


@socket_test
async def test_cancel_while_connecting(web: Web) -> None:
    web.names["example.com"] = [[PUBLIC, OTHER]]
    work = start(get(web))
    assert len(web.connects) == 1
    work.cancel()
    with pytest.raises(CancelledError):
        await work
    assert len(web.connects) == 1


# -- how many


@socket_test
async def test_so_many_are_fetched_at_once(web: Web) -> None:
    fetch = web.fetcher()
    web.server.default = [STALL]
    url = "http://example.com/"
    works = [start(fetch.fetch(url, LIMITS)) for _ in range(MAX_FETCHES + MAX_WAITING)]
    with pytest.raises(FetchFailed, match="Too much"):
        await fetch.fetch(url, LIMITS)
    assert len(web.connects) == MAX_FETCHES
    works[-1].cancel()
    works[0].cancel()
    assert len(web.connects) == MAX_FETCHES + 1
    for work in reversed(works):
        work.addErrback(lambda failure: failure.trap(CancelledError))
        work.cancel()
    await until(lambda: web.server.open_connections == 0)


@socket_test
async def test_a_look_up_that_nobody_waits_for_counts_still(web: Web) -> None:
    web.names["slow.example"] = []
    fetch = web.fetcher()
    for _ in range(MAX_LOOKUPS):
        work = start(fetch.fetch("http://slow.example/", LIMITS))
        work.cancel()
        with pytest.raises(CancelledError):
            await work
    web.serve(page(b"x"))
    work = start(fetch.fetch("http://example.com/", LIMITS))
    assert web.asked == ["slow.example"] * MAX_LOOKUPS
    web.hanging[0].callback([PUBLIC])
    assert (await work).body == b"x"


@socket_test
async def test_the_wait_for_a_name_has_an_end(web: Web) -> None:
    web.names["slow.example"] = []
    work = start(web.fetcher().fetch("http://slow.example/", LIMITS))
    web.clock.advance(30)
    with pytest.raises(FetchFailed, match="within 30 seconds"):
        await work


# -- this machine


def test_our_own_addresses_are_found() -> None:
    assert is_our_own(ip_address("127.0.0.1"))
    assert not is_our_own(ip_address(PUBLIC))
    assert not is_our_own(ip_address("fe80::1"))  # there is no way without a zone


@socket_test
async def test_our_own_address_is_refused_however_public(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moltbot_gw.fetching.guard.is_our_own", lambda one: True)
    with pytest.raises(FetchRefused, match="not on the public web"):
        await get(web)
    assert web.connects == []


def test_the_systems_resolver_knows_this_machine() -> None:
    assert set(look_up("localhost")) & {"127.0.0.1", "::1"}


@socket_test
async def test_the_systems_resolver_is_asked_in_a_thread(clean: None) -> None:
    fetch = GuardedFetch(reactor=reactor)
    with pytest.raises(FetchFailed, match=r"^The name no\.invalid has no address"):
        await fetch.fetch("http://no.invalid/", LIMITS)


# -- TLS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def trusting(authority: Authority) -> BrowserLikePolicyForHTTPS:
    found = Certificate.loadPEM(authority.ca_file.read_bytes())
    return BrowserLikePolicyForHTTPS(trustRootFromCertificates([found]))


async def over_tls(web: Web, authority: Authority, *names: str) -> None:
    """Let the server of *web* prove to be *names* from now on."""
    await web.server.stop()
    web.server = await FakeProvider(reactor).listen(authority.server_options(*names))


@socket_test
async def test_a_server_proves_its_name(
    web: Web, authority: Authority, trusting: BrowserLikePolicyForHTTPS
) -> None:
    await over_tls(web, authority, "example.com")
    web.serve(redirect("https://example.com:8443/"), page(b"secret"))
    found = await web.fetcher(trusting).fetch("https://example.com/", LIMITS)
    assert found.body == b"secret"
    assert web.connects == [(PUBLIC, 443), (PUBLIC, 8443)]


@socket_test
async def test_a_server_proves_its_address(
    web: Web, authority: Authority, trusting: BrowserLikePolicyForHTTPS
) -> None:
    await over_tls(web, authority, PUBLIC)
    web.serve(page(b"secret"))
    found = await web.fetcher(trusting).fetch(f"https://{PUBLIC}/", LIMITS)
    assert found.body == b"secret"


@socket_test
async def test_a_server_of_another_name_is_not_asked(
    web: Web, authority: Authority, trusting: BrowserLikePolicyForHTTPS
) -> None:
    await over_tls(web, authority, "other.example")
    with pytest.raises(FetchFailed, match="does not prove who it is"):
        await web.fetcher(trusting).fetch("https://example.com/", LIMITS)
    assert web.server.requests == []


@socket_test
async def test_a_server_that_nobody_trusts_is_not_asked(
    web: Web, authority: Authority
) -> None:
    await over_tls(web, authority, "example.com")
    with pytest.raises(FetchFailed, match="does not prove who it is"):
        await web.fetcher().fetch("https://example.com/", LIMITS)
    assert web.server.requests == []


@socket_test
async def test_a_redirect_does_not_leave_tls(
    web: Web, authority: Authority, trusting: BrowserLikePolicyForHTTPS
) -> None:
    await over_tls(web, authority, "example.com")
    web.serve(redirect("http://example.com/"))
    with pytest.raises(FetchRefused, match="from https to http"):
        await web.fetcher(trusting).fetch("https://example.com/", LIMITS)
    assert web.connects == [(PUBLIC, 443)]
