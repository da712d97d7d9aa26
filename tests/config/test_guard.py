from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moltbot_gw.config.file import ConfigFile
from moltbot_gw.config.guard import PROTECTED
from moltbot_gw.config.merge import same
from moltbot_gw.config.refusal import EditRefused
from moltbot_gw.config.source import parse_text
from moltbot_gw.config.tree import find_value

from .editing import HIDDEN, config_file, edit, refuse
from .support import at, write

ON_THE_HOST = "is only changed in the file, on the host"

CLOSED: dict[str, Any] = {
    "gateway": {
        "mode": "local",
        "bind": "loopback",
        "auth": {"mode": "token", "token": "the-gateways-token"},
        "port": 5000,
    },
    "tools": {"exec": {"security": "deny"}, "elevated": {"enabled": False}},
    "env": {"FOO": "value-of-foo"},
    "models": {
        "providers": {
            "p": {
                "baseUrl": "http://good",
                "apiKey": "key-of-p",
                "headers": {"h": "header-of-p"},
                "models": [{"id": "m", "name": "M", "headers": {"x": "header-of-m"}}],
            },
            "open": {"baseUrl": "http://127.0.0.1:1", "models": []},
        }
    },
    "agents": {
        "list": [
            {"id": "safe", "tools": {"exec": {"security": "deny"}}},
            {"id": "bold", "tools": {"exec": {"security": "full"}}},
            {"id": "none", "name": "${NAME}"},
        ]
    },
}
ENVIRON = {"NAME": "Nobody", "OPENAI_API_KEY": "key-of-the-environment"}


def closed(folder: Path, content: Any = CLOSED) -> ConfigFile:
    return config_file(folder, content, ENVIRON)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("gateway.auth.mode", "password"),
        ("gateway.auth", None),
        ("gateway.bind", "lan"),
        ("gateway.customBindHost", "0.0.0.0"),
        ("gateway.endpoints", ["tcp:80"]),
        ("gateway.mode", "remote"),
        ("gateway.metrics.endpoint", "tcp:80"),
        ("gateway.mode", None),
        ("gateway.tls.enabled", True),
        ("gateway.trustedProxies", ["10.0.0.1"]),
        ("gateway.allowedHosts", ["evil.example"]),
        ("gateway.controlUi.dangerouslyDisableDeviceAuth", True),
        ("gateway.controlUi.allowedOrigins", ["https://evil.example"]),
        ("gateway.tailscale.mode", "funnel"),
        ("gateway.remote.url", "ws://evil.example"),
        ("gateway.http.cors.allowedOrigins", ["https://evil.example"]),
        ("tools.exec.security", "full"),
        ("tools.exec", None),
        ("tools.elevated.enabled", True),
        ("tools.fs.roots", ["/"]),
        ("tools.elevated.allowFrom", {"x": ["*"]}),
        ("tools.profile", "full"),
        ("tools.allow", ["*"]),
        ("tools.alsoAllow", ["exec"]),
        ("tools.deny", []),
        ("tools.byProvider", {"p": {"profile": "full"}}),
        ("tools.agentToAgent.enabled", True),
        ("tools.subagents.tools.deny", []),
        ("tools.sandbox.tools.deny", []),
        ("agents.defaults.sandbox.mode", "off"),
        ("agents.defaults.elevatedDefault", "full"),
        ("agents.defaults.workspace", "/"),
        ("logging.file", "/etc/shadow"),
        ("session.store", "/tmp/x"),
        ("approvals", {"exec": {"enabled": True}}),
        ("env.shellEnv.enabled", True),
        ("env", None),
    ],
)
def test_protected_path_is_not_changed(tmp_path: Path, path: str, value: Any) -> None:
    message = refuse(closed(tmp_path), "patch", at(path, value))
    assert message.endswith(ON_THE_HOST)
    assert path.startswith(message.split(" ")[0])


@pytest.mark.parametrize("path", ["gateway", "tools", "agents", "env"])
def test_deleting_the_parent_is_a_change(tmp_path: Path, path: str) -> None:
    assert refuse(closed(tmp_path), "patch", {path: None}).endswith(ON_THE_HOST)
    rest = {key: value for key, value in CLOSED.items() if key != path}
    assert refuse(closed(tmp_path), "set", json.dumps(rest))


@pytest.mark.parametrize("key", ["Gateway", "GATEWAY", "gateway "])
def test_other_case_is_no_key(tmp_path: Path, key: str) -> None:
    message = refuse(closed(tmp_path), "patch", {key: {"bind": "lan"}})
    assert message == "invalid config"


def test_escaped_key_is_the_same_key(tmp_path: Path) -> None:
    text = r'{"gatew\u0061y": {"b\u0069nd": "lan"}}'
    assert refuse(closed(tmp_path), "patch", text) == f"gateway.bind {ON_THE_HOST}"


def test_protected_secret_is_sent_back_as_the_marker_only(tmp_path: Path) -> None:
    file = closed(tmp_path)
    for token in ("the-gateways-token", "a-guess"):
        message = refuse(file, "patch", at("gateway.auth.token", token))
        assert message.startswith("gateway.auth.token ")
    edit(file, "patch", at("gateway.auth.token", HIDDEN))
    message = refuse(file, "patch", at("env.FOO", "value-of-foo"))
    assert message.startswith("env.FOO ")


def agents(*changes: Callable[[list[Any]], Any]) -> Any:
    entries = json.loads(json.dumps(CLOSED["agents"]["list"]))
    for change in changes:
        change(entries)
    return {"agents": {"list": entries}}


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e[0].update(tools=e[1]["tools"]),
        lambda e: e[0].update(id="x"),
        lambda e: (e[0].update(id="bold"), e[1].update(id="safe")),
        lambda e: e[0].pop("tools"),
        lambda e: e.pop(0),
        lambda e: e.append({"id": "n", "tools": {"elevated": {"enabled": True}}}),
        lambda e: e[2].update(workspace="/"),
        lambda e: e[2].update(agentDir="/tmp"),
        lambda e: e[2].update(tools={"exec": {"host": "gateway"}}),
        lambda e: e[2].update(tools={"profile": "full"}),
        lambda e: e[2].update(sandbox={"mode": "off"}),
        lambda e: e.append({"id": "n", "tools": {"profile": "coding"}}),
    ],
)
def test_tools_of_agents_stay_with_their_agent(tmp_path: Path, change: Any) -> None:
    message = refuse(closed(tmp_path), "patch", agents(change))
    assert message.startswith("agents.list.")
    assert message.endswith(ON_THE_HOST)


def test_order_and_other_keys_of_agents_are_free(tmp_path: Path) -> None:
    file = closed(tmp_path)
    change = agents(
        lambda e: e.reverse(),
        lambda e: e.append({"id": "n", "name": "New"}),
        lambda e: e[1].update(id="BOLD", tools={"exec": {"security": "full"}}),
    )
    assert edit(file, "patch", change).valid


def test_include_is_not_added_moved_or_removed(tmp_path: Path) -> None:
    write(tmp_path / ".moltbot", {"port": 1}, "gw.json")
    write(tmp_path / ".moltbot", {"level": "debug"}, "log.json")
    tree = {"gateway": {"$include": "gw.json"}, "logging": {}}
    file = closed(tmp_path, tree)
    for patch in (
        at("logging.$include", "log.json"),
        at("gateway.$include", ["gw.json"]),
        at("gateway", None),
        {"gateway": None, "models": {"$include": "gw.json"}},
        at("channels", [{"$include": "log.json"}]),
    ):
        assert refuse(file, "patch", patch).endswith(ON_THE_HOST)
    edit(file, "patch", at("gateway.port", 7))
    assert file.effective()["gateway"]["port"] == 7


@pytest.mark.parametrize("mode", ["set", "patch"])
def test_no_file_is_read_for_a_client(tmp_path: Path, mode: Any) -> None:
    write(tmp_path / ".moltbot", {"secretive": 1}, "other.json")
    for name in ("other.json", "gone.json"):
        message = refuse(closed(tmp_path, {}), mode, at("ui.$include", name))
        assert message == f"ui.$include {ON_THE_HOST}"


def test_included_settings_are_protected_too(tmp_path: Path) -> None:
    write(tmp_path / ".moltbot", {"auth": {"mode": "password"}}, "gw.json")
    file = closed(tmp_path, {"gateway": {"$include": "gw.json"}})
    message = refuse(file, "patch", at("gateway.auth.mode", "token"))
    assert message == f"gateway.auth {ON_THE_HOST}"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ui.assistant.name", "${OPENAI_API_KEY}"),
        ("channels", {"x": ["a ${NAME} b"]}),
        ("models.providers.p.apiKey", "${OPENAI_API_KEY}"),
        ("ui.assistant.name", "${NOT_SET}"),
    ],
)
def test_reference_to_a_variable_is_not_added(
    tmp_path: Path, path: str, value: Any
) -> None:
    message = refuse(closed(tmp_path), "patch", at(path, value))
    assert "a reference to a variable is only added" in message


def test_reference_moves_along_its_list(tmp_path: Path) -> None:
    file = closed(tmp_path)
    edit(file, "patch", agents(lambda e: e.insert(0, e.pop())))
    assert "${NAME}" in file.path.read_text()
    edit(file, "patch", at("ui.assistant.name", "$${NAME}"))


def provider(name: str, **values: Any) -> Any:
    return at(f"models.providers.{name}", values)


def test_other_server_needs_every_secret_anew(tmp_path: Path) -> None:
    file = closed(tmp_path)
    url: Any = {"baseUrl": "http://evil"}
    model = {"id": "m", "name": "M"}
    known = {"apiKey": "mine", "headers": {"h": "mine"}}
    tries: list[dict[str, Any]] = [
        url,
        {**url, "apiKey": "mine"},
        {**url, "apiKey": HIDDEN, "headers": None, "models": [model]},
        {**url, "apiKey": None, "headers": {"h": HIDDEN}, "models": [model]},
        {**url, **known},
        {"caFile": "/tmp/evil.pem"},
    ]
    for values in tries:
        message = refuse(file, "patch", provider("p", **values))
        assert message.startswith("models.providers.p.baseUrl another server")
    edit(file, "patch", provider("p", **url, **known, models=[model]))
    edit(file, "patch", provider("open", baseUrl="http://other"))


def test_other_server_without_any_secret_is_free(tmp_path: Path) -> None:
    values: Any = {"baseUrl": "http://n", "apiKey": None, "headers": None, "models": []}
    edit(closed(tmp_path), "patch", provider("p", **values))


def test_provider_of_another_name_does_not_inherit(tmp_path: Path) -> None:
    message = refuse(
        closed(tmp_path),
        "patch",
        provider("q", baseUrl="http://evil", apiKey=HIDDEN, models=[]),
    )
    assert message.startswith("models.providers.q.apiKey: a hidden value")


@pytest.mark.parametrize("name", ["openai", "OpenAI"])
def test_key_of_the_environment_is_not_sent_elsewhere(
    tmp_path: Path, name: str
) -> None:
    values: Any = {"baseUrl": "http://evil", "apiKey": "mine", "models": []}
    message = refuse(closed(tmp_path), "patch", provider(name, **values))
    assert "the environment has a key for this provider" in message
    edit(closed(tmp_path), "patch", provider("xai", **values))
    edit(closed(tmp_path), "patch", provider("google", **values))


def test_included_secret_is_not_mistaken_for_the_clients_own(tmp_path: Path) -> None:
    entry = {**CLOSED["models"]["providers"]["p"]}
    write(tmp_path / ".moltbot", {"p": entry}, "p.json")
    file = closed(tmp_path, at("models.providers", {"$include": "p.json"}))
    own = {"id": "n", "name": "N", "headers": {"x": "mine"}}
    values = {
        "baseUrl": "http://evil",
        "apiKey": "mine",
        "headers": {"h": "mine"},
        "models": [own],
    }
    assert "another server" in refuse(file, "patch", provider("p", **values))


def test_search_service_is_a_server_too(tmp_path: Path) -> None:
    search = {"apiKey": "key-of-search", "baseUrl": "http://good"}
    file = closed(tmp_path, at("tools.web.search.perplexity", search))
    patch = at("tools.web.search.perplexity.baseUrl", "http://evil")
    assert "another server" in refuse(file, "patch", patch)


def test_server_inside_a_list_is_compared_by_its_place(tmp_path: Path) -> None:
    def servers(*urls: str) -> Any:
        items = [{"baseUrl": url, "token": f"of-{url}"} for url in urls]
        return at("channels.x", items)

    file = closed(tmp_path, servers("a", "b"))
    kept = [{"baseUrl": "a", "token": HIDDEN}, {"baseUrl": "c", "token": HIDDEN}]
    assert "another server" in refuse(file, "patch", at("channels.x", kept))
    edit(file, "patch", servers("a", "c", "d"))


def test_invalid_file_is_protected_as_well(tmp_path: Path) -> None:
    file = closed(tmp_path, {**CLOSED, "zzz": 1})
    changed = {**CLOSED, "gateway": {**CLOSED["gateway"], "bind": "lan"}}
    changed["gateway"]["auth"] = {"mode": "token", "token": HIDDEN}
    changed["env"] = {"FOO": HIDDEN}
    assert refuse(file, "set", json.dumps(changed)) == f"gateway.bind {ON_THE_HOST}"
    changed["gateway"]["bind"] = "loopback"
    assert edit(file, "set", changed).valid


@pytest.mark.parametrize(
    "tree", [[1], {"agents": {"list": ["x", {"id": "a", "tools": "exec"}]}}]
)
def test_odd_file_is_no_way_round(tmp_path: Path, tree: Any) -> None:
    file = closed(tmp_path, tree)
    assert refuse(file, "set", at("gateway.bind", "lan")).endswith(ON_THE_HOST)


def test_a_missing_file_stands_for_the_defaults(tmp_path: Path) -> None:
    file = closed(tmp_path, None)
    assert refuse(file, "set", at("gateway.bind", "lan")).endswith(ON_THE_HOST)
    edit(file, "set", at("gateway.bind", "loopback"))


PATCHES = st.recursive(
    st.sampled_from([None, True, 0, "x", "lan", "full", HIDDEN, "${NAME}", "gw.json"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                """gateway auth bind mode token tools exec elevated security env FOO
                agents list id providers models p baseUrl apiKey $include tls enabled
                """.split()  # noqa: SIM905 -- one name per line would hide them
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@given(patch=PATCHES)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_patch_changes_what_is_protected(tmp_path: Path, patch: Any) -> None:
    file = closed(tmp_path)
    before = file.effective()
    try:
        edit(file, "patch", patch)
    except EditRefused:
        assert parse_text(file.path.read_text(), file.path) == CLOSED
        return
    for place in PROTECTED:
        assert same(find_value(before, place), find_value(file.effective(), place))
