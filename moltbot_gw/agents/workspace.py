"""An agent's own folder, and the files that it begins with."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from importlib.resources import files
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from moltbot_gw.agents.prompt import EXPECTED_FILES
from moltbot_gw.agents.roster import Agent
from moltbot_gw.agents.sharedwork import SharedWork
from moltbot_gw.interfaces import RunInThread

_log = Logger()

FIRST_FILE = "BOOTSTRAP.md"
"""Tells the agent how to begin; it deletes the file when that is done."""

_OTHERS = tuple(name for name in EXPECTED_FILES if name != FIRST_FILE)

PATIENCE = 5.0
"""Seconds that runs wait for the disk; then they go on without the files."""


async def leave_workspace(agent: Agent) -> None:
    """Make nothing: ``agents.defaults.skipBootstrap``."""


class Workspaces:
    """Makes each workspace once in the life of the process, before its first run.

    That happens in a thread.  Runs that come meanwhile wait for the same making, and
    go on whether it succeeds or not: a failure is logged once, and not tried again.
    """

    def __init__(self, run_in_thread: RunInThread, clock: IReactorTime) -> None:
        self._run_in_thread = run_in_thread
        self._clock = clock
        self._ready: set[Path] = set()
        self._making: SharedWork[Path] = SharedWork()

    async def prepare(self, agent: Agent) -> None:
        """Return once the workspace of *agent* is there, or cannot be; never raise."""
        folder = agent.workspace
        if folder in self._ready:
            return
        await self._making.join(folder, partial(self._make, folder))

    def _make(self, folder: Path) -> Deferred[None]:
        making = self._run_in_thread(partial(make_workspace, folder))
        making.addTimeout(PATIENCE, self._clock)
        making.addErrback(self._report, folder)
        return making.addCallback(lambda _: self._ready.add(folder))

    def _report(self, failure: Failure, folder: Path) -> None:
        _log.warn(
            "cannot make the workspace {folder}: {error}",
            folder=str(folder),
            error=failure.value,
        )


def make_workspace(folder: Path) -> None:
    """Make the folder (0700) and the files (0600) that it lacks; raise ``OSError``.

    What is there stays as it is, links that lead nowhere too.  Blocks on the disk.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not any(os.path.lexists(folder / name) for name in _OTHERS):
        # Before the others: after a crash between them it would not come any more.
        _make_file(folder / FIRST_FILE)
    for name in _OTHERS:
        _make_file(folder / name)


def _make_file(path: Path) -> None:
    """Write the template of that name, unless something has its place."""
    text = (files(__package__) / "templates" / path.name).read_bytes()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
    except OSError:
        # Half a template would never be completed.
        with suppress(OSError):
            path.unlink()
        raise
