"""What the manual generates is whole: each key, method, error and option is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import rst
from commands import all_commands, daemon_options
from configkeys import Key, all_keys
from errortable import all_errors
from methods import served_methods, unserved_names

from moltbot_gw.client import Target
from moltbot_gw.client import connect as connect_client
from moltbot_gw.config import Secret, json_schema
from moltbot_gw.http import routes
from tests.docs.blocks import ROOT, pages
from tests.integration.gateway import TOKEN, Gateway, configuration
from tests.integration.waiting import reactor, socket_test

KEYS = all_keys()


def _paths_of(schema: Any, path: str = "") -> set[str]:
    """Return the path of each key in a JSON Schema, as the manual writes it."""
    found: set[str] = set()
    for one in (schema, *schema.get("anyOf", ())):
        for name, below in one.get("properties", {}).items():
            here = f"{path}.{name}" if path else name
            found |= {here} | _paths_of(below, here)
        if isinstance(below := one.get("additionalProperties"), dict):
            found |= _paths_of(below, f"{path}.*")
        if isinstance(below := one.get("items"), dict):
            found |= _paths_of(below, f"{path}[]")
    return found


def _manual() -> str:
    lines = [*rst.config_reference(KEYS), *rst.ignored_sections(KEYS)]
    return "\n".join(lines)


def test_every_key_of_the_schema_is_known() -> None:
    assert {key.path for key in KEYS} == _paths_of(json_schema())


def _is_named(key: Key, manual: str) -> bool:
    """Whether *key*, or an object without effect around it, has its place."""
    if f".. confval:: {key.path}\n" in manual or f".. rubric:: {key.path}\n" in manual:
        return True
    if key.served:
        return False
    around = [key.path[: cut.start()] for cut in re.finditer(r"[.\[]", key.path)]
    return any(f"``{path}``" in manual for path in (key.path, *around))


def test_every_key_is_in_the_manual() -> None:
    manual = _manual()
    assert [key.path for key in KEYS if not _is_named(key, manual)] == []


def test_every_key_with_an_effect_is_described() -> None:
    silent = [k.path for k in KEYS if k.served and not k.section and not k.text]
    assert silent == [], "give them doc(...) or ours(...) in moltbot_gw/config"


def test_every_object_is_described() -> None:
    assert [key.path for key in KEYS if key.section == ""] == []


def test_keys_say_kind_default_and_origin() -> None:
    found = {key.path: key for key in KEYS}
    port, drain = found["gateway.port"], found["gateway.drainSeconds"]
    assert (port.kind, port.default, port.ours) == (
        "integer, 1 to 65535",
        "18789",
        False,
    )
    assert (drain.kind, drain.default, drain.ours) == ("number, 0 or more", "30", True)
    base_url = found["models.providers.*.baseUrl"]
    assert (base_url.required, base_url.default, base_url.served) == (True, None, True)
    assert not found["channels"].served
    assert found["gateway.remote.url"].served


@socket_test
async def test_every_method_is_in_the_table(clean: None, tmp_path: Path) -> None:
    gateway = await Gateway(tmp_path, configuration(None)).start()
    target = Target(url=f"ws://127.0.0.1:{gateway.port}", token=Secret(TOKEN))
    client = await connect_client(reactor, target)
    served = set(client.hello.features.methods)
    client.close()
    await gateway.stop()
    assert {one.name for one in served_methods() if one.advertised} == served


def test_every_method_says_what_it_does() -> None:
    methods = served_methods()
    assert [one.name for one in methods if not one.text.endswith(".")] == []
    assert {"agent", "chat.send", "config.get"} <= {one.name for one in methods}
    assert {"cron.list", "node.list"} <= set(unserved_names())


def test_every_error_says_when() -> None:
    errors = all_errors()
    assert {(401, "invalid_api_key"), (503, "draining")} <= {
        (one.status, one.code) for one in errors
    }
    assert [one.code for one in errors if not one.text] == []


def test_every_route_is_on_some_page() -> None:
    text = "".join(path.read_text() for path in pages())
    known = [one for one in vars(routes).values() if isinstance(one, routes.Route)]
    paths = ["/" + b"/".join(one.segments).decode() for one in known if one.segments]
    assert paths
    assert [path for path in paths if f"{path}``" not in text] == []


@pytest.mark.parametrize("name", ["moltbot", "moltbot agent", "moltbot gateway call"])
def test_every_command_is_listed(name: str) -> None:
    assert name in {" ".join(command.words) for command in all_commands()}


def test_options_of_the_daemon_have_words() -> None:
    assert [one.names for one in daemon_options() if not one.text] == []


def test_every_tool_is_on_the_page_of_the_agents() -> None:
    modules = (ROOT / "moltbot_gw" / "tools").glob("*.py")
    names = re.findall(r'\bname="([a-z_]+)"', "".join(m.read_text() for m in modules))
    assert {"read", "exec", "web_fetch"} <= set(names)
    page = (ROOT / "docs" / "agents.rst").read_text()
    assert [name for name in names if f"``{name}``" not in page] == []
