"""The manual's own modules can be imported here."""

from __future__ import annotations

import sys

from pytest_twisted import async_yield_fixture

from tests.docs.blocks import ROOT
from tests.integration import waiting

clean = async_yield_fixture(name="clean")(waiting.clean_reactor)

# pytest imports the test modules after this file.
sys.path.insert(0, str(ROOT / "docs" / "_ext"))
