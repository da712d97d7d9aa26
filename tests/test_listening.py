from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import (
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
)
from twisted.internet.testing import MemoryReactorClock

from moltbot_gw.config import Secret
from moltbot_gw.listening import (
    Listener,
    build_listeners,
    build_metrics_listener,
    find_certificate,
    in_use,
    probe_ports,
)
from moltbot_gw.refusal import StartRefused
from moltbot_gw.settings import CommandLine, Settings, load_settings
from tests.config.support import write

STRONG = "0f" * 32


def settings_of(
    home: Path, gateway: Any = None, secret: str = STRONG, **options: Any
) -> Settings:
    write(home, {"gateway": gateway or {}}, ".clawdbot/moltbot.json")
    return load_settings(CommandLine(token=Secret(secret), **options), {}, home)


def listeners_of(home: Path, gateway: Any = None, **rest: Any) -> list[Listener]:
    return build_listeners(settings_of(home, gateway, **rest), MemoryReactorClock())


def refusal(home: Path, gateway: Any = None, **rest: Any) -> str:
    with pytest.raises(StartRefused) as caught:
        listeners_of(home, gateway, **rest)
    return str(caught.value)


def can_bind_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("mode", ["loopback", "auto"])
def test_loopback_means_both_families_where_they_exist(
    tmp_path: Path, mode: str
) -> None:
    listeners = listeners_of(tmp_path, {"bind": mode, "port": 5000})
    hosts = ["127.0.0.1", "::1"] if can_bind_ipv6() else ["127.0.0.1"]
    assert [one.probe for one in listeners] == [(host, 5000) for host in hosts]
    assert all(one.local for one in listeners)
    assert listeners[0].address == "http://127.0.0.1:5000"


def test_machine_without_ipv6_listens_on_ipv4_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoSocket:
        def __init__(self, *args: object) -> None:
            raise OSError("no such family")

    settings = settings_of(tmp_path)
    monkeypatch.setattr("moltbot_gw.listening.socket.socket", NoSocket)
    [listener] = build_listeners(settings, MemoryReactorClock())
    assert listener.probe == ("127.0.0.1", 18789)


def test_any_free_port_is_one_listener(tmp_path: Path) -> None:
    [listener] = listeners_of(tmp_path, port=0)
    assert listener.probe == ("127.0.0.1", 0)
    probe_ports([listener])


def test_lan_means_every_address(tmp_path: Path) -> None:
    [listener] = listeners_of(tmp_path, {"bind": "lan", "port": 5000})
    assert (listener.address, listener.local) == ("http://0.0.0.0:5000", False)
    assert isinstance(listener.endpoint, TCP4ServerEndpoint)


@pytest.mark.parametrize(
    ("host", "address", "local", "kind"),
    [
        ("192.0.2.1", "http://192.0.2.1:18789", False, TCP4ServerEndpoint),
        ("127.0.0.2", "http://127.0.0.2:18789", True, TCP4ServerEndpoint),
        ("2001:DB8:0::1", "http://[2001:db8::1]:18789", False, TCP6ServerEndpoint),
        ("::1", "http://[::1]:18789", True, TCP6ServerEndpoint),
    ],
)
def test_custom_means_the_configured_address(
    tmp_path: Path, host: str, address: str, local: bool, kind: type
) -> None:
    gateway = {"bind": "custom", "customBindHost": host}
    [listener] = listeners_of(tmp_path, gateway)
    assert (listener.address, listener.local) == (address, local)
    assert isinstance(listener.endpoint, kind)


def test_custom_without_its_address_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"bind": "custom"})
    assert message == "gateway.bind is custom, but customBindHost is not set"


@pytest.mark.parametrize("host", ["localhost", "1.2.3", "1.2.3.4:80"])
def test_custom_address_must_be_one(tmp_path: Path, host: str) -> None:
    gateway = {"bind": "custom", "customBindHost": host}
    assert refusal(tmp_path, gateway) == "gateway.customBindHost is not an IP address"


def ioctl_answering(*octets: int) -> Any:
    def ioctl(fd: int, request: int, buffer: Any, mutate: bool) -> int:
        if not octets:
            raise OSError("no address")
        buffer[20:24] = type(buffer)("B", octets)
        return 0

    return ioctl


@pytest.mark.parametrize(
    ("octets", "host"),
    [
        ((100, 101, 102, 103), "100.101.102.103"),
        ((192, 168, 1, 1), "127.0.0.1"),
        ((), "127.0.0.1"),
    ],
)
def test_tailnet_means_the_address_of_tailscale_or_loopback(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    octets: tuple[int, ...],
    host: str,
) -> None:
    monkeypatch.setattr("moltbot_gw.listening.fcntl.ioctl", ioctl_answering(*octets))
    [listener] = listeners_of(tmp_path, {"bind": "tailnet"})
    assert listener.probe == (host, 18789)


def test_addresses_of_this_machine_can_be_asked_for(tmp_path: Path) -> None:
    [listener] = listeners_of(tmp_path, {"bind": "tailnet"})
    assert listener.probe is not None


def test_tls_is_on_the_same_port(tmp_path: Path) -> None:
    gateway = {"bind": "lan", "tls": {"enabled": True}}
    [listener] = listeners_of(tmp_path, gateway)
    assert listener.address == "https://0.0.0.0:18789"
    assert find_certificate(settings_of(tmp_path, gateway)) is not None
    assert find_certificate(settings_of(tmp_path, {"bind": "lan"})) is None


def test_described_endpoints_speak_tls_by_their_own_words(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, {"tls": {"enabled": True}}, endpoints=["unix:x"])
    assert find_certificate(settings) is None


def test_endpoint_that_was_there_before_is_taken_from_there(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, endpoints=["unix:x", "unix:y", "unix:x"])
    reactor = MemoryReactorClock()
    before = build_listeners(settings, reactor)
    again = build_listeners(settings, reactor, before)
    assert [one.endpoint for one in again] == [one.endpoint for one in before]
    assert len({one.key for one in before}) == 3


@pytest.mark.parametrize("secret", ["few-chars", "changeme-changeme-changeme"])
def test_weak_secret_is_refused_on_an_open_address(tmp_path: Path, secret: str) -> None:
    message = refusal(tmp_path, {"bind": "lan"}, secret=secret)
    assert message.startswith(
        "refusing to bind gateway to http://0.0.0.0:18789: the token is "
    )
    assert secret not in message


def test_weak_secret_will_do_on_this_machine_only(tmp_path: Path) -> None:
    assert listeners_of(tmp_path, secret="short")


LOCAL = [
    "unix:/run/x.sock",
    "tcp:8080:interface=127.0.0.1",
    "tcp:interface=127.0.0.1:port=8080",
    "tcp:8080:interface=localhost",
    r"tcp6:8080:interface=\:\:1",
    "tcp:8080:interface=127.0.0.1:backlog=5",
    "tcp:8080:interface=0.0.0.0:interface=127.0.0.1",
]
OPEN = [
    "tcp:8080",
    "tcp:8080:interface=0.0.0.0",
    "tcp:8080:interface=",
    "tcp:8080:interface=192.0.2.1",
    r"tcp6:8080:interface=\:\:",
    "tcp:8080:interface=127.0.0.1:interface=0.0.0.0",
]


@pytest.mark.parametrize("text", LOCAL)
def test_endpoint_on_this_machine_only_is_local(tmp_path: Path, text: str) -> None:
    [listener] = listeners_of(tmp_path, secret="short", endpoints=[text])
    assert listener.local
    assert listener.probe is None


@pytest.mark.parametrize("text", OPEN)
def test_endpoint_on_the_network_needs_a_strong_secret(
    tmp_path: Path, text: str
) -> None:
    message = refusal(tmp_path, secret="short", endpoints=[LOCAL[0], text])
    assert message.startswith("refusing to bind gateway to tcp")
    assert not listeners_of(tmp_path, endpoints=[text])[0].local


def test_endpoints_replace_the_bind_mode(tmp_path: Path) -> None:
    listeners = listeners_of(
        tmp_path, {"bind": "lan"}, endpoints=["unix:/run/x.sock:mode=600", LOCAL[1]]
    )
    assert [one.address for one in listeners] == ["unix:/run/x.sock", "tcp:8080"]


@pytest.mark.parametrize("text", ["nonsense:1", "tcp", "tcp:http", "tcp:80:x=1"])
def test_endpoint_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    kind = text.split(":")[0]
    assert refusal(tmp_path, endpoints=[text]).startswith(f"endpoint {kind}: ")


FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]


@pytest.fixture(params=FAMILIES if can_bind_ipv6() else FAMILIES[:1])
def taken(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """Give an address where somebody else listens already."""
    family, host = request.param
    with socket.socket(family) as other:
        other.bind((host, 0))
        other.listen(1)
        yield other.getsockname()[:2]


def listener_at(probe: tuple[str, int] | None) -> Listener:
    endpoint = TCP4ServerEndpoint(MemoryReactorClock(), 0)
    return Listener(
        endpoint=endpoint, address="http://x", local=True, key=1, probe=probe
    )


def test_port_in_use_is_found_out(taken: tuple[str, int]) -> None:
    with pytest.raises(StartRefused, match="another gateway instance") as caught:
        probe_ports([listener_at(None), listener_at(taken)])
    assert str(caught.value).startswith("cannot listen on http://x: Address already")


def test_free_port_passes_and_stays_free() -> None:
    with socket.socket() as finder:
        finder.bind(("127.0.0.1", 0))
        address = finder.getsockname()
    for _ in range(2):
        probe_ports([listener_at(address)])


def test_error_without_words_is_told_all_the_same() -> None:
    line = in_use(listener_at(("127.0.0.1", 1)), OSError())
    assert ": cannot be opened;" in line


def metrics_listener(home: Path, metrics: Any) -> Listener | None:
    settings = settings_of(home, {"metrics": metrics})
    return build_metrics_listener(settings, MemoryReactorClock())


def test_metrics_have_no_listener_of_their_own_unless_asked(tmp_path: Path) -> None:
    assert metrics_listener(tmp_path, {"enabled": True}) is None


@pytest.mark.parametrize(
    ("metrics", "address", "kind", "local"),
    [
        ({"port": 9464}, "http://127.0.0.1:9464", TCP4ServerEndpoint, True),
        (
            {"port": 9464, "bind": "192.0.2.1"},
            "http://192.0.2.1:9464",
            TCP4ServerEndpoint,
            False,
        ),
        ({"port": 9464, "bind": "::1"}, "http://[::1]:9464", TCP6ServerEndpoint, True),
        ({"endpoint": "tcp:9464"}, "tcp:9464", TCP4ServerEndpoint, False),
    ],
)
def test_metrics_listen_where_they_are_told_to(
    tmp_path: Path, metrics: Any, address: str, kind: type, local: bool
) -> None:
    listener = metrics_listener(tmp_path, metrics)
    assert listener is not None
    assert (listener.address, listener.local) == (address, local)
    assert isinstance(listener.endpoint, kind)


def test_a_bad_endpoint_for_metrics_is_named_by_its_key(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match=r"^gateway\.metrics\.endpoint nonsense: "):
        metrics_listener(tmp_path, {"endpoint": "nonsense:1"})


def test_a_port_for_metrics_in_use_is_named_by_its_key(
    tmp_path: Path, taken: tuple[str, int]
) -> None:
    listener = metrics_listener(tmp_path, {"bind": taken[0], "port": taken[1]})
    assert listener is not None
    with pytest.raises(StartRefused, match=r"another with gateway\.metrics\.port"):
        probe_ports([listener])
