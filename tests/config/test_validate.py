from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.config import Secret

from .support import at, fail, load, message, messages

PROVIDER = {"baseUrl": "http://x", "models": []}
MODEL = {"id": "m", "name": "M"}


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("gatway", "gateway"),
        ("gateway.prot", "port"),
        ("gateway.auth.tokn", "token"),
        ("gateway.http.endpoints.chatCompletion", "chatCompletions"),
        ("gateway.http.endpoints.chatCompletions.max_body_bytes", "maxBodyBytes"),
        ("gateway.http.endpoints.responses.files.pdf.maxPage", "maxPages"),
        ("agents.defaults.timeoutSecond", "timeoutSeconds"),
        ("agents.defaults.models.openai/gpt-5.alais", "alias"),
        ("session.resetByType.direct_message", None),
        ("session.resetByChannel.slack.atHours", "atHour"),
        ("tools.web.search.apikey", "apiKey"),
        ("messages.queue.debounce", "debounceMs"),
        ("logging.levle", "level"),
        ("zzzz", None),
    ],
)
def test_unknown_key_suggests_the_nearest(
    tmp_path: Path, path: str, near: str | None
) -> None:
    hint = f'; did you mean "{near}"?' if near else ""
    key = path.rsplit(".")[-1]
    assert message(tmp_path, at(path, 1)) == (path, f'unknown key "{key}"{hint}')


def test_unknown_keys_are_found_in_lists_and_free_maps(tmp_path: Path) -> None:
    model = {**MODEL, "cost": {"inputs": 1}, "compat": {"x": 1}}
    tree = {
        "agents": {"list": [{"id": "a", "tools": {"exec": {"hots": "node"}}}]},
        "models": {"providers": {"p": {**PROVIDER, "apikey": "", "models": [model]}}},
    }
    assert set(messages(tmp_path, tree)) == {
        "agents.list.0.tools.exec.hots",
        "models.providers.p.apikey",
        "models.providers.p.models.0.cost.inputs",
        "models.providers.p.models.0.compat.x",
    }


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    tree = {"gateway": {"prot": 1, "port": "x"}, "session": {"scope": 3}, "foo": 1}
    assert set(messages(tmp_path, tree)) == {
        "gateway.prot",
        "gateway.port",
        "session.scope",
        "foo",
    }


def test_number_of_issues_is_bounded(tmp_path: Path) -> None:
    error = fail(tmp_path, {f"key{n}": 1 for n in range(130)})
    assert len(error.issues) == 101
    assert str(error).endswith("  <root>: and 30 more")


def test_error_lists_each_issue_with_file_and_line(tmp_path: Path) -> None:
    error = fail(tmp_path, "{\n gateway: {\n  prot: 1,\n  'port': 'x' } }")
    path = tmp_path / "moltbot.json"
    assert str(error).splitlines() == [
        f"Invalid config at {path}:",
        f'  {path}:3: gateway.prot: unknown key "prot"; did you mean "port"?',
        f"  {path}:4: gateway.port: expected a whole number, got a string",
    ]


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("gateway", [], "expected an object, got a list"),
        ("gateway", None, "expected an object, got null"),
        ("gateway.port", "18789", "expected a whole number, got a string"),
        ("gateway.port", 1.5, "expected a whole number, got a number"),
        ("gateway.port", True, "expected a whole number, got true or false"),
        ("gateway.port", 0, "expected a whole number >= 1"),
        ("gateway.port", 65536, "expected a whole number <= 65535"),
        ("gateway.auth.token", 424242, "expected a string"),
        ("gateway.auth.token", None, "expected a string"),
        ("gateway.trustedProxies", "::1", "expected a list, got a string"),
        ("gateway.trustedProxies", [1], "expected a string, got a whole number"),
        ("gateway.drainSeconds", -1, "expected a number >= 0.0"),
        ("gateway.http.headerTimeoutSeconds", 0, "expected a number > 0.0"),
        ("agents.defaults.model", "x/y", "expected an object, got a string"),
        ("agents.defaults.models", [], "expected an object, got a list"),
        (
            "agents.defaults.subagents.model",
            5,
            "expected a string or an object, got a whole number",
        ),
        ("commands.native", "on", 'expected one of "auto", true or false'),
        ("ui.assistant.name", "x" * 51, "expected a string of length <= 50"),
        ("env.A", 5, "expected a string"),
        ("env", 5, "expected an object, got a whole number"),
        ("env.vars", {"A": 5}, "expected a string"),
        ("session.reset.atHour", 24, "expected a whole number <= 23"),
    ],
)
def test_wrong_value_is_explained(
    tmp_path: Path, path: str, value: Any, text: str
) -> None:
    place, told = message(tmp_path, at(path, value))
    assert place.startswith(path)
    assert told == text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_must_be_finite(tmp_path: Path, number: str) -> None:
    text = f'{{"gateway": {{"drainSeconds": {number}}}}}'
    told = message(tmp_path, text)
    assert told == ("gateway.drainSeconds", "expected a finite number")


def test_number_beyond_floats_is_refused(tmp_path: Path) -> None:
    tree = at("gateway.drainSeconds", 10**400)
    assert message(tmp_path, tree)[1] == "the number is too large"


def test_provider_parameters_are_passed_on(tmp_path: Path) -> None:
    params = {"temperature": 0.2, "extra": {"a": [1]}}
    tree = at("agents.defaults.models", {"a/b": {"params": params}})
    assert load(tmp_path, tree).config.agents.defaults.models["a/b"].params == params


def test_finite_is_asked_of_provider_parameters_too(tmp_path: Path) -> None:
    text = '{"agents": {"defaults": {"models": {"a/b": {"params": {"t": NaN}}}}}}'
    told = message(tmp_path, text)
    assert told == ("agents.defaults.models.a/b.params.t", "expected a finite number")


def test_whole_number_may_be_written_with_an_exponent(tmp_path: Path) -> None:
    tree = '{"gateway": {"limits": {"maxRunBytes": 1e6}}}'
    assert load(tmp_path, tree).config.gateway.limits.max_run_bytes == 1_000_000


@pytest.mark.parametrize(
    ("tree", "path", "key"),
    [
        (at("models.providers.p", {"models": []}), "models.providers.p", "baseUrl"),
        (at("models.providers.p", {"baseUrl": "x"}), "models.providers.p", "models"),
        (at("agents.list", [{"name": "x"}]), "agents.list.0", "id"),
    ],
)
def test_missing_key_is_named(tmp_path: Path, tree: Any, path: str, key: str) -> None:
    assert message(tmp_path, tree) == (path, f'missing key "{key}"')


def test_root_must_be_an_object(tmp_path: Path) -> None:
    error = fail(tmp_path, "[]")
    assert str(error).endswith("\n  <root>: expected an object, got a list")


def test_blank_secret_counts_as_not_set(tmp_path: Path) -> None:
    provider = {**PROVIDER, "apiKey": " ", "headers": {"a": "", "b": "x"}}
    tree = {
        "gateway": {"auth": {"token": "", "password": "  "}},
        "models": {"providers": {"p": provider}},
    }
    config = load(tmp_path, tree).config
    assert (config.gateway.auth.token, config.gateway.auth.password) == (None, None)
    assert config.models.providers["p"].api_key is None
    assert config.models.providers["p"].headers == {"b": Secret("x")}


def test_unknown_keys_of_tls_are_dropped(tmp_path: Path) -> None:
    config = load(tmp_path, at("gateway.tls", {"enabled": True, "x": 1})).config
    assert config.gateway.tls.enabled


def test_hostile_key_is_shown_on_one_short_line(tmp_path: Path) -> None:
    error = fail(tmp_path, {"a\n\x1b[31m" + "b" * 5000: 1})
    [line] = str(error).splitlines()[1:]
    assert "a\\u000a\\u001b[31mbbb" in line
    assert len(line) < 300


def test_no_message_quotes_a_value(tmp_path: Path) -> None:
    paths = ["gateway.bind", "gateway.port", "session.anonymousRetention", "foo"]
    paths += ["gateway.http.cors.allowedOrigins", "models.mode", "logging.level"]
    for path in paths:
        error = fail(tmp_path, at(path, "hunter2"))
        assert "hunter2" not in f"{error} {error!r} {error.__context__!r}"
