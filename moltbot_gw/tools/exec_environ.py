"""The environment of commands: the gateway's, without what is not for them.

This keeps secrets from programs that print or send what they find around them.  It is
no wall: a command has the rights of the gateway's user, who can read its files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from moltbot_gw.tooling import ToolFailed

MAX_TEXT_BYTES = 100_000
"""Linux takes no more than 128 KiB in one argument or variable."""

MAX_ALL_CHARS = 200_000

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_NEVER = re.compile(
    r"(?:MOLTBOT|CLAWDBOT|OPENCLAW)_.*|LISTEN_.*|NOTIFY_SOCKET|CREDENTIALS_DIRECTORY"
    r"|WATCHDOG_.*|JOURNAL_STREAM|INVOCATION_ID|MAINPID|MANAGERPID|SYSTEMD_EXEC_PID"
)
"""The gateway's own affairs, and what systemd tells a service."""

_SECRET = re.compile(
    r".*(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|API_?KEY).*"
    r"|.*TOKENS?(?:_.*)?"
    r"|(?:.*_)?(?:KEYS?|PAT|PASS|DSN|DATABASE_URL)(?:_.*)?",
    re.IGNORECASE,
)
"""Whatever is called like a secret: a provider's key may have any name."""

_CHANGES_PROGRAMS = re.compile(r"PATH|LD_.*|DYLD_.*")
_HARMLESS = re.compile(
    r"LANG|LANGUAGE|LC_[A-Z]+|TZ|TERM|COLUMNS|LINES|NO_COLOR|FORCE_COLOR|CI"
)


def base_environ(
    environ: Mapping[str, str], *, passed: Iterable[str], prepend: Sequence[str]
) -> dict[str, str]:
    """Return *environ* without secrets, but for the names in *passed*.

    *prepend* are folders that come before those of ``PATH``.
    """
    kept = set(passed)
    found = {
        name: value
        for name, value in environ.items()
        if not _NEVER.fullmatch(name) and (name in kept or not _SECRET.fullmatch(name))
    }
    folders = [*prepend, found.get("PATH") or os.defpath]
    found["PATH"] = os.pathsep.join(folders)
    return found


def check_environ(wanted: Mapping[str, str]) -> None:
    """Raise ``ToolFailed`` for variables that no system takes."""
    for name, value in wanted.items():
        if not _NAME.fullmatch(name):
            raise ToolFailed(f"env: {name[:80]!r} is not a name of a variable.")
        check_text(f"env.{name[:80]}", value)
    if sum(len(name) + len(value) for name, value in wanted.items()) > MAX_ALL_CHARS:
        raise ToolFailed(f"env: more than {MAX_ALL_CHARS} characters in all.")


def check_text(field: str, text: str) -> None:
    """Raise ``ToolFailed`` if *text*, of the parameter *field*, can be no argument."""
    data = text.encode()
    if b"\0" in data:
        raise ToolFailed(f"{field}: it has a character 0 in it.")
    if len(data) > MAX_TEXT_BYTES:
        raise ToolFailed(f"{field}: more than {MAX_TEXT_BYTES} bytes.")


def find_program_changer(wanted: Iterable[str]) -> str | None:
    """Return a name that would make another program of the one that is started."""
    return next((name for name in wanted if _CHANGES_PROGRAMS.fullmatch(name)), None)


def is_harmless(wanted: Iterable[str]) -> bool:
    """Whether all names only change how a program writes, not what it does."""
    return all(_HARMLESS.fullmatch(name) for name in wanted)
