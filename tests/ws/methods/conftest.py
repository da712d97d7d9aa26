"""A desk for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ws.methods.support import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """All methods, two agents and three models."""
    return Desk(tmp_path)
