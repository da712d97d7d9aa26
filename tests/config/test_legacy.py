from __future__ import annotations

from pathlib import Path

import pytest

from .support import at, fail, message, messages


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("telegram", "channels.telegram"),
        ("whatsapp", "channels.whatsapp"),
        ("identity", "agents.list[].identity"),
        ("routing.agents", "agents.list"),
        ("routing.bindings", "bindings at the top level"),
        ("agent.model", "agents.defaults.model.primary"),
        ("tools.bash", "tools.exec"),
        ("messages.tts.enabled", "messages.tts.auto"),
        ("gateway.token", "gateway.auth.token"),
    ],
)
def test_moved_key_names_its_new_place(tmp_path: Path, path: str, target: str) -> None:
    told = message(tmp_path, at(path, "hunter2"))
    assert told == (path, f"this key has moved; use {target}")


@pytest.mark.parametrize("section", ["routing", "agent"])
def test_old_section_without_a_known_key_is_still_explained(
    tmp_path: Path, section: str
) -> None:
    path, text = message(tmp_path, {section: {"strange": 1}})
    assert path == section
    assert text.startswith("this section is no more; its keys are now in agents.")


def test_moved_keys_are_reported_alone(tmp_path: Path) -> None:
    tree = {"gateway": {"token": "x", "prot": 1}, "discord": {}}
    assert set(messages(tmp_path, tree)) == {"gateway.token", "discord"}


@pytest.mark.parametrize("mode", ["none", "trusted-proxy"])
def test_auth_mode_of_later_versions_names_what_to_use(
    tmp_path: Path, mode: str
) -> None:
    path, text = message(tmp_path, at("gateway.auth.mode", mode))
    assert path == "gateway.auth.mode"
    assert text.startswith(f'"{mode}" is not supported: ')
    assert '"token" with gateway.auth.token' in text


def test_other_wrong_auth_mode_is_not_quoted(tmp_path: Path) -> None:
    error = fail(tmp_path, at("gateway.auth.mode", "hunter2"))
    assert "hunter2" not in str(error)
    assert 'expected one of "token", "password"' in str(error)
