"""The providers that are built, from one configuration to the next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from moltbot_gw.config import ProviderEntry, Secret
from moltbot_gw.interfaces import IModelProvider
from moltbot_gw.providers.apikeys import find_api_key
from moltbot_gw.providers.echo import EchoProvider
from moltbot_gw.providers.factory import BadProvider, build_provider, is_served
from moltbot_gw.refusal import StartRefused
from moltbot_gw.settings import Settings


@attrs.frozen(kw_only=True)
class _Recipe:
    """All that a provider is built from; *authorities* is what ``caFile`` holds."""

    name: str
    entry: ProviderEntry | None
    key: Secret | None = None
    authorities: bytes | None = None


@attrs.frozen(eq=False)
class Stocked:
    """A provider, and what it was built from."""

    recipe: _Recipe
    provider: IModelProvider


class ProviderShelf:
    """Keeps the providers of the configuration in force, by their names in lower case.

    One whose configuration has not changed stays, with its connections; so does all
    that is known of how it is doing.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._stock: Mapping[str, Stocked] = {}

    def prepare(self, settings: Settings) -> dict[str, Stocked]:
        """Return the providers for *settings*; nothing changes yet.

        Raises ``StartRefused`` for one that cannot be used.
        """
        stock = {"echo": self._echo()}
        for name, entry in settings.config.models.providers.items():
            if not is_served(entry):
                continue
            try:
                stock[name.lower()] = self._find(name, entry, settings)
            except BadProvider as error:
                raise StartRefused(
                    f"Invalid config at {settings.config_path}:\n  {error}"
                ) from None
        return stock

    def put(self, stock: Mapping[str, Stocked]) -> None:
        """Take what ``prepare`` has returned; close what is no longer needed.

        A provider that is closed serves the runs that still have it to their end; it
        keeps no connection after an answer.
        """
        kept = {one.provider for one in stock.values()}
        old, self._stock = self._stock, stock
        for one in old.values():
            if one.provider not in kept:
                one.provider.close()

    def _echo(self) -> Stocked:
        known = self._stock.get("echo")
        recipe = _Recipe(name="echo", entry=None)
        if known is not None and known.recipe == recipe:
            return known
        return Stocked(recipe, EchoProvider(self._reactor))

    def _find(self, name: str, entry: ProviderEntry, settings: Settings) -> Stocked:
        key = find_api_key(name, entry, settings.environ)
        recipe = _Recipe(
            name=name,
            entry=entry,
            key=None if key is None else Secret(key),
            authorities=_content(entry.ca_file),
        )
        known = self._stock.get(name.lower())
        if known is not None and known.recipe == recipe:
            return known
        built = build_provider(name, entry, settings.environ, self._reactor)
        return Stocked(recipe, built)


def _content(file: str | None) -> bytes | None:
    if file is None:
        return None
    try:
        return Path(file).read_bytes()
    except (OSError, ValueError):
        return None  # which the building of the provider tells
