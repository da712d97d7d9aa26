"""Many that come at once, and wait for the same thing."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from moltbot_gw.stored import OverviewQuery
from tests.support.control import Control

CLIENTS = 300
CALLS = 120


class SlowOverview:
    """The store's overview of sessions, which comes when the test says so."""

    def __init__(self, control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
        self._waiting: list[Deferred[Any]] | None = []
        self._overview = control.store.overview
        monkeypatch.setattr(control.store, "overview", self._slow)

    def come(self) -> None:
        """Let the overviews come, those of later calls too."""
        waiting, self._waiting = self._waiting or [], None
        for each in waiting:
            each.callback([])

    def _slow(self, query: OverviewQuery) -> Deferred[Any]:
        if self._waiting is None:
            return self._overview(query)
        self._waiting.append(Deferred())
        return self._waiting[-1]


def test_clients_that_come_while_health_is_made_leave_it_alive(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowOverview(control, monkeypatch)
    clients = [control.member() for _ in range(CLIENTS)]
    slow.come()
    control.advance(2)
    assert all(client.events("health") for client in clients)
    assert clients[-1].call("health", {"probe": True})["ok"]


def test_calls_that_wait_behind_slow_ones_are_all_answered(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = control.member()
    control.advance(2)
    slow = SlowOverview(control, monkeypatch)
    asked = [client.ask("status") for _ in range(4)]
    asked += [client.ask("agents.list", {}) for _ in range(CALLS)]
    slow.come()
    control.advance(0)
    answers = client.answers()
    assert sorted(a["id"] for a in answers) == sorted(asked)
    assert all(a["ok"] for a in answers)
