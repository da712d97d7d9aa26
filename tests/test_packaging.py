"""What ``pip install`` puts on a machine is all of the package."""

from __future__ import annotations

import configparser
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "moltbot_gw"


def _listed(section: str, name: str) -> list[str]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser[section][name].split()


def test_every_package_is_listed() -> None:
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in PACKAGE.rglob("__init__.py")
    }
    assert set(_listed("options", "packages")) == found | {"twisted.plugins"}


def test_every_file_that_is_no_module_is_listed() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    listed = {
        path
        for package, patterns in parser["options.package_data"].items()
        for pattern in patterns.split(", ")
        for path in (ROOT / Path(*package.split("."))).glob(pattern)
    }
    files = {
        path
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert files == listed
