"""Fixtures of the tests of the guarded fetch."""

from __future__ import annotations

from pytest_twisted import async_yield_fixture

from tests.fetching.support import make_web
from tests.integration.waiting import clean_reactor

clean = async_yield_fixture(name="clean")(clean_reactor)
web = async_yield_fixture(name="web")(make_web)
