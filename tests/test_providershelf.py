from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from moltbot_gw.config import Secret
from moltbot_gw.providershelf import ProviderShelf, Stocked
from moltbot_gw.refusal import StartRefused
from moltbot_gw.settings import CommandLine, load_settings
from tests.support.tls import Authority


class Shop:
    """A shelf, and a configuration with the provider ``One``."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.shelf = ProviderShelf(MemoryReactorClock())
        self.environ: dict[str, str] = {}

    def prepare(self, name: str = "One", **changes: Any) -> dict[str, Stocked]:
        entry = {"baseUrl": "http://127.0.0.1:1/v1", "models": [], **changes}
        path = self.home / "moltbot.json"
        path.write_text(json.dumps({"models": {"providers": {name: entry}}}))
        options = CommandLine(config=str(path), token=Secret("0f" * 32))
        settings = load_settings(options, self.environ, self.home)
        return self.shelf.prepare(settings)

    def put(self, **changes: Any) -> Any:
        """Take a configuration; return its provider."""
        stock = self.prepare(**changes)
        self.shelf.put(stock)
        return stock["one"].provider


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_provider_that_is_the_same_stays(shop: Shop) -> None:
    first = shop.put(apiKey="k")
    echo = shop.prepare()["echo"].provider
    assert shop.put(apiKey="k") is first
    assert shop.prepare()["echo"].provider is echo


def test_provider_that_is_another_is_built_anew(shop: Shop) -> None:
    first = shop.put(apiKey="k")
    second = shop.put(apiKey="l")
    assert second is not first
    shop.environ["OPENAI_API_KEY"] = "x"
    assert shop.put(apiKey="l") is second


def test_other_authorities_in_the_same_file_make_another(
    shop: Shop, tmp_path: Path
) -> None:
    file = Authority(tmp_path).ca_file
    first = shop.put(caFile=str(file))
    assert shop.put(caFile=str(file)) is first
    Authority(tmp_path)
    assert shop.put(caFile=str(file)) is not first


def test_nothing_changes_before_it_is_put(shop: Shop) -> None:
    first = shop.put(apiKey="k")
    shop.prepare(apiKey="l")
    assert shop.put(apiKey="k") is first


@pytest.mark.parametrize(
    "changes", [{"baseUrl": "nowhere"}, {"caFile": "/nonexistent/ca.pem"}]
)
def test_provider_that_cannot_work_is_refused(
    shop: Shop, changes: dict[str, str]
) -> None:
    with pytest.raises(StartRefused, match=r"models\.providers\.One\."):
        shop.prepare(**changes)


def test_api_that_is_not_served_is_left_out(shop: Shop) -> None:
    assert set(shop.prepare(api="google-generative-ai")) == {"echo"}
