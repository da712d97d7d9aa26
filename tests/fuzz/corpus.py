"""The kept inputs: examples to begin with, and whatever has once found a defect."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"


def kept(name: str) -> list[Path]:
    """Return the kept inputs of the target *name*, in a fixed order."""
    return sorted(path for path in (FOLDER / name).glob("*") if path.is_file())
