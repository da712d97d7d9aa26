from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.config.edit import Mode
from moltbot_gw.config.file import ConfigFile, find_config_file, read_snapshot
from moltbot_gw.config.issues import ConfigError
from moltbot_gw.config.keypath import KeyPathError, parse_key_path
from moltbot_gw.config.refusal import EditRefused
from moltbot_gw.config.source import parse_text

from .editing import ENVIRON, HIDDEN, SAMPLE, config_file, edit, refuse
from .support import at, write


def tree_of(file: ConfigFile) -> Any:
    return parse_text(file.path.read_text(encoding="utf-8"), file.path)


def test_edit_of_an_existing_file_needs_its_hash(tmp_path: Path) -> None:
    file = config_file(tmp_path)
    for base, message in (
        (None, "config base hash required; re-run config.get and retry"),
        ("", "config base hash required; re-run config.get and retry"),
        ("0" * 64, "config changed since last load; re-run config.get and retry"),
    ):
        with pytest.raises(EditRefused) as caught:
            file.edit("set", "{}", base)
        assert caught.value.message == message
    assert file.path.read_text() == SAMPLE


def test_missing_file_is_made_without_a_hash(tmp_path: Path) -> None:
    file = config_file(tmp_path, None)
    snapshot = file.edit("set", "{logging: {level: 'debug'}}", None)
    assert file.path.read_text() == "{logging: {level: 'debug'}}"
    assert (snapshot.exists, snapshot.hash) == (True, file.snapshot().hash)


def test_patch_of_a_missing_file_makes_it(tmp_path: Path) -> None:
    file = config_file(tmp_path, None)
    edit(file, "patch", at("logging.level", "debug"))
    assert (
        file.path.read_text()
        == json.dumps(at("logging.level", "debug"), indent=2) + "\n"
    )


@pytest.mark.parametrize("mode", ["set", "apply"])
def test_text_comes_back_byte_for_byte(tmp_path: Path, mode: Mode) -> None:
    file = config_file(tmp_path)
    raw = file.snapshot().raw
    assert raw is not None
    edit(file, mode, raw + "// bye\n")
    assert file.path.read_text() == SAMPLE + "// bye\n"


def test_form_that_sends_the_whole_config_loses_no_secret(tmp_path: Path) -> None:
    file = config_file(tmp_path)
    edit(file, "set", file.snapshot().config)
    tree = tree_of(file)
    secrets = parse_text(SAMPLE, file.path)["gateway"]["auth"]
    assert tree["gateway"]["auth"] == {**secrets, "keys": [], "trustedProxy": {}}
    assert tree["channels"]["telegram"]["botToken"] == "bot-of-the-office"


def test_patch_keeps_comments_and_references(tmp_path: Path) -> None:
    file = config_file(tmp_path)
    snapshot = edit(file, "patch", at("models.providers.local.apiKey", "fresh-key"))
    changed = SAMPLE.replace('apiKey: "key-of-the-server"', 'apiKey: "fresh-key"')
    assert file.path.read_text() == changed
    assert snapshot.config["models"]["providers"]["local"]["apiKey"] == HIDDEN
    assert "fresh-key" not in json.dumps(snapshot.to_wire())


def test_patch_deletes_with_null_and_replaces_lists(tmp_path: Path) -> None:
    file = config_file(tmp_path)
    agents = [{"id": "main", "default": True, "tools": {"exec": {"security": "deny"}}}]
    edit(file, "patch", {"channels": None, "agents": {"list": agents}})
    tree = tree_of(file)
    assert "channels" not in tree
    assert tree["agents"]["list"] == agents


def test_patch_of_a_text_without_certain_layout_writes_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moltbot_gw.config.reading.find_layout", lambda *_: None)
    file = config_file(tmp_path)
    snapshot = file.snapshot()
    assert snapshot.raw == json.dumps(snapshot.parsed, indent=2) + "\n"
    edit(file, "set", snapshot.raw)
    assert tree_of(file) == parse_text(SAMPLE, file.path)
    edit(file, "patch", {"channels": None})
    assert "telegram" not in file.path.read_text()


def test_bad_rewrite_is_noticed_and_replaced_by_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moltbot_gw.config.edit.rewrite", lambda text, *_: text)
    file = config_file(tmp_path)
    edit(file, "patch", {"channels": None})
    expected = parse_text(SAMPLE, file.path)
    del expected["channels"]
    assert file.path.read_text() == json.dumps(expected, indent=2) + "\n"


@pytest.mark.parametrize("mode", ["set", "patch", "apply"])
def test_text_that_cannot_be_parsed_is_refused(tmp_path: Path, mode: Mode) -> None:
    file = config_file(tmp_path)
    assert "syntax error" in refuse(file, mode, "{gateway: hunter2")
    assert refuse(file, mode, '{"a": 1, "a": 2}') == 'an object has the key "a" twice'
    assert "larger than" in refuse(file, mode, " " * (1024 * 1024 + 1))


@pytest.mark.parametrize("depth", [80, 900])
def test_text_that_is_nested_too_deeply_is_refused(tmp_path: Path, depth: int) -> None:
    file = config_file(tmp_path, {})
    raw = '{"channels": ' + "[" * depth + "]" * depth + "}"
    for mode in ("set", "patch"):
        assert refuse(file, mode, raw) == "nested too deeply"
    deep = parse_key_path("meta" + ".x" * depth)
    with pytest.raises(EditRefused, match="nested too deeply"):
        file.set_value(deep[:100], 1)


def test_patch_must_be_an_object(tmp_path: Path) -> None:
    message = "config.patch raw must be an object"
    assert refuse(config_file(tmp_path), "patch", "[1]") == message
    assert refuse(config_file(tmp_path), "patch", "null") == message


@pytest.mark.parametrize("mode", ["set", "patch", "apply"])
def test_result_must_be_valid(tmp_path: Path, mode: Mode) -> None:
    file = config_file(tmp_path)
    with pytest.raises(EditRefused) as caught:
        edit(file, mode, at("gateway.port", "hunter2"))
    assert caught.value.message == "invalid config"
    assert [issue.path for issue in caught.value.issues] == ["gateway.port"]
    assert "hunter2" not in str(caught.value.issues)


def test_half_of_a_surrogate_pair_is_refused(tmp_path: Path) -> None:
    file = config_file(tmp_path, {})
    assert refuse(file, "patch", r'{"ui": {"assistant": {"name": "\ud800"}}}') == (
        "invalid config"
    )
    assert refuse(file, "set", '{"meta": {"x": "\ud800"}}') == "invalid config"


def test_invalid_file_can_be_replaced_but_not_patched(tmp_path: Path) -> None:
    file = config_file(tmp_path, at("gateway.prot", 1))
    assert refuse(file, "patch", "{}") == "invalid config; fix before patching"
    edit(file, "set", {})
    assert file.snapshot().valid


@pytest.mark.parametrize("content", ["{", b"\xff", {"$include": "gone.json"}])
def test_unreadable_file_is_not_replaced_over_the_network(
    tmp_path: Path, content: Any
) -> None:
    file = config_file(tmp_path, content)
    with pytest.raises(EditRefused, match="fix the file on the host"):
        edit(file, "set", {})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ui.assistant.name", HIDDEN),
        ("models.providers.local.caFile", HIDDEN),
        ("channels.telegram.botToken", f"x{HIDDEN}"),
        ("channels.telegram", HIDDEN),
        ("channels.telegram", {HIDDEN: 1}),
        ("channels.telegram.botToken.x", HIDDEN),
    ],
)
def test_marker_for_nothing_is_an_error_that_names_the_path(
    tmp_path: Path, path: str, value: Any
) -> None:
    for mode in ("set", "patch"):
        message = refuse(config_file(tmp_path), mode, at(path, value))
        assert message.startswith(f"{path}: ")


def test_marker_is_known_however_it_is_spelled(tmp_path: Path) -> None:
    file = config_file(tmp_path)
    spelled = HIDDEN.replace("_", "\\u005f")
    raw = file.snapshot().raw
    assert raw is not None
    edit(file, "set", raw.replace(HIDDEN, spelled))
    assert tree_of(file) == parse_text(SAMPLE, file.path)


ITEMS = [
    {"id": "a", "name": "A", "headers": {"x": "header-of-a"}},
    {"id": "b", "name": "B", "headers": {"x": "header-of-b"}},
]


def models(*items: Any) -> Any:
    return at("models.providers.p", {"baseUrl": "http://x", "models": list(items)})


def hidden(item: Any) -> Any:
    return {**item, "headers": {"x": HIDDEN}}


def test_items_with_ids_keep_their_secrets_in_any_order(tmp_path: Path) -> None:
    file = config_file(tmp_path, models(*ITEMS))
    edit(file, "set", models(hidden(ITEMS[1]), {"id": "c", "name": "C"}))
    [first, _] = tree_of(file)["models"]["providers"]["p"]["models"]
    assert first == ITEMS[1]
    message = refuse(file, "set", models(hidden({**ITEMS[0], "id": "z"})))
    assert message.startswith("models.providers.p.models.0.headers.x: ")


def test_items_without_ids_keep_their_secrets_by_place(tmp_path: Path) -> None:
    def mappings(*tokens: str, name: str = "n") -> Any:
        items = [{"name": f"{name}{i}", "token": t} for i, t in enumerate(tokens)]
        return at("hooks.mappings", items)

    file = config_file(tmp_path, mappings("t-0", "t-1"))
    edit(file, "set", mappings(HIDDEN, "other", name="m"))
    assert tree_of(file) == mappings("t-0", "other", name="m")
    edit(file, "patch", mappings(HIDDEN, HIDDEN, "t-2", name="m"))
    assert tree_of(file) == mappings("t-0", "other", "t-2", name="m")
    message = refuse(file, "patch", mappings(HIDDEN, name="z"))
    assert message.startswith("hooks.mappings.0.token: ")


def test_lists_of_other_shapes_are_compared_too(tmp_path: Path) -> None:
    items = [{"token": "t-0", "of": ["a", 1]}, "plain"]
    file = config_file(tmp_path, at("hooks.mappings", items))
    kept = {"token": HIDDEN, "of": ["a", 1]}
    edit(file, "patch", at("hooks.mappings", [kept, "plain", 5]))
    assert tree_of(file)["hooks"]["mappings"] == [*items, 5]
    other = {"token": HIDDEN, "of": ["a"]}
    assert "hooks.mappings.0" in refuse(file, "patch", at("hooks.mappings", [other]))
    named = {"id": "x", "token": "t-1"}
    edit(file, "patch", at("hooks.mappings", [named]))
    nameless = at("hooks.mappings", [{"token": HIDDEN}])
    assert "hooks.mappings.0" in refuse(file, "patch", nameless)


def test_read_only_environment_refuses_every_write(tmp_path: Path) -> None:
    path = config_file(tmp_path, {}).path
    file = ConfigFile({"CLAWDBOT_NIX_MODE": "1"}, tmp_path, path)
    assert "read-only" in refuse(file, "patch", at("logging.level", "debug"))


def test_of_two_edits_with_the_same_base_one_is_made(tmp_path: Path) -> None:
    file = config_file(tmp_path, {})
    base = file.snapshot().hash
    start = threading.Barrier(4)
    won, lost = [], []

    def editor(name: str) -> None:
        start.wait(10)
        try:
            file.edit("patch", json.dumps(at("ui.assistant.name", name)), base)
            won.append(name)
        except EditRefused:
            lost.append(name)

    threads = [threading.Thread(target=editor, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(won), len(lost)) == (1, 3)
    assert tree_of(file) == at("ui.assistant.name", won[0])


def test_value_is_set_on_the_host_whatever_it_is(tmp_path: Path) -> None:
    file = config_file(tmp_path)
    file.set_value(parse_key_path("gateway.port"), 5)
    file.set_value(parse_key_path("gateway.auth.password"), "${GW_TOKEN}")
    text = file.path.read_text()
    assert tree_of(file)["gateway"]["port"] == 5
    assert "started by hand" in text
    assert 'password: "${GW_TOKEN}" }' in text


def test_value_is_removed_on_the_host(tmp_path: Path) -> None:
    file = config_file(tmp_path)
    assert file.unset_value(parse_key_path("agents.list[1]")) is not None
    assert len(tree_of(file)["agents"]["list"]) == 1
    assert file.unset_value(parse_key_path("agents.list[1]")) is None


def test_bad_value_and_bad_path_are_refused_on_the_host(tmp_path: Path) -> None:
    file = config_file(tmp_path)
    with pytest.raises(EditRefused, match="invalid config"):
        file.set_value(("gateway", "port"), "x")
    with pytest.raises(KeyPathError):
        file.set_value(("agents", "list", "x"), 1)
    with pytest.raises(EditRefused, match="a hidden value that the file has not"):
        file.set_value(("ui", "seamColor"), HIDDEN)
    assert file.path.read_text() == SAMPLE


def test_invalid_file_is_not_edited_on_the_host(tmp_path: Path) -> None:
    file = config_file(tmp_path, at("gateway.prot", 1))
    with pytest.raises(EditRefused, match="fix before patching") as caught:
        file.set_value(("gateway", "port"), 1)
    assert [issue.path for issue in caught.value.issues] == ["gateway.prot"]
    with pytest.raises(EditRefused):
        file.unset_value(("gateway", "port"))
    with pytest.raises(ConfigError):
        file.effective()


def test_owner_reads_secrets_in_clear(tmp_path: Path) -> None:
    tree = config_file(tmp_path).effective()
    assert tree["gateway"]["auth"]["token"] == "token-of-the-gateway"
    assert tree["gateway"]["port"] == 18789


def test_file_in_the_usual_place_is_found(tmp_path: Path) -> None:
    path = config_file(tmp_path).path
    assert find_config_file({}, tmp_path).path == path
    assert read_snapshot(ENVIRON, tmp_path).valid
    assert not read_snapshot({}, tmp_path, write(tmp_path, [1])).valid
