"""``exec-approvals.json``: read anew each time, replaced whole, kept private."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred

from moltbot_gw.agents.allowlist import (
    MAX_BYTES,
    MAX_PATTERNS,
    Allowlist,
    Rules,
    UnreadableAllowlist,
)
from moltbot_gw.errors import InvalidRequest

NAME = "exec-approvals.json"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / NAME


@pytest.fixture
def allowlist(path: Path) -> Allowlist:
    return Allowlist(path, unix_time=lambda: 1000.0, run_in_thread=maybeDeferred)


def wait(work: Any) -> Any:
    """Return what the coroutine *work* returns, which must be there at once."""
    results: list[Any] = []
    failures: list[Any] = []
    Deferred.fromCoroutine(work).addCallbacks(results.append, failures.append)
    for failure in failures:
        failure.raiseException()
    (result,) = results
    return result


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_without_a_file_there_are_no_rules(allowlist: Allowlist, path: Path) -> None:
    snapshot = wait(allowlist.snapshot())
    assert not snapshot.exists
    assert snapshot.path == path
    assert snapshot.shown == {"version": 1, "agents": {}}
    assert wait(allowlist.rules("main")) == Rules()


def test_rules_of_the_agent_come_before_those_of_all(
    allowlist: Allowlist, path: Path
) -> None:
    write(
        path,
        {
            "version": 1,
            "socket": {"path": "/s", "token": "secret"},
            "defaults": {"security": "full", "ask": "always", "askFallback": "deny"},
            "agents": {
                "main": {"security": "deny", "allowlist": [{"pattern": "/bin/a"}]},
                "*": {"security": "full", "allowlist": [{"pattern": "/bin/b"}]},
            },
        },
    )
    own = wait(allowlist.rules("main"))
    assert own == Rules(patterns=("/bin/a", "/bin/b"), security="deny", ask="always")
    other = wait(allowlist.rules("ops"))
    assert other == Rules(patterns=("/bin/b",), security="full", ask="always")
    write(path, {"version": 1})
    assert wait(allowlist.rules("main")) == Rules()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"version": 2}',
        '{"version": 1, "agents": {"main": {"security": "ful"}}}',
        '{"version": 1, "agents": {"main": {"allowlist": ["ls"]}}}',
        "[" * 100_000,
    ],
)
def test_a_file_that_makes_no_sense_is_never_taken_for_none(
    allowlist: Allowlist, path: Path, content: str
) -> None:
    write(path, content)
    for work in (
        allowlist.rules("main"),
        allowlist.snapshot(),
        allowlist.add("main", "/bin/ls", "ls"),
        allowlist.replace({"version": 1}, None),
    ):
        with pytest.raises(UnreadableAllowlist, match="it makes no sense"):
            wait(work)
    assert path.read_text() == content


def test_a_folder_in_its_place_is_told(allowlist: Allowlist, path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(UnreadableAllowlist, match="cannot be read: Is a directory"):
        wait(allowlist.rules("main"))


def test_a_full_disk_is_told(
    allowlist: Allowlist, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("moltbot_gw.privatefile.write", fail)
    with pytest.raises(UnreadableAllowlist, match="cannot be written: No space"):
        wait(allowlist.add("main", "/bin/ls", "ls"))
    assert not path.exists()


def test_what_operators_always_allow_is_kept(allowlist: Allowlist, path: Path) -> None:
    wait(allowlist.add("main", "/bin/ls", "ls -l"))
    wait(allowlist.add("main", "/bin/cat", "cat x"))
    wait(allowlist.add("main", "/bin/ls", "ls -a"))
    assert wait(allowlist.rules("main")).patterns == ("/bin/cat", "/bin/ls")
    assert wait(allowlist.rules("ops")).patterns == ()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    [_, last] = json.loads(path.read_text())["agents"]["main"]["allowlist"]
    assert last.pop("id")
    assert last == {
        "pattern": "/bin/ls",
        "lastUsedAt": 1_000_000,
        "lastUsedCommand": "ls -a",
    }


def test_the_oldest_programs_give_way(allowlist: Allowlist, path: Path) -> None:
    entries = [{"pattern": f"/bin/{n}"} for n in range(MAX_PATTERNS)]
    write(path, {"version": 1, "agents": {"main": {"allowlist": entries}}})
    wait(allowlist.add("main", "/bin/ls", "ls"))
    patterns = wait(allowlist.rules("main")).patterns
    assert len(patterns) == MAX_PATTERNS
    assert (patterns[0], patterns[-1]) == ("/bin/1", "/bin/ls")


def test_the_file_is_replaced_only_by_who_has_seen_it(
    allowlist: Allowlist, path: Path
) -> None:
    first = {"version": 1, "agents": {"main": {"ask": "always", "note": "kept"}}}
    snapshot = wait(allowlist.replace(first, None))
    assert snapshot.exists
    assert json.loads(path.read_text()) == snapshot.shown == first
    with pytest.raises(InvalidRequest, match="base hash required"):
        wait(allowlist.replace({"version": 1}, None))
    with pytest.raises(InvalidRequest, match="changed since last load"):
        wait(allowlist.replace({"version": 1}, "0" * 64))
    assert wait(allowlist.rules("main")).ask == "always"
    wait(allowlist.replace({"version": 1}, snapshot.hash))
    assert wait(allowlist.rules("main")).ask is None


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (None, "Expected `object`"),
        ({"version": 1, "agents": {"a": {"ask": "never"}}}, r"\$\.agents"),
        ({"version": 1, "note": "x" * MAX_BYTES}, "too large"),
    ],
)
def test_nonsense_is_not_written(
    allowlist: Allowlist, path: Path, file: Any, problem: str
) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        wait(allowlist.replace(file, None))
    assert not path.exists()


def test_the_desktops_secret_is_kept_and_never_shown(
    allowlist: Allowlist, path: Path
) -> None:
    socket = {"path": "/s", "token": "secret"}
    write(path, {"version": 1, "socket": socket})
    snapshot = wait(allowlist.snapshot())
    assert "socket" not in snapshot.shown
    wait(allowlist.replace({"version": 1, "socket": {}}, snapshot.hash))
    assert json.loads(path.read_text())["socket"] == socket
