"""By which names a gateway may be called, from its configuration."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.httpbuilding import _host_names
from moltbot_gw.settings import CommandLine, load_settings

OWN = "Box-7"
TAILNET = "*.ts.net"
OWN_NAMES = ["box-7", "box-7.local"]


@pytest.fixture(autouse=True)
def _name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: OWN)


def names(home: Path, gateway: dict[str, Any], **options: Any) -> list[str]:
    path = home / "moltbot.json"
    path.write_text(json.dumps({"gateway": {"auth": {"token": "t" * 30}, **gateway}}))
    command = CommandLine(config=str(path), **options)
    return _host_names(load_settings(command, {}, home))


@pytest.mark.parametrize(
    ("gateway", "expected"),
    [
        ({}, []),
        ({"bind": "loopback"}, []),
        ({"bind": "auto"}, []),
        ({"bind": "lan"}, OWN_NAMES),
        ({"bind": "tailnet"}, [*OWN_NAMES, TAILNET]),
        ({"tailscale": {"mode": "off"}}, []),
        ({"tailscale": {"mode": "serve"}}, [TAILNET]),
        ({"allowedHosts": ["gw.example"]}, ["gw.example"]),
        (
            {"allowedHosts": ["gw.example"], "bind": "lan"},
            ["gw.example", *OWN_NAMES],
        ),
    ],
)
def test_names(tmp_path: Path, gateway: dict[str, Any], expected: list[str]) -> None:
    assert names(tmp_path, gateway) == expected


def test_a_listener_of_its_own_may_be_called_by_the_machines_name(
    tmp_path: Path,
) -> None:
    endpoints = ("tcp:0:interface=127.0.0.1",)
    assert names(tmp_path, {}, endpoints=endpoints) == OWN_NAMES
