"""A failure that is logged without being expected fails the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from .support import expected_failures


@pytest.fixture(autouse=True)
def no_other_failures() -> Iterator[None]:
    seen: list[Failure] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            seen.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    expected_failures.clear()
    yield
    globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]
    expected = {id(failure) for failure in expected_failures}
    assert [failure for failure in seen if id(failure) not in expected] == []
