"""What the configuration says of the log, put to work; a reload may say it anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from moltbot_gw.config import Config, Logging, Secret, compile_pattern, is_secret_name
from moltbot_gw.logs.levels import Levels
from moltbot_gw.logs.scribe import Scribe
from moltbot_gw.logs.scrub import Scrubber

MIN_SECRET_CHARS = 8
"""A shorter value stands in other words, too ("none", "ollama"), and is let be."""


class LogRules:
    """What all logs go by: *scribe*, and the levels of console and file."""

    def __init__(self, logging: Logging, secrets: Iterable[str]) -> None:
        self.scribe = Scribe(Scrubber(()))
        self.console = Levels(logging.console_level, logging.levels)
        self.file = Levels(logging.level, logging.levels)
        self.change(logging, secrets)

    def change(self, logging: Logging, secrets: Iterable[str]) -> None:
        """Go by *logging* from now on, and show none of *secrets*."""
        patterns = [compile_pattern(text) for text in logging.redact_patterns or ()]
        likely = logging.redact_sensitive != "off"
        self.scribe.change(
            Scrubber(secrets, patterns, likely=likely),
            conversation=logging.conversation,
        )
        self.console.change(logging.console_level, logging.levels)
        self.file.change(logging.level, logging.levels)


def find_secrets(config: Config, environ: Mapping[str, str]) -> frozenset[str]:
    """Return the texts that no log may show: those of *config* and of *environ*.

    Of the environment those whose names say so; the configuration's own variables are
    among them.
    """
    sections = (getattr(config, name) for name in config.__struct_fields__)
    found = {text for part in sections if part is not config.env for text in _in(part)}
    found |= {
        value
        for name, value in environ.items()
        # Where a secret lies (CREDENTIALS_DIRECTORY) is none.
        if is_secret_name(name) and not value.startswith("/")
    }
    stripped = {text.strip() for text in found}
    return frozenset(text for text in stripped if len(text) >= MIN_SECRET_CHARS)


def _in(value: Any) -> Iterator[str]:
    if isinstance(value, Secret):
        yield value.reveal()
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _in(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _in(item)
