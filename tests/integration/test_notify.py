"""What the daemon tells an init system, from its start to its end."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import StartDaemon
from tests.integration.gateway import configuration
from tests.integration.test_stopping import streaming
from tests.support.daemon import Daemon
from tests.support.init_system import NotifySocket


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[NotifySocket]:
    ear = NotifySocket(tmp_path / "notify")
    yield ear
    ear.close()


def start(start_daemon: StartDaemon, home: Path, **environ: str) -> Daemon:
    path = home / "moltbot.json"
    path.write_text(json.dumps(configuration(None, gateway={"drainSeconds": 600})))
    environ["MOLTBOT_STATE_DIR"] = str(home / "state")
    daemon: Daemon = start_daemon(f"--config={path}", "--port=0", environ=environ)
    return daemon


def test_every_message_from_start_to_stop(
    start_daemon: StartDaemon, tmp_path: Path, ear: NotifySocket
) -> None:
    daemon = start(
        start_daemon, tmp_path, NOTIFY_SOCKET=ear.name, WATCHDOG_USEC="200000"
    )
    assert ear.next() == {"READY": "1"}
    port = daemon.listening()  # it listens once it says so
    assert ear.next() == {"WATCHDOG": "1"}
    assert ear.next() == {"STATUS": "0 runs, 0 streams, 0 WebSocket clients"}
    assert ear.next() == {"WATCHDOG": "1"}
    with streaming(port, "kim"):
        daemon.signal(signal.SIGTERM)
        stopping = ear.wait_for("STOPPING")
        assert stopping == {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "630000000"}
        for _ in range(3):  # a drain is a time to live on
            ear.wait_for("WATCHDOG")
        daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    kinds = [next(iter(one)) for one in ear.heard + ear.rest()]
    assert kinds.count("READY") == kinds.count("STOPPING") == 1
    assert set(kinds) == {"READY", "WATCHDOG", "STATUS", "STOPPING"}


def test_watchdog_of_another_process_is_left_alone(
    start_daemon: StartDaemon, tmp_path: Path, ear: NotifySocket
) -> None:
    daemon = start(
        start_daemon,
        tmp_path,
        NOTIFY_SOCKET=ear.name,
        WATCHDOG_USEC="20000",
        WATCHDOG_PID="1",
    )
    ear.wait_for("STATUS")
    assert daemon.stop() == 0
    ear.rest()
    assert not any("WATCHDOG" in one for one in ear.heard)


def test_init_system_that_goes_away_stops_nothing(
    start_daemon: StartDaemon, tmp_path: Path, ear: NotifySocket
) -> None:
    daemon = start(
        start_daemon, tmp_path, NOTIFY_SOCKET=ear.name, WATCHDOG_USEC="20000"
    )
    ear.wait_for("READY")
    ear.close()
    daemon.wait_for("the init system is not told")
    assert daemon.stop() == 0


def test_nothing_is_said_where_nobody_listens(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    daemon = start(start_daemon, tmp_path, WATCHDOG_USEC="20000")
    daemon.listening()
    assert daemon.stop() == 0
    assert "init system" not in daemon.output
