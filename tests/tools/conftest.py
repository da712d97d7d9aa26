"""A shop for each test, in which nothing may run on when the test has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from pytest_twisted import async_yield_fixture

from tests.integration import waiting
from tests.tools.shop import Shop

clean = async_yield_fixture(name="clean")(waiting.clean_reactor)


@async_yield_fixture()
async def make_shop(clean: None, tmp_path: Path) -> AsyncIterator[Callable[..., Shop]]:
    """Make one shop with the rules that a test wants."""
    made: list[Shop] = []

    def make(rules: Any, **options: Any) -> Shop:
        made.append(Shop(tmp_path, rules, **options))
        return made[-1]

    yield make
    for shop in made:
        await shop.built.close()
