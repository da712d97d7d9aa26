"""Each page is followed from its top to its end, as somebody would who reads it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks_of, pages
from tests.docs.desk import Desk, start_provider

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "curl", "openssl"))),
    reason="the examples are typed into bash, and use curl and openssl",
)

_RUN = ("console", "sh", "bash", "python")
_PAGES = {path.stem: blocks_of(path) for path in pages()}


def _has_something_to_run(blocks: list[Block]) -> bool:
    return any(block.is_run and block.language in _RUN for block in blocks)


@pytest.fixture(scope="module")
def provider_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server that the examples' configurations name as their provider."""
    daemon = start_provider(tmp_path_factory.mktemp("provider"))
    try:
        yield daemon.listening()
    finally:
        daemon.kill()


@pytest.fixture
def desk(tmp_path: Path, provider_port: int) -> Iterator[Desk]:
    """A new desk for each page."""
    desk = Desk(tmp_path, provider_port)
    yield desk
    desk.leave()


@pytest.mark.parametrize(
    "page", [name for name, blocks in _PAGES.items() if _has_something_to_run(blocks)]
)
def test_page_can_be_followed(page: str, desk: Desk) -> None:
    for block in _PAGES[page]:
        if block.is_run:
            desk.do(block)
