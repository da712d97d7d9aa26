from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .support import at, load, message


def test_metrics_are_off_and_have_no_listener(tmp_path: Path) -> None:
    metrics = load(tmp_path, {}).config.gateway.metrics
    assert (metrics.enabled, metrics.port, metrics.endpoint) == (False, None, None)
    assert metrics.bind == "127.0.0.1"


@pytest.mark.parametrize(
    ("metrics", "path", "problem"),
    [
        ({"bind": "localhost"}, "bind", "expected an IP address"),
        ({"bind": ""}, "bind", "expected an IP address"),
        ({"port": 0}, "port", "whole number >= 1"),
        ({"port": "9464"}, "port", "number"),
        ({"endpoint": ""}, "endpoint", "length >= 1"),
        ({"port": 1, "endpoint": "tcp:2"}, "endpoint", "one of the two"),
        ({"ports": 1}, "ports", "port"),
        ({"enabled": "yes"}, "enabled", "true or false"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, metrics: Any, path: str, problem: str
) -> None:
    where, words = message(tmp_path, at("gateway.metrics", metrics))
    assert where == f"gateway.metrics.{path}"
    assert problem in words
