"""What commands see of the gateway's environment."""

from __future__ import annotations

import pytest

from moltbot_gw.config import key_variables
from moltbot_gw.tools.exec_environ import (
    base_environ,
    find_program_changer,
    is_harmless,
)

PROVIDERS = """anthropic google vercel-ai-gateway kimi-code zai opencode qwen-portal
github-copilot chutes openai groq cerebras xai mistral openrouter moonshot minimax
venice xiaomi synthetic deepgram"""

OWN = """CLAWDBOT_GATEWAY_TOKEN MOLTBOT_GATEWAY_PASSWORD OPENCLAW_GATEWAY_TOKEN
MOLTBOT_STATE_DIR MOLTBOT_EXEC_ID LISTEN_FDS LISTEN_PID LISTEN_FDNAMES NOTIFY_SOCKET
CREDENTIALS_DIRECTORY WATCHDOG_USEC JOURNAL_STREAM"""
SECRETS = """AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID MY_KEY KEY DB_PASSWORD PGPASSWORD
SLACK_BOT_TOKEN token_of_mine SOME_CREDENTIALS GH_PAT SENTRY_DSN DATABASE_URL
SSH_PASSPHRASE APIKEY"""
ORDINARY = """HOME USER SHELL LANG TERM TZ SSH_AUTH_SOCK XDG_RUNTIME_DIR KEYBOARD MONKEY
HTTP_PROXY PYTHONPATH COMPASS_DIR PWD"""


def base(*names: str, passed: tuple[str, ...] = ()) -> set[str]:
    environ = dict.fromkeys(names, "x")
    return set(base_environ(environ, passed=passed, prepend=())) - {"PATH"}


@pytest.mark.parametrize("name", PROVIDERS.split())
def test_no_providers_key_reaches_a_command(name: str) -> None:
    variables = key_variables(name)
    assert variables
    assert base(*variables) == set()


@pytest.mark.parametrize("name", OWN.split())
def test_the_gateways_affairs_reach_no_command_whatever_is_configured(
    name: str,
) -> None:
    assert base(name, passed=(name,)) == set()


@pytest.mark.parametrize("name", SECRETS.split())
def test_what_is_called_like_a_secret_is_passed_only_by_name(name: str) -> None:
    assert base(name) == set()
    assert base(name, passed=(name,)) == {name}


def test_all_else_is_passed() -> None:
    names = ORDINARY.split()
    assert base(*names) == set(names)


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"PATH": "/a:/b"}, "/first:/a:/b"),
        ({}, "/first:/bin:/usr/bin"),
        ({"PATH": ""}, "/first:/bin:/usr/bin"),
    ],
)
def test_configured_folders_come_first(environ: dict[str, str], path: str) -> None:
    assert base_environ(environ, passed=(), prepend=["/first"]) == {"PATH": path}


@pytest.mark.parametrize(
    "name", ["PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES"]
)
def test_names_that_change_programs_are_found(name: str) -> None:
    assert find_program_changer(["A", name]) == name
    assert find_program_changer(["A", f"MY{name}"]) is None
    assert not is_harmless([name])


def test_only_a_few_names_are_harmless() -> None:
    assert is_harmless(["LANG", "LC_ALL", "TZ", "TERM", "COLUMNS", "NO_COLOR"])
    assert is_harmless([])
    for name in ("PAGER", "GIT_SSH_COMMAND", "BASH_ENV", "PYTHONPATH", "IFS", "lang"):
        assert not is_harmless(["LANG", name])
