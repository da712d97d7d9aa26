"""The fuzz targets: all that is kept, and a short look for more."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.corpus import FOLDER, kept
from tests.fuzz.targets import TARGETS

ROOT = FOLDER.parents[2]
MAX_FILES = 400
"""In the corpus: every file costs every run."""


def fuzz(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", f"--found={tmp_path}", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("name", TARGETS)
def test_every_kept_input_is_handled(name: str) -> None:
    assert kept(name)
    TARGETS[name](b"")
    for path in kept(name):
        TARGETS[name](path.read_bytes())


def test_a_short_look_finds_no_defect(tmp_path: Path) -> None:
    """With atheris where it has wheels, else with Hypothesis."""
    done = fuzz(tmp_path, "--seconds=1")
    assert done.returncode == 0, done.stdout + done.stderr[-8000:]
    assert done.stdout.count("ok (") == len(TARGETS)
    assert list(tmp_path.iterdir()) == []


def test_the_engine_without_atheris_looks_too(tmp_path: Path) -> None:
    done = fuzz(tmp_path, "sse", "frames", "--seconds=1", "--engine=hypothesis")
    assert done.returncode == 0, done.stdout + done.stderr[-8000:]
    assert done.stdout == "sse: ok (hypothesis)\nframes: ok (hypothesis)\n"


ENGINES = ["hypothesis"]
if importlib.util.find_spec("atheris") is not None:
    ENGINES.append("atheris")

_DEFECTIVE = """
import sys
from tests.fuzz import targets

def defective(data):
    assert b"{" not in data, "a defect"

targets.TARGETS = {"frames": defective}
sys.argv = ["fuzz", "frames", "--seconds=20", "--found=FOUND", "--engine=ENGINE"]
from tests.fuzz.__main__ import main
main()
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_defect_is_found_told_and_kept(tmp_path: Path, engine: str) -> None:
    script = _DEFECTIVE.replace("FOUND", str(tmp_path)).replace("ENGINE", engine)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "frames: DEFECT" in done.stdout
    assert "a defect" in done.stdout + done.stderr
    (crash, *_) = tmp_path.glob("frames-crash-*")
    assert b"{" in crash.read_bytes()


def test_the_corpus_is_small_and_has_no_strangers() -> None:
    folders = {path.name for path in FOLDER.iterdir()}
    assert folders == set(TARGETS)
    assert sum(len(kept(name)) for name in TARGETS) <= MAX_FILES
