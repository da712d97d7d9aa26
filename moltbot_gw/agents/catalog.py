"""The models that the configuration knows, and which of them may be asked for."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from moltbot_gw.config import Config, Cost, ModelEntry


class ModelRef(msgspec.Struct, frozen=True):
    """A model by its provider: ``provider/model``; the model's id may hold slashes.

    *context_window* is in tokens, None where nothing is known of the model.
    *takes_tools* is false only for one that is said to fail when it is offered tools.
    """

    provider: str
    model: str
    accepts_images: bool = False
    reasons: bool = False
    context_window: int | None = None
    takes_tools: bool = True

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


class KnownModel(msgspec.Struct, frozen=True, kw_only=True):
    """A configured model, as catalogues show it; prices: USD per million tokens."""

    ref: ModelRef
    name: str
    input: tuple[str, ...]
    cost: Cost


class Catalog:
    """All models of ``models.providers``, the aliases for them, and who may be asked.

    With ``agents.defaults.models`` only its members, and the agents' own models, may.
    """

    def __init__(self, config: Config) -> None:
        self._known = {
            (name.lower(), model.id): _known(name.lower(), model)
            for name, provider in config.models.providers.items()
            for model in provider.models
        }
        listed = config.agents.defaults.models
        self._aliases = {
            entry.alias.lower(): ref for ref, entry in listed.items() if entry.alias
        }
        self._allowed = frozenset(str(self.find(ref)) for ref in listed)

    @property
    def models(self) -> list[KnownModel]:
        """All models, by provider and name."""
        return sorted(
            self._known.values(), key=lambda known: (known.ref.provider, known.name)
        )

    @property
    def aliases(self) -> Mapping[str, str]:
        """What ``agents.defaults.models`` calls its models."""
        return self._aliases

    def find(self, text: str) -> ModelRef:
        """Return the model that *text* names: an alias, or ``provider/model``.

        Without a slash it is one of Anthropic's.
        """
        ref = self._aliases.get(text.strip().lower(), text.strip())
        provider, slash, model = ref.partition("/")
        if not slash:
            provider, model = "anthropic", ref
        known = self._known.get((provider.lower(), model))
        return known.ref if known else ModelRef(provider.lower(), model)

    def details(self, ref: ModelRef) -> KnownModel | None:
        """Return what is known of *ref*."""
        return self._known.get((ref.provider, ref.model))

    def allows(self, ref: ModelRef, own: ModelRef) -> bool:
        """Whether an agent whose own model is *own* may be asked to use *ref*."""
        if ref == own:
            return True
        if self._allowed:
            return str(ref) in self._allowed
        return (ref.provider, ref.model) in self._known

    def allows_fallback(self, ref: ModelRef) -> bool:
        """Whether *ref*, which the configuration names as a fallback, may be used."""
        return not self._allowed or str(ref) in self._allowed


def _known(provider: str, model: ModelEntry) -> KnownModel:
    ref = ModelRef(
        provider=provider,
        model=model.id,
        accepts_images="image" in model.input,
        reasons=model.reasoning,
        context_window=model.context_window,
        takes_tools=model.compat.supports_tools is not False,
    )
    return KnownModel(ref=ref, name=model.name, input=model.input, cost=model.cost)
