"""How ``moltbot models status`` shows the providers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moltbot_gw.cli.output import age, age_of, columns

_WIDTHS = (20, 5, 7, 8, 8, 14)
_MINUTE_MS = 60_000
_UNKNOWN = {
    "served": False,
    "hasKey": False,
    "used": [],
    "successes": 0,
    "failures": {},
}
"""What is said of a provider that has models, but no status."""


def provider_pages(
    counts: dict[str, int], status: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """Return what ``--json`` tells of each provider.

    *counts* has the number of configured models by provider, *status* the answer of
    ``models.status``, None from a gateway that has no such method.
    """
    rows = {row["provider"]: row for row in status["providers"]} if status else {}
    unknown = _UNKNOWN if status else {}
    return [
        {**rows.get(name, unknown), "provider": name, "models": counts.get(name, 0)}
        for name in [*counts, *(name for name in rows if name not in counts)]
    ]


def status_lines(pages: list[dict[str, Any]], now_ms: float) -> Iterator[str]:
    """Yield the lines for people: a table, what agents use, and the last failures."""
    cells = [["Provider", "Key", "Models", "OK", "Failed", "Last success", "State"]]
    cells += [_cells(page, now_ms) for page in pages]
    yield columns(cells, _WIDTHS)
    used = [row for page in pages for row in page["used"]]
    if used:
        yield ""
        yield "Used by agents:"
        for row in used:
            yield f"  {row['model']}: {_users(row)}"
    failed = [page["lastFailure"] for page in pages if page.get("lastFailure")]
    if failed:
        yield ""
        yield "Last failures:"
        for row in failed:
            when = age(row["at"], now_ms)
            yield f"  {row['model']} {when} ({row['reason']}): {row['message']}"


def _cells(page: dict[str, Any], now_ms: float) -> list[str]:
    succeeded = page.get("lastSuccessAt")
    return [
        page["provider"],
        "yes" if page["hasKey"] else "no",
        str(page["models"]),
        str(page["successes"]),
        str(sum(page["failures"].values())),
        "-" if succeeded is None else age(succeeded, now_ms),
        _state(page, now_ms),
    ]


def _state(page: dict[str, Any], now_ms: float) -> str:
    if not page["served"]:
        return "not served here"
    until = page.get("cooldownUntil")
    if until is None or until <= now_ms:
        return "ready"
    left = age_of(max(until - now_ms, _MINUTE_MS)).removesuffix(" ago")
    return f"left alone for {left} ({page.get('cooldownReason')})"


def _users(row: dict[str, Any]) -> str:
    parts = [", ".join(row["primaryOf"])] if row["primaryOf"] else []
    if row["fallbackOf"]:
        parts.append(f"fallback of {', '.join(row['fallbackOf'])}")
    return "; ".join(parts)
