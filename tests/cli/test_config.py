"""``moltbot config``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.support import Cli

SECRET = "a-secret-token-of-32-characters-0"


@pytest.fixture
def path(alone: Cli) -> Path:
    """A configuration with a comment and a secret."""
    file = alone.configure()
    file.write_text(
        "{\n  // kept\n  gateway: { port: 1234, auth: { token: '" + SECRET + "' } },\n"
        "  agents: { list: [ { id: 'main' }, { id: 'b' } ] },\n}\n"
    )
    return file


def test_where_the_file_is(alone: Cli, path: Path) -> None:
    assert alone.succeed("config", "path") == f"{path}\n"
    assert alone.json("config", "path", "--json") == {
        "path": str(path),
        "exists": True,
    }


def test_values_are_shown(alone: Cli, path: Path) -> None:
    assert alone.succeed("config", "get", "gateway.port") == "1234\n"
    assert alone.succeed("config", "get", "agents.list[1].id") == "b\n"
    assert alone.succeed("config", "get", "agents.list[1].id", "--json") == '"b"\n'
    assert alone.json("config", "get", "agents.list.0")["id"] == "main"


def test_defaults_are_shown_too(alone: Cli, path: Path) -> None:
    assert alone.succeed("config", "get", "gateway.bind") == "loopback\n"


def test_secrets_are_shown_on_demand_only(alone: Cli, path: Path) -> None:
    assert SECRET not in alone.succeed("config", "get", "gateway")
    words = ("config", "get", "gateway.auth.token", "--reveal")
    assert alone.succeed(*words) == f"{SECRET}\n"


def test_what_is_not_there_is_not_shown(alone: Cli, path: Path) -> None:
    assert alone.fail("config", "get", "gateway.nope") == (
        "Config path not found: gateway.nope\n"
    )


@pytest.mark.parametrize("name", ["", ".", "a[0"])
def test_a_path_that_is_none(alone: Cli, path: Path, name: str) -> None:
    assert alone.fail("config", "get", name).startswith("Error: ")


def test_a_value_is_set_and_comments_stay(alone: Cli, path: Path) -> None:
    assert alone.succeed("config", "set", "gateway.port", "5678") == (
        "Updated gateway.port. A running gateway applies it by itself.\n"
    )
    assert alone.succeed("config", "get", "gateway.port") == "5678\n"
    assert "// kept" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_no_json5_is_a_string(alone: Cli, path: Path) -> None:
    alone.succeed("config", "set", "agents.list[1].name", "My Bee")
    assert alone.succeed("config", "get", "agents.list[1].name") == "My Bee\n"
    words = ("config", "set", "agents.list[1].name", "My Bee", "--json")
    assert alone.fail(*words).startswith("Error: VALUE is not JSON5")


def test_a_value_that_the_schema_refuses_is_not_written(alone: Cli, path: Path) -> None:
    before = path.read_text()
    error = alone.fail("config", "set", "gateway.port", "http")
    assert error.startswith("Error: Config validation failed: gateway.port: ")
    assert path.read_text() == before


def test_a_way_through_a_value_is_refused(alone: Cli, path: Path) -> None:
    error = alone.fail("config", "set", "gateway.port.deep", "1")
    assert error.startswith("Error: Cannot traverse into")


def test_a_value_is_removed(alone: Cli, path: Path) -> None:
    assert alone.succeed("config", "unset", "gateway.port") == (
        "Removed gateway.port. A running gateway applies it by itself.\n"
    )
    assert alone.succeed("config", "get", "gateway.port") == "18789\n"
    assert alone.fail("config", "unset", "gateway.port") == (
        "Config path not found: gateway.port\n"
    )


def test_an_invalid_file_is_not_touched(alone: Cli) -> None:
    path = alone.configure(gateway={"port": "x"})
    heading = f"Config invalid at {path}.\n- "
    assert alone.fail("config", "get", "gateway.port").startswith(heading)
    assert alone.fail("config", "set", "gateway.port", "1").startswith(heading)
    assert alone.fail("config", "unset", "gateway.port").startswith(heading)
    assert alone.fail("config", "validate").startswith(heading)
    assert json.loads(path.read_text()) == {"gateway": {"port": "x"}}


def test_a_file_of_others_is_a_clear_error(alone: Cli, path: Path) -> None:
    alone.setenv("CLAWDBOT_NIX_MODE", "1")
    for words in (("set", "gateway.port", "1"), ("unset", "gateway.port")):
        assert "read-only" in alone.fail("config", *words)


def test_a_file_that_cannot_be_written(alone: Cli, path: Path) -> None:
    alone.setenv("CLAWDBOT_CONFIG_PATH", "/proc/nonexistent/c.json")
    error = alone.fail("config", "set", "gateway.port", "1")
    assert error.startswith("Error: cannot write the configuration: ")


def test_a_valid_file(alone: Cli, path: Path) -> None:
    assert alone.succeed("config", "validate") == f"Config valid: {path}\n"
    assert alone.json("config", "validate", "--json")["valid"] is True


def test_no_file_is_valid(alone: Cli) -> None:
    assert "no file; everything is default" in alone.succeed("config", "validate")


def test_an_agent_without_a_provider_is_a_warning(alone: Cli) -> None:
    alone.configure(agents={"defaults": {"model": {"primary": "gone/m1"}}})
    result = alone.run("config", "validate")
    assert result.exit_code == 0
    assert result.stderr == (
        "Note: agent main cannot run: its model is gone/m1, and there is no"
        " models.providers.gone (add it, or choose another: moltbot config set"
        " agents.defaults.model.primary PROVIDER/MODEL)\n"
    )
    [warning] = alone.json("config", "validate", "--json")["warnings"]
    assert warning["path"] == "agents.defaults.model.primary"


def test_what_has_no_effect_is_noted(alone: Cli) -> None:
    alone.configure(gateway={"tailscale": {"mode": "off"}})
    result = alone.run("config", "validate")
    assert result.exit_code == 0
    assert "Note: " in result.stderr
