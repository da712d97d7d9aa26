"""The imports go down the floors only (docs/architecture.rst)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import moltbot_gw

PACKAGE = Path(moltbot_gw.__file__).parent

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"events", "errors", "messages", "wire", "refusal", "__init__"}),
    frozenset(
        {
            "interfaces",
            "auth",
            "principals",
            "keyring",
            "metering",
            "config",
            "peers",
            "stall",
            "steadytime",
            "logfile",
            "logs",
            "identityfile",
            "ownmemory",
            "privatefile",
            "stored",
            "tallies",
            "tooling",
            "sdnotify",
            "unheld",
            "supervision",
            "reloadstatus",
        }
    ),
    frozenset({"agents", "sessions", "providers", "devices", "fetching"}),
    frozenset({"http", "ws", "client", "tools", "monitoring"}),
    frozenset(
        {
            "tap",
            "logtarget",
            "service",
            "settings",
            "listening",
            "statelock",
            "tlsfiles",
            "agentbuilding",
            "building",
            "controlplane",
            "monitored",
            "cli",
            "inherited",
            "changing",
            "heap",
            "httpbuilding",
            "ports",
            "providershelf",
            "reloading",
            "watching",
        }
    ),
)
# Modules of one floor may use each other on the lowest two and on the top one; rooms
# on the floors between are siblings that never do.
SOCIABLE = (True, True, False, False, True)


def floor_of(room: str) -> int:
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    raise AssertionError(f"{room} has no floor; give it one in this test")


def imports_of(path: Path) -> set[str]:
    """Return the rooms that the module at *path* imports, by any form of import."""
    names = set()
    parts = ("moltbot_gw", *path.relative_to(PACKAGE).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = list(parts[: len(parts) - node.level]) if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            names |= {f"{module}.{alias.name}" for alias in node.names}
    rooms = {name.split(".")[1] for name in names if name.startswith("moltbot_gw.")}
    return rooms - {"__version__"}


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_lower_floors_only(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    floor = floor_of(room)
    for imported in imports_of(path) - {room}:
        target = floor_of(imported)
        assert target < floor or (target == floor and SOCIABLE[floor]), imported


@pytest.mark.parametrize("room", ["wire", "events", "errors", "messages", "config"])
def test_values_and_formats_know_no_reactor(room: str) -> None:
    paths = [p for p in MODULES if p.relative_to(PACKAGE).parts[0].startswith(room)]
    assert paths
    for path in paths:
        source = path.read_text()
        assert "twisted" not in source.replace("twisted#", ""), path


def test_no_module_is_longer_than_the_house_allows() -> None:
    lengths = {p.name: p.read_text().count("\n") for p in MODULES}
    assert {name: n for name, n in lengths.items() if n > 400} == {}
