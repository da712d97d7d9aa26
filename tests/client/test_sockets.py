"""Ways to a gateway, over real sockets of loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
from OpenSSL.crypto import X509
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol

from moltbot_gw.client import BadTarget, ConnectFailed, Target, TimedOut, connect
from moltbot_gw.client.target import Address, parse_address, shown_url
from moltbot_gw.client.tls import fingerprint_of
from moltbot_gw.config import Secret
from tests.integration.waiting import reactor, socket_test
from tests.support.fake_gateway import TOKEN, FakeGateway
from tests.support.tls import Authority

# Twisted gives pyOpenSSL what pyOpenSSL no longer likes.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


@socket_test
async def test_a_request_over_tcp(fake: FakeGateway) -> None:
    fake.replies["health"] = {"ok": True}
    await fake.listen()
    target = Target(url=fake.url, token=Secret(TOKEN))
    connection = await connect(reactor, target)
    assert await connection.request("health") == {"ok": True}
    await connection.close()


@socket_test
async def test_a_request_to_a_name(fake: FakeGateway) -> None:
    fake.replies["health"] = 1
    await fake.listen()
    url = f"ws://localhost:{fake.port}"
    connection = await connect(reactor, Target(url=url, token=Secret(TOKEN)))
    assert await connection.request("health") == 1
    await connection.close()


@socket_test
async def test_an_ipv6_address_where_nobody_listens(clean: None) -> None:
    with pytest.raises(ConnectFailed, match="1006"):
        await connect(reactor, Target(url="ws://[::1]:1"))


@socket_test
async def test_a_request_to_an_ipv6_address(fake: FakeGateway) -> None:
    fake.replies["health"] = 1
    try:
        port = await TCP6ServerEndpoint(reactor, 0, interface="::1").listen(
            fake.factory()
        )
    except CannotListenError:
        pytest.skip("this machine has no IPv6")
    number = port.getHost().port
    connection = await connect(
        reactor, Target(url=f"ws://[::1]:{number}", token=Secret(TOKEN))
    )
    assert await connection.request("health") == 1
    assert fake.peers[0].http_headers["host"] == f"[::1]:{number}"
    await connection.close()
    await port.stopListening()


@socket_test
async def test_a_request_over_a_unix_socket(fake: FakeGateway, tmp_path: Path) -> None:
    fake.replies["health"] = 1
    await fake.listen_at(str(tmp_path / "gw.sock"))
    connection = await connect(reactor, Target(url=fake.url, token=Secret(TOKEN)))
    assert await connection.request("health") == 1
    await connection.close()


@socket_test
async def test_a_pinned_certificate_is_believed(
    fake: FakeGateway, tmp_path: Path
) -> None:
    options = Authority(tmp_path).server_options("elsewhere.example")
    await fake.listen(options)
    certificate: X509 = options.certificate
    pin = ":".join(
        fingerprint_of(certificate).upper()[i : i + 2] for i in range(0, 64, 2)
    )
    target = Target(url=fake.url, token=Secret(TOKEN), tls_fingerprint=f"sha256:{pin}")
    connection = await connect(reactor, target)
    await connection.close()


@pytest.mark.parametrize("fingerprint", [None, "0" * 64])
@socket_test
async def test_another_certificate_gets_no_secret(
    fake: FakeGateway, tmp_path: Path, fingerprint: str | None
) -> None:
    await fake.listen(Authority(tmp_path).server_options("127.0.0.1"))
    target = Target(url=fake.url, token=Secret(TOKEN), tls_fingerprint=fingerprint)
    with pytest.raises(ConnectFailed, match="certificate verify failed"):
        await connect(reactor, target)
    assert fake.connects == []


@socket_test
async def test_nobody_listens(fake: FakeGateway) -> None:
    await fake.listen()
    await fake.stop()
    with pytest.raises(ConnectFailed, match="connection refused") as caught:
        await connect(reactor, Target(url=fake.url))
    assert caught.value.code == 1006


@socket_test
async def test_a_host_name_that_is_none(clean: None) -> None:
    with pytest.raises(ConnectFailed, match="host name is unknown"):
        await connect(reactor, Target(url="ws://-.invalid.:1"))


@socket_test
async def test_a_socket_file_that_is_not_there(clean: None, tmp_path: Path) -> None:
    with pytest.raises(ConnectFailed, match="1006"):
        await connect(reactor, Target(url=f"unix:{tmp_path}/none.sock"))


class _Answer(Protocol):
    def __init__(self, text: bytes) -> None:
        self._text = text

    def dataReceived(self, data: bytes) -> None:
        if self._text:
            self.transport.write(self._text)


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        (b"", TimedOut, "timeout after 300ms"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", ConnectFailed, "404"),
    ],
)
@socket_test
async def test_who_speaks_no_websocket(
    clean: None, text: bytes, error: type[Exception], match: str
) -> None:
    factory = Factory.forProtocol(lambda: _Answer(text))  # type: ignore[arg-type]
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    url = f"ws://127.0.0.1:{port.getHost().port}"
    with pytest.raises(error, match=match):
        await connect(reactor, Target(url=url), timeout=0.3)
    await port.stopListening()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("ws://h:1", Address(secure=False, host="h", port=1)),
        (
            "wss://h/gw?x=1",
            Address(secure=True, host="h", port=443, resource="/gw?x=1"),
        ),
        ("ws://[::1]:8", Address(secure=False, host="::1", port=8)),
        (
            "unix:/run/gw",
            Address(secure=False, host="localhost", port=80, socket="/run/gw"),
        ),
    ],
)
def test_addresses(url: str, address: Address) -> None:
    assert parse_address(url) == address


def test_an_ipv6_host_keeps_its_brackets() -> None:
    assert parse_address("ws://[::1]:8/x").url == "ws://[::1]:8/x"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:1",
        "http://h",
        "ws://",
        "ws://h:99999",
        "ws://u:s3cret@h",
        "ws://[h",
        "unix:",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(BadTarget) as caught:
        parse_address(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ws://u:p@h:1/x?token=t#f", "ws://h:1/x"),
        ("wss://h", "wss://h"),
        ("unix:/run/gw", "unix:/run/gw"),
        ("ws://h\x1b[31m", "ws://h?[31m"),
    ],
)
def test_a_shown_url_holds_no_secret(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_a_target_shows_no_secret() -> None:
    shown = repr(Target(url="ws://h:1/?token=s3cret", token=Secret("s3cret")))
    assert "s3cret" not in shown
    assert "ws://h:1/" in shown


@socket_test
async def test_a_fingerprint_that_is_none(clean: None) -> None:
    with pytest.raises(BadTarget, match="64 digits"):
        await connect(reactor, Target(url="wss://h", tls_fingerprint="abc"))
