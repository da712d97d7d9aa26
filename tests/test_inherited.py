"""Sockets that somebody else has opened for us."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import endpoints
from twisted.internet.testing import MemoryReactor
from twisted.python.systemd import ListenFDs

from moltbot_gw.inherited import find_inherited
from moltbot_gw.listening import build_listeners
from moltbot_gw.refusal import StartRefused
from tests.test_listening import settings_of


class Parent:
    """Hands sockets to this process as an init system would."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._sockets: list[socket.socket] = []
        self.hand([], [])

    def open(self, family: socket.AddressFamily, address: Any) -> socket.socket:
        """Return a socket that is bound, and does not listen yet."""
        sock = socket.socket(family)
        self._sockets.append(sock)
        sock.bind(address)
        return sock

    def hand(self, sockets: list[socket.socket], names: list[str]) -> None:
        """Let *sockets* be those that were handed over."""
        numbers = [one.fileno() for one in sockets]
        parser: Any = endpoints._SystemdParser
        self._patch.setattr(parser, "_sddaemon", ListenFDs(numbers, names))

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parent]:
    parent = Parent(monkeypatch)
    yield parent
    parent.close()


def test_socket_is_found_by_index_and_by_name(parent: Parent) -> None:
    sock = parent.open(socket.AF_INET, ("127.0.0.1", 0))
    sock.listen(1)
    parent.hand([sock], ["gateway"])
    for which in ("index=0", "name=gateway"):
        found = find_inherited(f"systemd:domain=INET:{which}", MemoryReactor())
        assert found.address == f"http://127.0.0.1:{sock.getsockname()[1]}"
        assert found.local
    os.fstat(sock.fileno())  # looking closed nothing


def test_unix_socket_is_local(parent: Parent, tmp_path: Path) -> None:
    path = str(tmp_path / "gw.sock")
    sock = parent.open(socket.AF_UNIX, path)
    sock.listen(1)
    parent.hand([sock], ["gateway"])
    found = find_inherited("systemd:domain=UNIX:index=0", MemoryReactor())
    assert (found.address, found.local) == (f"unix:{path}", True)


def test_socket_on_the_network_needs_a_strong_secret(
    parent: Parent, tmp_path: Path
) -> None:
    sock = parent.open(socket.AF_INET, ("0.0.0.0", 0))
    sock.listen(1)
    parent.hand([sock], ["gateway"])
    settings = settings_of(
        tmp_path, secret="short", endpoints=["systemd:domain=INET:index=0"]
    )
    with pytest.raises(StartRefused, match=r"refusing to bind gateway to http://0\.0"):
        build_listeners(settings, MemoryReactor())


def test_endpoints_can_stand_in_the_configuration(
    parent: Parent, tmp_path: Path
) -> None:
    sock = parent.open(socket.AF_INET, ("127.0.0.1", 0))
    sock.listen(1)
    parent.hand([sock], ["gateway"])
    gateway = {"endpoints": ["systemd:domain=INET:name=gateway", "unix:gw.sock"]}
    reactor = MemoryReactor()
    found = build_listeners(settings_of(tmp_path, gateway), reactor)
    port = sock.getsockname()[1]
    assert [x.address for x in found] == [f"http://127.0.0.1:{port}", "unix:gw.sock"]
    settings = settings_of(tmp_path, gateway, endpoints=["unix:other.sock"])
    assert [x.address for x in build_listeners(settings, reactor)] == [
        "unix:other.sock"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "systemd:domain=INET:index=1",
        "systemd:domain=INET:name=other",
        "systemd:domain=MOON:index=0",
    ],
)
def test_socket_that_was_not_handed_over(parent: Parent, text: str) -> None:
    sock = parent.open(socket.AF_INET, ("127.0.0.1", 0))
    sock.listen(1)
    parent.hand([sock], ["gateway"])
    with pytest.raises(StartRefused, match="no such socket was handed to this"):
        find_inherited(text, MemoryReactor())


@pytest.mark.parametrize(
    "text", ["systemd:domain=INET", "systemd:index=x:domain=INET", "systemd:index=0"]
)
def test_description_that_makes_no_sense(parent: Parent, text: str) -> None:
    with pytest.raises(StartRefused, match=f"^endpoint {text}: "):
        find_inherited(text, MemoryReactor())


def test_socket_of_another_kind(parent: Parent) -> None:
    sock = parent.open(socket.AF_INET, ("127.0.0.1", 0))
    sock.listen(1)
    parent.hand([sock], ["gateway"])
    with pytest.raises(StartRefused, match=r"another kind: domain=INET$"):
        find_inherited("systemd:domain=INET6:index=0", MemoryReactor())


def test_socket_that_does_not_listen(parent: Parent) -> None:
    parent.hand([parent.open(socket.AF_INET, ("127.0.0.1", 0))], ["gateway"])
    with pytest.raises(StartRefused, match="does not listen"):
        find_inherited("systemd:domain=INET:index=0", MemoryReactor())


def test_descriptor_that_is_closed(parent: Parent) -> None:
    sock = parent.open(socket.AF_INET, ("127.0.0.1", 0))
    parent.hand([sock], ["gateway"])
    sock.close()
    with pytest.raises(StartRefused, match="Bad file descriptor"):
        find_inherited("systemd:domain=INET:index=0", MemoryReactor())
