"""What holds for all tests: no test may fail because the machine is slow."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("house", deadline=None)
settings.load_profile("house")
