"""Opening a WebSocket, as far as HTTP decides it: handshake, ``Host``, ``Origin``."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, UNIXAddress

from tests.support.gateway import Gateway
from tests.support.http_client import Answer, http_request, read_answers
from tests.support.ws_frames import (
    KEY,
    Frame,
    accept_of,
    handshake,
    read_frames,
    split_handshake,
    text,
)
from tests.ws.echo import EchoGateway, echo_root


@pytest.fixture
def echo_gateway(log: object) -> Iterator[EchoGateway]:
    gateway = EchoGateway()
    yield gateway
    gateway.close()


@pytest.fixture
def make_gateway(
    make_gateway: Callable[..., Gateway],
) -> Callable[..., Gateway]:
    """Make gateways with both sides: pages, and WebSockets that echo."""

    def make(**options: object) -> Gateway:
        gateway = make_gateway(**options)
        gateway.site.resource = echo_root(gateway.clock, gateway.site.resource)
        return gateway

    return make


def opens(gateway: Gateway, request: bytes) -> bool:
    """Whether *request* opens a WebSocket; a refusal must be whole."""
    connection = gateway.send(request)
    if connection.received.startswith(b"HTTP/1.1 101 "):
        return True
    connection.answer()
    return False


def refusal(gateway: Gateway, request: bytes) -> Answer:
    """Return the refusal of *request*, which must leave nothing behind."""
    answer = gateway.ask(request)
    assert gateway.connections[-1].received.startswith(b"HTTP/1.1 4")
    return answer


# -- the handshake


def test_the_answer_is_the_one_of_the_rfc(echo_gateway: EchoGateway) -> None:
    headers, rest = split_handshake(echo_gateway.send(handshake()).received)
    assert headers["upgrade"].lower() == "websocket"
    assert headers["connection"] == "Upgrade"
    assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert set(headers) == {"upgrade", "connection", "sec-websocket-accept"}
    assert rest == b""


@pytest.mark.parametrize(
    "path", ["/", "/ws", "/v1/models", "/a/b?c=d", "/%ff", "//", "/v1/chat/completions"]
)
def test_any_path_opens_one(echo_gateway: EchoGateway, path: str) -> None:
    assert opens(echo_gateway, handshake(path))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Upgrade", "WebSocket"),
        ("Upgrade", "h2c, websocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Connection", "UPGRADE"),
        ("Connection", "upgrade,close"),
        ("Sec-WebSocket-Key", f"  {KEY}  "),
        ("Content-Length", "0"),
        ("Authorization", "Bearer wrong"),
        ("Sec-WebSocket-Protocol", "chat, chat"),
        ("Sec-WebSocket-Extensions", "nonsense; ;;=,"),
        ("X-Forwarded-For", "1.2.3.4"),
    ],
)
def test_what_the_handshake_leaves_open_does_not_matter(
    echo_gateway: EchoGateway, name: str, value: str
) -> None:
    headers, _ = split_handshake(
        echo_gateway.send(handshake(**{name.replace("-", "_"): value})).received
    )
    assert set(headers) == {"upgrade", "connection", "sec-websocket-accept"}


def handshake_by(first_line: str) -> bytes:
    """Return a handshake with another first line."""
    return first_line.encode() + b"\r\n" + handshake().partition(b"\r\n")[2]


REFUSALS = [
    ("no Connection", handshake(Connection=""), 400, "invalid_value"),
    ("other Connection", handshake(Connection="keep-alive"), 400, "invalid_value"),
    ("no version", handshake(Sec_WebSocket_Version=""), 426, "upgrade_required"),
    ("version 8", handshake(Sec_WebSocket_Version="8"), 426, "upgrade_required"),
    ("versions", handshake(Sec_WebSocket_Version="13, 8"), 426, "upgrade_required"),
    ("no key", handshake(Sec_WebSocket_Key=""), 400, "invalid_value"),
    ("short key", handshake(Sec_WebSocket_Key="AAAA"), 400, "invalid_value"),
    ("long key", handshake(Sec_WebSocket_Key=KEY + "AAAA"), 400, "invalid_value"),
    ("key unpadded", handshake(Sec_WebSocket_Key=KEY[:-2]), 400, "invalid_value"),
    ("key padded more", handshake(Sec_WebSocket_Key=KEY + "="), 400, "invalid_value"),
    ("key of words", handshake(Sec_WebSocket_Key="not base64, I'm afraid.."), 400,
     "invalid_value"),
    ("two keys", handshake(sec_websocket_key=KEY), 400, "invalid_value"),
    ("a body", handshake(Content_Length="2") + b"hi", 400, "invalid_value"),
    ("a chunked body", handshake(Transfer_Encoding="chunked") + b"0\r\n\r\n", 400,
     "invalid_value"),
    ("HTTP/1.0", handshake_by("GET / HTTP/1.0"), 400, "invalid_value"),
    ("POST", handshake_by("POST / HTTP/1.1"), 405, "method_not_allowed"),
    ("PUT", handshake_by("PUT / HTTP/1.1"), 405, "method_not_allowed"),
    ("OPTIONS", handshake_by("OPTIONS / HTTP/1.1"), 405, "method_not_allowed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [one[1:] for one in REFUSALS],
    ids=[one[0] for one in REFUSALS],
)
def test_a_wrong_handshake_is_refused_in_the_words_of_http(
    echo_gateway: EchoGateway, request_: bytes, status: int, code: str
) -> None:
    answer = refusal(echo_gateway, request_)
    assert answer.status == status
    assert answer.error["code"] == code
    assert echo_gateway.handlers == []


def test_another_version_is_told_which_one_is_spoken(
    echo_gateway: EchoGateway,
) -> None:
    answer = refusal(echo_gateway, handshake(Sec_WebSocket_Version="8"))
    assert answer.header("sec-websocket-version") == "13"
    assert answer.header("upgrade") == "websocket"


def test_another_method_is_told_which_one_is_right(echo_gateway: EchoGateway) -> None:
    answer = refusal(echo_gateway, handshake_by("POST / HTTP/1.1"))
    assert answer.header("allow") == "GET"


def test_after_a_refusal_the_connection_can_be_used_again(
    echo_gateway: EchoGateway,
) -> None:
    connection = echo_gateway.send(handshake(Sec_WebSocket_Version="8") + handshake())
    refused, rest = connection.received.split(b"HTTP/1.1 101 ")
    assert [answer.status for answer in read_answers(refused)] == [426]
    assert accept_of().encode() in rest


def test_a_request_for_another_protocol_is_served_as_http(
    make_gateway: Callable[..., Gateway],
) -> None:
    request = http_request(Upgrade="h2c", Connection="Upgrade")
    assert make_gateway().ask(request).status == 200


@pytest.mark.parametrize("by", [None, 1, 5])
def test_frames_right_behind_the_handshake_are_heard(
    echo_gateway: EchoGateway, by: int | None
) -> None:
    connection = echo_gateway.connect().send(handshake() + text("early"), by=by)
    _, rest = split_handshake(connection.received)
    assert read_frames(rest) == [Frame(1, b"early")]


def test_a_websocket_may_follow_a_request(
    make_gateway: Callable[..., Gateway],
) -> None:
    connection = make_gateway().send(http_request() + handshake() + text("late"))
    page, rest = connection.received.split(b"HTTP/1.1 101 ")
    assert [answer.status for answer in read_answers(page)] == [200]
    assert rest.endswith(b"late")


@pytest.mark.parametrize("char", ["\x85", "\x0b", "\x0c", "\x1c", "\x1e", "\xff"])
def test_what_other_parsers_take_for_a_line_end_is_refused(
    echo_gateway: EchoGateway, char: str
) -> None:
    sneaky = f"a=b{char}Sec-WebSocket-Extensions: permessage-deflate"
    assert refusal(echo_gateway, handshake(Cookie=sneaky)).status == 400


def test_no_header_but_the_key_goes_on(echo_gateway: EchoGateway) -> None:
    sneaky = f"Bearer a\x85Sec-WebSocket-Key: {KEY}\x85Sec-WebSocket-Protocol: chat"
    connection = echo_gateway.send(
        handshake(
            "/?redirect=http://elsewhere.test&after=1",
            Authorization=sneaky,
            Sec_WebSocket_Protocol="chat",
            Sec_WebSocket_Extensions="permessage-deflate",
            Origin="http://localhost",
        )
    )
    headers, _ = split_handshake(connection.received)
    assert set(headers) == {"upgrade", "connection", "sec-websocket-accept"}
    seen = echo_gateway.handlers[0].socket.http_headers
    assert set(seen) == {
        "host",
        "upgrade",
        "connection",
        "sec-websocket-version",
        "sec-websocket-key",
    }


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(
        st.binary(min_size=14, max_size=18).map(lambda raw: b64encode(raw).decode()),
        st.text("AZaz09+/=- ", min_size=20, max_size=26),
    )
)
def test_a_key_that_is_taken_is_answered(key: str) -> None:
    gateway = EchoGateway()
    received = gateway.send(handshake(Sec_WebSocket_Key=key)).received
    if received.startswith(b"HTTP/1.1 101 "):
        headers, _ = split_handshake(received)
        assert headers["sec-websocket-accept"] == accept_of(key.strip())
    else:
        assert read_answers(received)[0].status == 400
    gateway.close()


# -- Host

OUR_HOSTS = [
    "localhost",
    "LocalHost:18789",
    "localhost.",
    "localhost.:1",
    "api.localhost",
    "a.b.localhost:80",
    "127.0.0.1",
    "127.0.0.1:18789",
    "192.168.1.20",
    "203.0.113.9:443",
    "[::1]",
    "[::1]:18789",
    "[fe80::1]",
    "gateway.example",
    "GATEWAY.example:443",
    "gateway.example.",
    "a.wild.example",
    "a.b.wild.example:1",
]

OTHER_HOSTS = [
    "evil.example",
    "evil.example:18789",
    "localhost.evil.example",
    "notlocalhost",
    "gateway.example.evil.example",
    "other.gateway.example",
    "wild.example",
    "notwild.example",
    "127.0.0.1.evil.example",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "127.0.0.1%20",
    "1.2.3.4.5",
    "localhost:80.evil.example:80",
]


@pytest.fixture
def named(make_gateway: Callable[..., Gateway]) -> Gateway:
    return make_gateway(hosts=("gateway.example", "*.wild.example"))


def page(host: str) -> bytes:
    return http_request().replace(b"Host: gateway.test", b"Host: " + host.encode())


@pytest.mark.parametrize("host", OUR_HOSTS)
def test_we_answer_to_names_of_ours(named: Gateway, host: str) -> None:
    assert opens(named, handshake(host=host))
    assert opens(named, handshake(host=host))  # remembered
    assert named.ask(page(host)).status == 200


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_we_do_not_answer_to_names_of_others(named: Gateway, host: str) -> None:
    for request in (handshake(host=host), page(host)):
        answer = refusal(named, request)
        assert answer.status in (400, 403)
        if answer.status == 403:
            assert answer.error["code"] == "host_not_allowed"
            assert "gateway.allowedHosts" in answer.error["message"]
            assert host not in answer.error["message"]


def test_a_rebound_name_is_refused_before_the_secret_is_looked_at(
    named: Gateway,
) -> None:
    request = http_request(token="wrong").replace(b"gateway.test", b"evil.example")
    assert refusal(named, request).status == 403


def test_many_names_are_told_apart_alike(named: Gateway) -> None:
    for number in range(200):
        assert opens(named, handshake(host=f"n{number}.localhost"))
        assert not opens(named, handshake(host=f"n{number}.evil.example"))


def test_a_unix_socket_has_no_name(named: Gateway) -> None:
    connection = named.connect(peer=UNIXAddress(b"/run/gateway"))
    assert connection.send(page("whatever")).answer().status == 200
    connection = named.connect(peer=UNIXAddress(b"/run/gateway"))
    split_handshake(connection.send(handshake(host="whatever")).received)


# -- Origin

OUR_ORIGINS = [
    ("localhost:18789", "http://localhost:18789"),
    ("localhost:18789", "HTTP://LOCALHOST:18789"),
    ("localhost:18789", "https://localhost:18789"),
    ("localhost", "http://localhost"),
    ("localhost:80", "http://localhost"),
    ("localhost", "http://localhost:80"),
    ("localhost:443", "https://localhost"),
    ("localhost", "https://localhost:443"),
    ("[::1]:18789", "http://[::1]:18789"),
    ("192.168.1.20:18789", "http://192.168.1.20:18789"),
    ("localhost:18789", "https://app.example"),
    ("localhost:18789", "https://app.example/"),
    ("localhost:18789", "chrome-extension://abcdef"),
]

OTHER_ORIGINS = [
    ("localhost:18789", "http://localhost"),
    ("localhost:18789", "http://localhost:3000"),
    ("localhost:18789", "http://localhost:187890"),
    ("localhost:18789", "http://127.0.0.1:18789"),
    ("localhost:443", "http://localhost"),
    ("localhost:80", "https://localhost"),
    ("localhost:18789", "http://evil.example"),
    ("localhost:18789", "http://evil.example:18789"),
    ("localhost:18789", "null"),
    ("localhost:18789", "*"),
    ("localhost:18789", "http://user@localhost:18789"),
    ("localhost:18789", "http://localhost:18789/path"),
    ("localhost:18789", "http://localhost:18789 http://localhost:18789"),
    ("localhost:18789", "file://"),
    ("localhost:18789", "file://localhost:18789"),
    ("localhost:18789", "http://app.example"),
    ("localhost:18789", "https://app.example:8443"),
    ("localhost:18789", "https://app.example.evil.example"),
    ("localhost:18789", "chrome-extension://ghijkl"),
    ("", "http://"),
]


@pytest.fixture
def listed(make_gateway: Callable[..., Gateway]) -> Gateway:
    return make_gateway(origins=("https://app.example", "chrome-extension://abcdef"))


@pytest.mark.parametrize(("host", "origin"), OUR_ORIGINS)
def test_pages_of_ours_may_open_one(listed: Gateway, host: str, origin: str) -> None:
    assert opens(listed, handshake(host=host, Origin=origin))


@pytest.mark.parametrize(("host", "origin"), OTHER_ORIGINS)
def test_pages_of_others_may_not(listed: Gateway, host: str, origin: str) -> None:
    answer = refusal(listed, handshake(host=host, Origin=origin))
    assert answer.status == 403
    assert answer.error["code"] == "origin_not_allowed"
    assert "gateway.controlUi.allowedOrigins" in answer.error["message"]


def test_who_sends_no_origin_is_no_page(listed: Gateway) -> None:
    assert opens(listed, handshake())


@pytest.mark.parametrize("second", ["http://localhost", "http://evil.example"])
def test_two_origins_are_refused(listed: Gateway, second: str) -> None:
    request = handshake(Origin="http://localhost", origin=second)
    assert refusal(listed, request).status == 403


def test_an_empty_origin_header_is_refused(listed: Gateway) -> None:
    request = handshake().replace(b"Upgrade: ", b"Origin:\r\nUpgrade: ", 1)
    assert refusal(listed, request).status == 403


def test_pages_may_still_ask_over_http(listed: Gateway) -> None:
    # What they may read is a matter of CORS; the secret protects the rest.
    assert listed.ask(http_request(Origin="http://evil.example")).status == 200


def test_a_unix_socket_has_origins_all_the_same(listed: Gateway) -> None:
    connection = listed.connect(peer=UNIXAddress(b"/run/gateway"))
    connection.send(handshake(Origin="http://evil.example"))
    assert connection.answer().status == 403


# -- who is there


def test_the_handler_hears_who_is_there(
    echo_gateway: EchoGateway,
) -> None:
    for address in ("127.0.0.1", "203.0.113.9"):
        peer = IPv4Address("TCP", address, 5000)
        echo_gateway.connect(peer=peer).send(handshake())
    local, remote = [handler.peer for handler in echo_gateway.handlers]
    assert (local.address, local.is_local) == ("127.0.0.1", True)
    assert (remote.address, remote.is_local) == ("203.0.113.9", False)
