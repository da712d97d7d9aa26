"""``tools.exec``: each key the agent's own, else the one for all."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from moltbot_gw.config import Config, decode_hook
from moltbot_gw.tools.exec_settings import ExecSettings, exec_settings


def settings(common: Any, own: Any = None) -> ExecSettings:
    tree = {
        "tools": {"exec": common},
        "agents": {"list": [{"id": "Main", "tools": {"exec": own or {}}}]},
    }
    config = msgspec.convert(tree, Config, dec_hook=decode_hook)
    return exec_settings(config, "main")


def test_without_a_configuration_the_strict_defaults_hold() -> None:
    assert exec_settings(Config(), "main") == settings({}) == ExecSettings()
    usual = ExecSettings()
    assert (usual.host, usual.security, usual.ask) == (
        "gateway",
        "allowlist",
        "on-miss",
    )
    assert (usual.foreground, usual.timeout, usual.keep) == (10.0, 1800.0, 1800.0)
    assert usual.notifies


ALL = {
    "host": "node",
    "security": "full",
    "ask": "off",
    "pathPrepend": ["/a"],
    "passEnv": ["A"],
    "backgroundMs": 2500,
    "timeoutSec": 7,
    "cleanupMs": 1500,
    "notifyOnExit": False,
}
READ = ExecSettings(
    host="node",
    security="full",
    ask="off",
    prepend=("/a",),
    passed=("A",),
    foreground=2.5,
    timeout=7.0,
    keep=1.5,
    notifies=False,
)


def test_every_key_counts_for_all_agents_or_for_one() -> None:
    assert settings(ALL) == READ
    assert settings({}, ALL) == READ


@pytest.mark.parametrize("key", ALL)
def test_an_agents_own_key_comes_first(key: str) -> None:
    other = {
        "host": "gateway",
        "security": "deny",
        "ask": "always",
        "pathPrepend": [],
        "passEnv": [],
        "backgroundMs": 1,
        "timeoutSec": 1,
        "cleanupMs": 1,
        "notifyOnExit": True,
    }
    assert settings({**ALL, key: other[key]}, {key: ALL[key]}) == READ


def test_nothing_takes_for_ever() -> None:
    huge = settings({"cleanupMs": 10**12, "timeoutSec": 10**9, "backgroundMs": 10**9})
    assert huge.keep == 3 * 3600
    assert huge.timeout == 7 * 86_400
    assert huge.foreground == 120
    assert settings({"backgroundMs": 1}).foreground == 0.01
