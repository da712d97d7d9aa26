from __future__ import annotations

from pathlib import Path

import pytest

from .support import at, load, message


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Gateway.Example", "gateway.example"),
        ("*.example.com", "*.example.com"),
        ("box", "box"),
        ("10.0.0.5", "10.0.0.5"),
        ("[FD00::1]", "fd00::1"),
        ("fd00::1", "fd00::1"),
    ],
)
def test_host_is_kept_as_it_is_compared(tmp_path: Path, text: str, kept: str) -> None:
    config = load(tmp_path, at("gateway.allowedHosts", [text])).config
    assert config.gateway.allowed_hosts == (kept,)


@pytest.mark.parametrize(
    "text", ["", "*", "*.", "a.*.b", "host:80", "http://host", "-a", "a..b", "a/b", "é"]
)
def test_what_is_no_host_is_refused(tmp_path: Path, text: str) -> None:
    path, problem = message(tmp_path, at("gateway.allowedHosts", ["a", text]))
    assert path == "gateway.allowedHosts.1"
    assert problem.startswith("expected a host name")


def test_origins_of_the_control_ui_are_those_of_cors(tmp_path: Path) -> None:
    tree = at("gateway.controlUi.allowedOrigins", ["HTTPS://Box.Example:443"])
    config = load(tmp_path, tree).config
    assert config.gateway.control_ui.allowed_origins == ("https://box.example",)
    tree = at("gateway.controlUi.allowedOrigins", ["*"])
    assert message(tmp_path, tree)[0] == "gateway.controlUi.allowedOrigins.0"


def test_limits_of_connections_have_defaults(tmp_path: Path) -> None:
    limits = load(tmp_path, {}).config.gateway.limits
    assert limits.max_requests_in_flight == 128
    assert limits.max_auth_failures_per_minute == 10
