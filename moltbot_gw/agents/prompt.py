"""The system prompt: who the agent is, its workspace's files, what the client adds."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from moltbot_gw.agents.identity import IdentityFile, IdentityLines
from moltbot_gw.agents.roster import Agent
from moltbot_gw.agents.silence import NOTE

EXPECTED_FILES = (
    "AGENTS.md",
    "SOUL.md",
    "TOOLS.md",
    "IDENTITY.md",
    "USER.md",
    "HEARTBEAT.md",
    "BOOTSTRAP.md",
)
"""Named as missing when they are not there."""

OPTIONAL_FILES = ("MEMORY.md", "memory.md")

MAX_FILE_BYTES = 1024 * 1024
"""A workspace file is read no further than this."""

_HEAD_SHARE, _TAIL_SHARE = 0.7, 0.2

_Signature = tuple[int, int, int]


class WorkspaceFiles:
    """The texts of a workspace's files, read again only when they have changed.

    A look costs one ``stat`` a file and may block on the disk; the cache holds one text
    per file name that exists.
    """

    def __init__(self, folder: Path, max_chars: int) -> None:
        self._folder = folder
        self._max_chars = max_chars
        self._cache: dict[str, tuple[_Signature, str]] = {}

    def section(self) -> str:
        """Return the files as one section of the prompt; empty without a workspace."""
        if not os.path.isdir(self._folder):
            return ""
        parts = ["# Project Context", "These files of your workspace are loaded:"]
        for name in EXPECTED_FILES + OPTIONAL_FILES:
            text = self._text(name)
            if name == OPTIONAL_FILES[1] and self._is_twice(name):
                continue
            if text is None:
                if name in EXPECTED_FILES:
                    place = self._folder / name
                    parts.append(f"## {name}\n[MISSING] Expected at: {place}")
            elif text.strip():
                parts.append(f"## {name}\n{text}")
        return "\n\n".join(parts)

    def _is_twice(self, name: str) -> bool:
        """Whether this is but another spelling of the file before it, or a link."""
        known, other = self._cache.get(name), self._cache.get(OPTIONAL_FILES[0])
        return known is not None and other is not None and known[0] == other[0]

    def _text(self, name: str) -> str | None:
        path = os.path.join(self._folder, name)
        try:
            found = os.stat(path)
            signature = (found.st_mtime_ns, found.st_size, found.st_ino)
            known = self._cache.get(name)
            if known is not None and known[0] == signature:
                return known[1]
            if not stat.S_ISREG(found.st_mode):
                raise OSError("opening a pipe would wait for its writer")
            with open(path, "rb") as file:
                data = file.read(MAX_FILE_BYTES)
        except OSError:
            self._cache.pop(name, None)
            return None
        text = _shorten(data.decode("utf-8", "replace"), self._max_chars)
        self._cache[name] = (signature, text)
        return text


def _shorten(text: str, max_chars: int) -> str:
    if len(text) <= max_chars:
        return text
    head = text[: int(max_chars * _HEAD_SHARE)]
    tail = text[len(text) - int(max_chars * _TAIL_SHARE) :]
    cut = len(text) - len(head) - len(tail)
    return f"{head}\n\n[... {cut} characters left out ...]\n\n{tail}"


class PromptBuilder:
    """Builds one agent's system prompt, run after run.

    What stands before the client's own text is looked up once a second, by ``look`` in
    whatever thread and ``take`` in the reactor's; before, it knows of no files.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._files = WorkspaceFiles(agent.workspace, agent.bootstrap_max_chars)
        self._identity = IdentityFile(agent.workspace)
        self._closing = (
            f"Runtime: agent={agent.id} | model={agent.model} | channel=webchat"
        )
        self._second: int | None = None
        self._start = f"{_opening(agent, IdentityLines())}\n\n{NOTE}"

    def is_fresh(self, unix_time: float) -> bool:
        """Whether the last look was in the same second."""
        return int(unix_time) == self._second

    def take(self, start: str, unix_time: float) -> None:
        """Begin prompts with *start*, which ``look`` has returned."""
        self._second, self._start = int(unix_time), start

    def join(self, extra: str) -> str:
        """Return the prompt; *extra* is the client's own system text, kept verbatim."""
        parts = (self._start, extra, self._closing)
        return "\n\n".join(part for part in parts if part)

    def look(self, unix_time: float) -> str:
        """Return what to begin with; blocks on the disk.

        Only the local date stands in it, not the time, so that providers can keep the
        prefix in their cache.
        """
        now = time.localtime(unix_time)
        parts = [
            _opening(self._agent, self._identity.read()),
            time.strftime("Today is %A, %Y-%m-%d (%Z).", now),
            self._files.section(),
            NOTE,
        ]
        return "\n\n".join(part for part in parts if part)


def _opening(agent: Agent, said: IdentityLines) -> str:
    """Return the first lines; what the configuration says goes before *said*."""
    who = agent.name or said.name or "a personal assistant"
    if emoji := agent.emoji or said.emoji:
        who += f" {emoji}"
    lines = [f"You are {who}, an agent that runs inside Moltbot."]
    if theme := agent.theme or said.theme:
        lines.append(f"Your theme: {theme}.")
    lines.append(f"Your workspace is {agent.workspace}.")
    return "\n".join(lines)
