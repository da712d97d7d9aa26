"""What a client with the right to see the configuration is shown of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .issues import Issue
from .reading import Reading
from .redaction import redact_text, redact_tree, secret_places, spread
from .restore import dump


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The configuration file with every secret replaced by the marker ``REDACTED``.

    *raw* is its text, None when it is missing or not to be parsed; *parsed* the tree
    that *raw* spells; *config* what it comes to, with includes, variables and
    defaults, ``{}`` when it is not *valid*.  *hash* is of the true text.
    """

    path: Path
    exists: bool
    raw: str | None
    parsed: Any
    valid: bool
    config: Any
    hash: str
    issues: tuple[Issue, ...] = ()
    warnings: tuple[Issue, ...] = ()
    legacy_issues: tuple[Issue, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """Return the answer to ``config.get``, ready for JSON."""
        return {
            "path": str(self.path),
            "exists": self.exists,
            "raw": self.raw,
            "parsed": self.parsed,
            "valid": self.valid,
            "config": self.config,
            "hash": self.hash,
            "issues": issues_to_wire(self.issues),
            "warnings": issues_to_wire(self.warnings),
            "legacyIssues": issues_to_wire(self.legacy_issues),
        }


def issues_to_wire(issues: tuple[Issue, ...]) -> list[dict[str, str]]:
    """Return *issues* as ``details.issues`` of an error has them."""
    return [{"path": issue.path, "message": issue.message} for issue in issues]


def make_snapshot(path: Path, reading: Reading) -> Snapshot:
    """Return what may be shown of *reading*, which is of the file *path*."""
    parsed = {} if reading.written is None else _hidden(reading.written, reading)
    return Snapshot(
        path=path,
        exists=reading.exists,
        raw=_hidden_text(reading, parsed),
        parsed=parsed,
        valid=reading.valid,
        config={} if reading.effective is None else _hidden(reading.effective, reading),
        hash=reading.hash,
        issues=reading.issues,
        warnings=reading.warnings,
        legacy_issues=reading.legacy_issues,
    )


def _hidden(tree: Any, reading: Reading) -> Any:
    return redact_tree(tree, spread(tree, secret_places(tree), reading.known))


def _hidden_text(reading: Reading, parsed: Any) -> str | None:
    # Without a tree nobody can tell the secrets of a text from the rest of it.
    if reading.text is None or reading.written is None:
        return None
    layout = reading.find_layout()
    if layout is None:
        return dump(parsed)
    places = spread(reading.written, secret_places(reading.written), reading.known)
    return redact_text(reading.text, layout, places, reading.known)
