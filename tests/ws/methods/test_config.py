"""``config.*`` as a client sees it: no secret, no lost edit, nothing half written."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from tests.support.control import JSON, Client, Control
from tests.support.gateway import LogTape

Make = Callable[..., Control]

HIDDEN = "__MOLTBOT_REDACTED__"
API_KEY = "key-of-the-server-0123456789"
PROVIDER: JSON = {"local": {"baseUrl": "http://127.0.0.1:8000/v1", "apiKey": API_KEY}}
CONFIG: JSON = {
    "session": {"scope": "per-sender"},
    "models": {"providers": {"local": {**PROVIDER["local"], "models": []}}},
}


@pytest.fixture
def control(make_control: Make) -> Control:
    return make_control(CONFIG)


def path_of(control: Control) -> Any:
    return control.folder / "moltbot.json"


def stored(control: Control) -> JSON:
    found: JSON = json.loads(path_of(control).read_text())
    return found


def get(client: Client) -> JSON:
    payload: JSON = client.call("config.get", {})["payload"]
    return payload


def edit(client: Client, mode: str, change: Any, **more: Any) -> JSON:
    """Send an edit of the file as it is."""
    raw = change if isinstance(change, str) else json.dumps(change)
    params = {"raw": raw, "baseHash": get(client)["hash"], **more}
    return client.call(f"config.{mode}", params)


def test_the_file_is_shown_with_its_hash(control: Control) -> None:
    shown = get(control.member())
    text = path_of(control).read_bytes()
    assert shown["hash"] == sha256(text).hexdigest()
    assert shown["path"] == str(path_of(control))
    assert shown["exists"] is True
    assert shown["valid"] is True
    assert shown["parsed"]["session"] == {"scope": "per-sender"}
    assert shown["issues"] == shown["legacyIssues"] == []


def test_no_secret_is_shown(control: Control) -> None:
    client = control.member()
    answers = [
        client.call("config.get"),
        edit(client, "patch", {"session": {"mainKey": "main"}}),
        edit(client, "set", {**get(client)["parsed"], "session": {}}),
    ]
    assert all(answer["ok"] for answer in answers)
    assert API_KEY not in json.dumps(answers)
    assert HIDDEN in json.dumps(answers)


def test_a_hidden_secret_that_is_sent_back_stays(control: Control) -> None:
    client = control.member()
    shown = get(client)["parsed"]
    assert edit(client, "set", {**shown, "session": {"scope": "global"}})["ok"]
    providers = stored(control)["models"]["providers"]
    assert providers["local"]["apiKey"] == API_KEY
    assert stored(control)["session"] == {"scope": "global"}


@pytest.mark.parametrize("mode", ["set", "apply"])
def test_a_whole_file_is_replaced(control: Control, mode: str) -> None:
    client = control.member()
    answer = edit(client, mode, "{session: {scope: 'global'}}")
    assert answer["ok"], answer
    payload = answer["payload"]
    assert payload["ok"] is True
    assert payload["path"] == str(path_of(control))
    assert payload["config"]["session"]["scope"] == "global"
    assert payload["hash"] == get(client)["hash"]
    assert path_of(control).read_text() == "{session: {scope: 'global'}}"


def test_a_patch_is_merged(control: Control) -> None:
    client = control.member()
    answer = edit(client, "patch", {"session": {"scope": None, "mainKey": "main"}})
    assert answer["ok"], answer
    assert stored(control)["session"] == {"mainKey": "main"}
    assert stored(control)["models"] == CONFIG["models"]


@pytest.mark.parametrize("mode", ["apply", "patch"])
def test_no_restart_is_promised(control: Control, mode: str) -> None:
    client = control.member()
    more = {"sessionKey": "main", "note": "why", "restartDelayMs": 1000}
    payload = edit(client, mode, "{session: {}}", **more)["payload"]
    assert payload["restart"] is None
    assert payload["sentinel"] == {"path": None, "payload": {}}


def test_the_secret_of_the_gateway_goes_on_working(control: Control) -> None:
    client = control.member()
    assert edit(client, "set", {})["ok"]
    assert control.client().log_in()["ok"]


WRONG: list[tuple[str, JSON, str]] = [
    ("set", {"raw": "{}"}, "config base hash required; re-run config.get"),
    ("set", {"raw": "{}", "baseHash": "0"}, "config changed since last load"),
    ("patch", {"raw": "{}"}, "config base hash required; re-run config.get"),
    ("apply", {"raw": "{}"}, "config base hash required; re-run config.get"),
    ("set", {"raw": ""}, "invalid config.set params: "),
    ("set", {}, "invalid config.set params: "),
    ("set", {"raw": "{}", "note": "x"}, "invalid config.set params: "),
    ("patch", {"raw": "{}", "restartDelayMs": -1}, "invalid config.patch params: "),
    ("get", {"x": 1}, "invalid config.get params: "),
    ("schema", {"x": 1}, "invalid config.schema params: "),
]


@pytest.mark.parametrize(("mode", "params", "message"), WRONG)
def test_a_wrong_call_changes_nothing(
    control: Control, mode: str, params: JSON, message: str
) -> None:
    before = path_of(control).read_bytes()
    answer = control.member().call(f"config.{mode}", params)
    assert answer["error"]["code"] == "INVALID_REQUEST"
    assert answer["error"]["message"].startswith(message)
    assert path_of(control).read_bytes() == before


@pytest.mark.parametrize("mode", ["set", "patch", "apply"])
def test_what_is_no_json5_is_refused(control: Control, mode: str) -> None:
    before = path_of(control).read_bytes()
    answer = edit(control.member(), mode, "{session: ")
    assert answer["error"]["code"] == "INVALID_REQUEST"
    assert path_of(control).read_bytes() == before


@pytest.mark.parametrize("mode", ["set", "patch", "apply"])
def test_what_is_no_configuration_is_refused_with_its_issues(
    control: Control, mode: str
) -> None:
    answer = edit(control.member(), mode, {"gateway": {"port": "high"}})
    error = answer["error"]
    assert error["code"] == "INVALID_REQUEST"
    assert error["message"] == "invalid config"
    (issue,) = error["details"]["issues"]
    assert issue["path"] == "gateway.port"
    assert issue["message"]


def test_a_patch_is_an_object(control: Control) -> None:
    answer = edit(control.member(), "patch", "[]")
    assert answer["error"]["message"] == "config.patch raw must be an object"


def test_a_second_edit_of_the_same_text_is_refused(control: Control) -> None:
    client, other = control.member(), control.member()
    base = get(client)["hash"]
    assert edit(other, "patch", {"session": {"scope": "global"}})["ok"]
    params = {"raw": "{}", "baseHash": base}
    error = client.call("config.set", params)["error"]
    assert error["message"].startswith("config changed since last load")


def test_a_file_that_is_not_there_needs_no_hash(control: Control) -> None:
    path_of(control).unlink()
    client = control.member()
    shown = get(client)
    assert shown["exists"] is False
    assert shown["raw"] is None
    assert shown["hash"] == sha256(b"").hexdigest()
    assert client.call("config.set", {"raw": "{session: {}}"})["ok"]
    assert path_of(control).read_text() == "{session: {}}"
    assert path_of(control).stat().st_mode & 0o777 == 0o600


def test_a_broken_file_is_shown_as_such(control: Control) -> None:
    path_of(control).write_text("{ broken")
    client = control.member()
    shown = get(client)
    assert shown["valid"] is False
    assert shown["config"] == {}
    assert shown["issues"]


def test_the_schema_describes_the_file(control: Control) -> None:
    payload = control.member().call("config.schema", {})["payload"]
    assert {"gateway", "agents", "models"} <= set(payload["schema"]["properties"])
    assert isinstance(payload["uiHints"], dict)
    assert isinstance(payload["version"], str)
    assert payload["generatedAt"].endswith("Z")


def test_an_edit_is_logged_without_its_words(control: Control, log: LogTape) -> None:
    client = control.member()
    assert edit(client, "patch", {"session": {"mainKey": "main"}})["ok"]
    lines = [line for line in log.lines if "configuration was changed" in line]
    assert lines == ["the configuration was changed by cli (config.patch)"]
    assert not any(API_KEY in str(event) for event in log.events)


def test_the_disk_is_not_touched_by_the_thread_of_the_reactor(control: Control) -> None:
    client = control.member()
    control.hold_threads()
    for method in ("config.get", "config.schema"):
        client.ask(method)
    client.ask("config.set", {"raw": "{}"})
    assert client.answers() == []
    control.release_threads()
    assert len(client.answers()) == 3
