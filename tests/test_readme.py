"""README and CI say the same, and what README names exists."""

from __future__ import annotations

import re
from pathlib import Path

from moltbot_gw.tap import Options

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.rst").read_text()


def test_ci_runs_the_test_command_as_it_stands_in_readme() -> None:
    (command,) = re.findall(r"^    (python3 -m venv .* -m pytest)$", README, re.M)
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_readme_names_every_option_of_the_daemon() -> None:
    flags = [flag[0] for flag in Options.optFlags]
    parameters = [parameter[0] for parameter in Options.optParameters]
    names = [*flags, *parameters, "endpoint"]
    assert [name for name in names if f"``--{name}``" not in README] == []


def test_readme_lists_every_key_of_ours() -> None:
    source = "".join(
        path.read_text() for path in (ROOT / "moltbot_gw" / "config").glob("model*.py")
    )
    ours = re.findall(r"(\w+): (?:Annotated\[\s*[^\]]*?)?ours\(", source)
    assert ours
    assert {key for key in map(_camel, ours) if key not in README} <= {"cors", "limits"}


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
