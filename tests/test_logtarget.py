from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.logger import (
    LogEvent,
    LogLevel,
    formatEvent,
    formatEventAsClassicLogText,
)

from moltbot_gw.config import Logging
from moltbot_gw.logs.levels import Levels
from moltbot_gw.logs.plain import Cleaned
from moltbot_gw.logs.rules import LogRules
from moltbot_gw.logs.scribe import Scribe
from moltbot_gw.logs.scrub import Scrubber
from moltbot_gw.logtarget import (
    MAX_FILE_BYTES,
    MOST_OLD_FILES,
    TwistdFile,
    find_log_target,
)

SECRET = "a-secret-of-some-length"


@pytest.mark.parametrize(
    "event",
    [
        {"log_time": 1_700_000_000.9, "log_format": "{what} ended", "what": "a run"},
        {"log_time": 1_700_000_001.0, "log_format": "nothing to fill in"},
        {"log_time": 0.0, "log_format": "{line}", "line": "Grüße \N{SNOWMAN}"},
    ],
)
def test_lines_are_those_that_twistd_writes(
    tmp_path: Path, event: dict[str, object]
) -> None:
    event |= {"log_level": LogLevel.warn, "log_namespace": "moltbot_gw.http.site"}
    assert written(tmp_path, event) == formatEventAsClassicLogText(event)


def test_what_is_not_shown_or_secret_is_not_written(tmp_path: Path) -> None:
    said = {"log_time": 1.0, "log_namespace": "moltbot_gw.ws", "log_format": "{it}"}
    calm = written(tmp_path, {**said, "log_level": LogLevel.debug, "it": "calm"})
    assert calm == ""
    line = written(tmp_path, {**said, "log_level": LogLevel.error, "it": SECRET})
    assert line.endswith(" [moltbot_gw.ws#error] ***\n")


def test_syslog_is_given_clean_texts_and_nothing_else() -> None:
    given: list[LogEvent] = []
    scribe = Scribe(Scrubber([SECRET]))
    cleaned = Cleaned(given.append, scribe=scribe, levels=Levels("info", {}))  # type: ignore[arg-type]
    event = {"log_time": 1.0, "log_namespace": "a", "log_format": "it is {it}"}
    cleaned({**event, "log_level": LogLevel.debug, "it": "calm"})
    cleaned({**event, "log_level": LogLevel.error, "it": SECRET})
    (only,) = given
    assert formatEvent(only) == "it is ***"
    assert only["log_level"] is LogLevel.error
    assert SECRET not in repr(only)


def test_no_more_old_files_are_kept_than_a_bound(
    tmp_path: Path, no_signal: None
) -> None:
    path = tmp_path / "gw.log"
    path.write_bytes(b"x" * MAX_FILE_BYTES)
    for number in range(1, MOST_OLD_FILES + 6):
        path.with_name(f"gw.log.{number}").write_text(str(number))
    rules = LogRules(Logging(), ())
    target = find_log_target({"logfile": str(path)}, rules, None, {})
    assert target is not None
    target(
        {
            "log_time": 1.0,
            "log_level": LogLevel.info,
            "log_namespace": "a",
            "log_format": "b",
        }
    )
    assert path.read_text().endswith(" [a#info] b\n")
    assert path.with_name("gw.log.1").stat().st_size == MAX_FILE_BYTES
    old = {p.suffix for p in tmp_path.iterdir()} - {".log"}
    assert old == {f".{number}" for number in range(1, MOST_OLD_FILES + 1)}


@pytest.fixture
def no_signal() -> Iterator[None]:
    """Keep the handler of twistd's signal out of this process."""
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_after_the_fork_of_a_daemon_nobody_waits_for_the_disk() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "before\nafter\n", "")


FORKING = """
import os, sys, threading
from moltbot_gw.logtarget import PatientFile

class SlowFile:
    is_slow = False
    free = threading.Event()
    def write(self, text):
        if self.is_slow:
            self.free.wait()
        sys.stdout.write(text)

slow = SlowFile()
file = PatientFile(slow, forks=True)
file.write("before\\n")
sys.stdout.flush()
child = os.fork()
if child:
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
slow.is_slow = True
file.write("after\\n")
slow.free.set()
"""


def written(folder: Path, event: dict[str, object]) -> str:
    """Return what *event* becomes in a file of twistd."""
    path = folder / "twistd.log"
    with path.open("w", encoding="utf-8") as file:
        scribe = Scribe(Scrubber([SECRET]))
        TwistdFile(file, scribe=scribe, levels=Levels("info", {}))(event)
    return path.read_text("utf-8")
