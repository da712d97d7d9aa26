from __future__ import annotations

import json
import string
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moltbot_gw.config.file import ConfigFile
from moltbot_gw.config.keynames import is_secret_name
from moltbot_gw.config.snapshot import Snapshot

from .editing import HIDDEN, SAMPLE, SECRETS, config_file, edit
from .support import at, write

files = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def shown(folder: Path, content: Any) -> Snapshot:
    return config_file(folder, content).snapshot()


def text_of(snapshot: Snapshot) -> str:
    return json.dumps(snapshot.to_wire(), ensure_ascii=False)


def test_missing_file_is_shown_as_defaults(tmp_path: Path) -> None:
    snapshot = shown(tmp_path, None)
    assert (snapshot.exists, snapshot.raw, snapshot.parsed) == (False, None, {})
    assert snapshot.valid
    assert snapshot.hash == sha256(b"").hexdigest()
    assert snapshot.config["gateway"]["port"] == 18789


def test_hash_is_of_the_true_text(tmp_path: Path) -> None:
    assert shown(tmp_path, SAMPLE).hash == sha256(SAMPLE.encode()).hexdigest()


def test_no_secret_of_the_sample_is_shown(tmp_path: Path) -> None:
    snapshot = shown(tmp_path, SAMPLE)
    assert snapshot.valid
    assert [s for s in SECRETS if s in text_of(snapshot) + repr(snapshot)] == []


def test_everything_else_of_the_text_is_shown(tmp_path: Path) -> None:
    raw = shown(tmp_path, SAMPLE).raw
    assert raw is not None
    assert "mode: 'local',  // started by hand" in raw
    assert 'token: "${GW_TOKEN}"' in raw
    assert f'apiKey: "{HIDDEN}", // "{HIDDEN}" again' in raw


def test_config_has_variables_and_defaults(tmp_path: Path) -> None:
    file = config_file(tmp_path, at("agents.list", [{"id": "A", "name": "${N}"}]))
    config = ConfigFile({"N": "Ann"}, tmp_path, file.path).snapshot().config
    assert config["agents"]["list"] == [{"id": "a", "default": False, "name": "Ann"}]
    assert config["agents"]["defaults"]["timeoutSeconds"] == 600


def test_included_files_are_in_config_only(tmp_path: Path) -> None:
    write(tmp_path / ".moltbot", at("gateway.auth.token", "included-secret"), "a.json")
    snapshot = shown(tmp_path, {"$include": "a.json", "gateway": {"port": 5}})
    assert snapshot.parsed == {"$include": "a.json", "gateway": {"port": 5}}
    assert snapshot.config["gateway"]["auth"]["token"] == HIDDEN
    assert "included-secret" not in text_of(snapshot)


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (at("gateway.prot", 1), "gateway.prot"),
        (at("gateway.token", "hunter2-hunter2"), "gateway.token"),
        (at("$include", "gone.json"), ""),
        (at("gateway.auth.token", "${GONE}"), "gateway.auth.token"),
        (at("gateway.auth.token", {"a": "hunter2-hunter2"}), "gateway.auth.token"),
        (["hunter2-hunter2"], ""),
    ],
)
def test_invalid_file_is_shown_with_its_issues(
    tmp_path: Path, content: Any, path: str
) -> None:
    snapshot = shown(tmp_path, content)
    assert (snapshot.valid, snapshot.config) == (False, {})
    assert [issue.path for issue in snapshot.issues] == [path]
    assert "hunter2" not in text_of(snapshot) or isinstance(content, list)


def test_legacy_keys_are_told_apart(tmp_path: Path) -> None:
    snapshot = shown(tmp_path, at("gateway.token", "x"))
    assert [i.path for i in snapshot.legacy_issues] == ["gateway.token"]


@pytest.mark.parametrize("content", ["{gateway: hunter2", b"\xff\xfe", "{a: 1, a: 2}"])
def test_text_that_cannot_be_read_is_not_shown(tmp_path: Path, content: Any) -> None:
    snapshot = shown(tmp_path, content)
    assert (snapshot.exists, snapshot.raw, snapshot.valid) == (True, None, False)
    assert len(snapshot.issues) == 1
    assert "hunter2" not in text_of(snapshot)


def test_unserved_sections_are_warnings(tmp_path: Path) -> None:
    wire = shown(tmp_path, at("cron.enabled", True)).to_wire()
    message = "is not served by this gateway and is ignored"
    assert wire["warnings"] == [{"path": "cron", "message": message}]
    assert (wire["valid"], wire["issues"], wire["legacyIssues"]) == (True, [], [])


@pytest.mark.parametrize(
    "tree",
    [
        at("gateway.remote.url", "wss://me:hunter2-x@host/"),
        at(
            "models.providers.p", {"baseUrl": "http://x/?api_key=hunter2", "models": []}
        ),
        at("env.FOO", "hunter2"),
        at("env.vars.FOO", "hunter2"),
        at("channels.slack.signingSecret", ["hunter2"]),
        at("channels.x.apiKeys.first", "hunter2"),
        at("channels.x.PASSWORD", "hunter2"),
        at("skills.entries.s.env.FOO", "hunter2"),
        at("hooks.mappings", [{"headers": {"x": "hunter2"}}]),
        at("channels.x.access_token", "prefix-hunter2-${GW_TOKEN}"),
        at("channels.x.serviceAccount", {"mail": "hunter2"}),
    ],
)
def test_secrets_in_odd_places_are_hidden(tmp_path: Path, tree: Any) -> None:
    assert "hunter2" not in text_of(shown(tmp_path, tree))


def test_what_is_no_secret_stays(tmp_path: Path) -> None:
    tree: Any = {
        "models": {"providers": {"p": {"baseUrl": "http://h:1/?v=1", "models": []}}},
        "channels": {"x": {"maxTokens": 5, "password": True, "pin": 1234, "token": ""}},
        "gateway": {"tls": {"keyPath": "/k.pem"}, "auth": {"mode": "token"}},
    }
    parsed = shown(tmp_path, tree).parsed
    tree["channels"]["x"]["pin"] = HIDDEN
    assert parsed == tree


def test_variable_with_a_secrets_name_is_hidden_wherever_it_is_used(
    tmp_path: Path,
) -> None:
    file = config_file(tmp_path, at("ui.assistant.name", "I am ${MY_API_KEY}!"))
    environ = {"MY_API_KEY": "hunter2-hunter2"}
    snapshot = ConfigFile(environ, tmp_path, file.path).snapshot()
    assert snapshot.config["ui"]["assistant"]["name"] == HIDDEN
    assert snapshot.parsed["ui"]["assistant"]["name"] == "I am ${MY_API_KEY}!"


def test_comments_give_no_secret_away(tmp_path: Path) -> None:
    text = """{
  // password = hunter2
  /* Authorization: 'hunter2 hunter2' */
  // apiKey: ${KEEP}
  // 0123456789abcdefghijklmnop, a-long-word-that-is-only-letters
}"""
    raw = shown(tmp_path, text).raw
    assert raw is not None
    assert "hunter2" not in raw
    assert "0123456789" not in raw
    assert "${KEEP}" in raw
    assert "a-long-word-that-is-only-letters" in raw


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("OPENAI_API_KEY", True),
        ("x-api-key", True),
        ("botToken", True),
        ("ClientSecretV2", True),
        ("publicKey", True),
        ("keyPrefix", False),
        ("name", False),
        ("monkey", False),
    ],
)
def test_names_of_secrets_are_known(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


SECRET_TEXT = st.text(
    string.ascii_letters + string.digits + "-\"'\\/é", min_size=5
).map(lambda text: f"S3CR3T{text}")
NAMES = st.sampled_from(["token", "appPassword", "apiKey", "Authorization", "SECRET_1"])
PLAIN = st.sampled_from(["name", "a", "mode", "list", "x y"])
SECRET_TREES = st.recursive(
    st.dictionaries(NAMES, SECRET_TEXT, max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3)
    ),
    max_leaves=8,
)
MODELS: Any = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["m", "n"]),
        "name": st.just("M"),
        "headers": st.dictionaries(PLAIN, SECRET_TEXT, max_size=2),
    }
)
PROVIDERS: Any = st.fixed_dictionaries(
    {
        "baseUrl": st.just("http://x"),
        "models": st.lists(
            MODELS,
            max_size=2,
            unique_by=lambda model: model["id"],
        ),
    },
    optional={"apiKey": SECRET_TEXT, "headers": st.dictionaries(PLAIN, SECRET_TEXT)},
)
CONFIGS: Any = st.fixed_dictionaries(
    {},
    optional={
        "env": st.dictionaries(st.sampled_from(["A", "B"]), SECRET_TEXT),
        "gateway": st.fixed_dictionaries(
            {"auth": st.fixed_dictionaries({"token": SECRET_TEXT})}
        ),
        "channels": SECRET_TREES,
        "hooks": st.fixed_dictionaries({"mappings": SECRET_TREES}),
        "models": st.fixed_dictionaries(
            {"providers": st.dictionaries(PLAIN, PROVIDERS, max_size=2)}
        ),
    },
)


@given(tree=CONFIGS, indent=st.sampled_from([None, 2]), plain=st.booleans())
@files
def test_no_secret_of_any_config_is_shown_and_none_is_lost(
    tmp_path: Path, tree: Any, indent: int | None, plain: bool
) -> None:
    text = json.dumps(tree, indent=indent, ensure_ascii=plain)
    file = config_file(tmp_path, text)
    snapshot = file.snapshot()
    assert snapshot.valid
    assert "S3CR3T" not in text_of(snapshot)
    assert snapshot.raw is not None
    edit(file, "set", snapshot.raw)
    assert file.path.read_text(encoding="utf-8") == text


@given(tree=SECRET_TREES)
@files
def test_no_secret_of_an_invalid_config_is_shown(tmp_path: Path, tree: Any) -> None:
    assert "S3CR3T" not in text_of(shown(tmp_path, {"zzz": tree}))
