from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moltbot_gw.config import Config, ConfigError, LoadedConfig, load_config

from .support import load, write


def test_no_file_at_all_means_defaults(tmp_path: Path) -> None:
    loaded = load_config({"A": "1"}, tmp_path)
    assert loaded == LoadedConfig(
        config=Config(),
        path=tmp_path / ".clawdbot/moltbot.json",
        exists=False,
        environ={"A": "1"},
        files=(tmp_path / ".clawdbot/moltbot.json", tmp_path / ".clawdbot/.env"),
    )


def test_files_that_were_read_are_named_whatever_is_wrong(tmp_path: Path) -> None:
    main = tmp_path / "main.json"
    main.write_text('{"$include": "a.json"}')
    (tmp_path / "a.json").write_text('{"session": {"$include": "b.json"}}')
    (tmp_path / "b.json").write_text('{"scope": "nobody"}')
    with pytest.raises(ConfigError) as caught:
        load_config({}, tmp_path, path=main)
    names = {file.name for file in caught.value.files}
    assert names == {"main.json", "a.json", "b.json", ".env"}
    (tmp_path / "b.json").unlink()
    with pytest.raises(ConfigError) as caught:
        load_config({}, tmp_path, path=main)
    assert tmp_path / "b.json" in caught.value.files


def test_explicit_file_must_exist(tmp_path: Path) -> None:
    path = tmp_path / "gone.json"
    with pytest.raises(ConfigError) as caught:
        load_config({}, tmp_path, path=path)
    line = f"{path}: <root>: the file does not exist"
    assert str(caught.value) == f"Invalid config at {path}:\n  {line}"


def test_file_in_the_usual_place_is_found(tmp_path: Path) -> None:
    path = write(tmp_path, {"gateway": {"port": 5}}, ".moltbot/moltbot.json")
    loaded = load_config({}, tmp_path)
    assert (loaded.path, loaded.exists) == (path, True)
    assert loaded.config.gateway.port == 5


def test_empty_object_is_the_same_as_no_file(tmp_path: Path) -> None:
    assert load(tmp_path, {}).config == Config()


def test_home_is_expanded_in_path_values_only(tmp_path: Path) -> None:
    tree = {
        "agents": {"defaults": {"workspace": "~/work"}, "list": [{"id": "a"}]},
        "gateway": {"tls": {"certPath": "~/c.pem"}, "customBindHost": "~/x"},
    }
    config = load(tmp_path, tree).config
    assert config.agents.defaults.workspace == f"{tmp_path}/work"
    assert config.gateway.tls.cert_path == f"{tmp_path}/c.pem"
    assert config.gateway.custom_bind_host == "~/x"


def test_env_block_feeds_references_in_the_same_file(tmp_path: Path) -> None:
    tree = {"env": {"vars": {"K": "abc"}}, "gateway": {"auth": {"token": "${K}"}}}
    token = load(tmp_path, tree).config.gateway.auth.token
    assert token is not None
    assert token.reveal() == "abc"


def test_variable_keeps_its_type(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a whole number, got a string"):
        load(tmp_path, {"gateway": {"port": "${P}"}}, {"P": "18789"})


SECRETS = {
    "env": {"A": "hunter2", "vars": {"B": "hunter2"}},
    "gateway": {
        "auth": {"token": "hunter2", "password": "hunter2"},
        "remote": {"token": "hunter2", "password": "${PW}"},
    },
    "hooks": {"token": "hunter2", "mappings": [{"token": "hunter2"}]},
    "tools": {"web": {"search": {"apiKey": "hunter2"}}},
    "channels": {"telegram": {"botToken": "hunter2"}},
    "talk": {"apiKey": "hunter2"},
    "models": {
        "providers": {
            "p": {
                "baseUrl": "http://x",
                "apiKey": "hunter2",
                "headers": {"x": "hunter2"},
                "models": [{"id": "m", "name": "M", "headers": {"y": "hunter2"}}],
            }
        }
    },
}


def test_no_secret_is_in_what_is_shown(tmp_path: Path) -> None:
    loaded = load(tmp_path, SECRETS, {"PW": "hunter2"})
    assert "hunter2" not in f"{loaded!r} {loaded} {loaded.notices}"


NAMES = st.sampled_from(
    """
    gateway agents list defaults models providers auth token port session env vars
    tools allow alsoAllow $include id identity avatar agentDir workspace routing http
    cors allowedOrigins anonymousRetention x
    """.split()  # noqa: SIM905 -- one name per line would hide them
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(string.printable + "\ud800ä~${}", max_size=12),
    st.sampled_from(["${A}", "*", "moltbot.json", "~", "none", "24h", "1e999"]),
)
TREES = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner),
    max_leaves=25,
)


anything = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def outcome(folder: Path, content: bytes) -> LoadedConfig | ConfigError:
    """Return what loading gives; any other exception fails the test."""
    try:
        return load(folder, content, {"A": "1"})
    except ConfigError as exc:
        return exc


@given(tree=st.dictionaries(NAMES, TREES) | TREES)
@anything
def test_random_trees_load_or_are_refused(tmp_path: Path, tree: Any) -> None:
    result = outcome(tmp_path, json.dumps(tree).encode())
    if isinstance(result, ConfigError):
        assert len(str(result).splitlines()) == len(result.issues) + 1


@given(text=st.text("{}[]:,'\"/*\\ \nab1.eN$", max_size=40))
@anything
def test_random_text_loads_or_is_refused(tmp_path: Path, text: str) -> None:
    result = outcome(tmp_path, text.encode())
    assert isinstance(result, LoadedConfig) or result.issues
