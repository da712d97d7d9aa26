from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from twisted.logger import LogLevel, formatEventAsClassicLogText

from moltbot_gw.logs.levels import Levels
from moltbot_gw.logs.scribe import Scribe
from moltbot_gw.logs.scrub import Scrubber
from moltbot_gw.logtarget import TwistdFile

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
