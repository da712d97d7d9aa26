"""One text as the content of the configuration file: what it means, what is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .effective import effective_tree
from .environ import add_env_block, load_environ
from .include import resolve_document
from .issues import ConfigError, Fault, Issue, dotted
from .layout import Layout, TooDeep, find_layout, joined
from .legacy import find_legacy
from .load import check_document
from .notices import find_unserved
from .paths import state_dir
from .redaction import known_secrets, secret_places
from .source import MAX_FILE_BYTES, find_text, parse_text
from .substitute import substitute


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one text means; *text* None stands for a missing or unreadable file.

    *written* is the tree that the text itself spells, *tree* has included files and
    variables in it; each is None when there is none.  *effective* is None unless
    *valid*.  *known* are secrets to be looked for in other strings.  All three trees
    have their secrets in clear.
    """

    text: str | None = field(repr=False)
    exists: bool
    written: Any = field(default=None, repr=False)
    tree: Any = field(default=None, repr=False)
    effective: Any = field(default=None, repr=False)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    known: tuple[str, ...] = field(default=(), repr=False)
    issues: tuple[Issue, ...] = ()
    warnings: tuple[Issue, ...] = ()
    legacy_issues: tuple[Issue, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether the gateway could start with this text."""
        return not self.issues

    @property
    def hash(self) -> str:
        """The hex SHA-256 of the text, of the empty text when there is none."""
        return hash_of(self.text)

    def find_layout(self) -> Layout | None:
        """Return where the values of *written* stand in *text*, if that is certain."""
        return None if self.text is None else find_layout(self.text, self.written)


@dataclass(frozen=True)
class Reader:
    """Read texts as the content of the file *path*."""

    environ: Mapping[str, str] = field(repr=False)
    home: Path
    path: Path

    def read_file(self) -> Reading:
        """Return the reading of the file as it is; never raises for its content."""
        try:
            text = find_text(self.path)
        except ConfigError as exc:
            return Reading(text=None, exists=True, issues=exc.issues)
        return self.read("{}", missing=True) if text is None else self.read(text)

    def read(self, text: str, *, missing: bool = False) -> Reading:
        """Return the reading of *text*; *missing* says that there is no such file."""
        part = Reading(text=None if missing else text, exists=not missing)
        try:
            if not _fits(text):
                message = f"more than {MAX_FILE_BYTES} bytes, or not UTF-8"
                raise ConfigError(self.path, (Issue("", message),))
            part = replace(part, written=self.parse(text))
            return self._with_meaning(part, text)
        except ConfigError as exc:
            secrets = known_secrets(
                part.written, secret_places(part.written), self.environ
            )
            return replace(part, known=secrets, issues=exc.issues)

    def parse(self, text: str) -> Any:
        """Return the tree that *text* spells; raises `ConfigError` with one issue."""
        tree = parse_text(text, self.path)
        try:
            return joined(tree)
        except TooDeep as exc:
            raise ConfigError(self.path, (Issue("", str(exc)),)) from None

    def _with_meaning(self, part: Reading, text: str) -> Reading:
        document = resolve_document(part.written, text, self.path)
        state = state_dir(self.environ, self.home)
        environ = add_env_block(load_environ(self.environ, state), document.tree)
        tree, _ = substitute(document.tree, environ)
        known = {
            secret
            for form in (part.written, document.tree, tree)
            for secret in known_secrets(form, secret_places(form), environ)
        }
        part = replace(
            part,
            tree=tree,
            environ=environ,
            known=tuple(sorted(known, key=lambda secret: (-len(secret), secret))),
            legacy_issues=_notes(find_legacy(tree)),
        )
        try:
            checked = check_document(document, self.path, self.environ, self.home)
        except ConfigError as exc:
            return replace(part, issues=exc.issues)
        return replace(
            part,
            effective=effective_tree(checked),
            warnings=_notes(find_unserved(checked.tree)),
        )


def hash_of(text: str | None) -> str:
    """Return the hex SHA-256 of *text*, of the empty text for None."""
    return hashlib.sha256((text or "").encode("utf-8", "surrogatepass")).hexdigest()


def _fits(text: str) -> bool:
    try:
        return len(text.encode("utf-8")) <= MAX_FILE_BYTES
    except UnicodeEncodeError:
        return False


def _notes(faults: list[Fault]) -> tuple[Issue, ...]:
    return tuple(Issue(dotted(place), message) for place, message in faults)
