"""A run in one line of a log: whose it was, how it ended, how long it took."""

from __future__ import annotations

from hashlib import blake2b
from typing import Union

import msgspec

from moltbot_gw.agents.run import Run

TAG_BYTES = 5
"""Enough to tell a thousand sessions apart, too few to stand for one elsewhere."""

Plain = Union[str, int]


class RunReport(msgspec.Struct, frozen=True):
    """What a log says of a run: *words* for people, *fields* for machines.

    Times are in milliseconds from the run's admission: *queue_ms* until it left its
    lanes, *first_ms* until the model's first word, *run_ms* until its end; what has not
    happened is left out.  *outcome* is ``running`` before the end.
    """

    words: str
    fields: dict[str, Plain]


class RunReporter:
    """Reports on runs without the keys of their sessions.

    A key may hold a name or an address, so that a log shows a tag in its place: the
    same for the same session while *salt* is the same, and of no use without it.
    """

    def __init__(self, salt: bytes) -> None:
        self._salt = salt

    def report(self, run: Run) -> RunReport:
        """Return what there is to say of *run* now."""
        fields: dict[str, Plain] = {
            "agent": run.agent_id,
            "session": self._tag(run.store_key or run.session_key),
            "outcome": "running",
        }
        outcome = run.outcome
        if outcome is not None:
            fields["outcome"] = outcome.state
            if outcome.error is not None:
                fields["code"] = outcome.error.code
        fields |= _times(run)
        if outcome is not None and outcome.usage.total_tokens:
            fields["prompt_tokens"] = outcome.usage.prompt_tokens
            fields["completion_tokens"] = outcome.usage.completion_tokens
        words = " ".join([f"{name}={value}" for name, value in fields.items()])
        return RunReport(f"run={run.run_id} {words}", {"run_id": run.run_id, **fields})

    def _tag(self, key: str) -> str:
        octets = key.encode("utf-8", "surrogatepass")
        return blake2b(octets, digest_size=TAG_BYTES, key=self._salt).hexdigest()


def _times(run: Run) -> dict[str, int]:
    ends = {
        "queue_ms": run.left_lanes_at,
        "first_ms": run.spoke_at,
        "run_ms": run.ended_at,
    }
    return {
        name: round((end - run.admitted_at) * 1000)
        for name, end in ends.items()
        if end is not None
    }
