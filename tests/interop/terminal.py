"""A terminal for a program that draws: a pseudo terminal and what its screen shows."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROWS, COLUMNS = 50, 120

_PIECE = re.compile(
    r"\x1b\[(?P<arguments>[0-9;?<=>]*)[ -/]*(?P<final>[@-~])"  # a control sequence
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # a title, a link
    r"|\x1b[()][0-9A-B]|\x1b[^\[\]()]"
    r"|(?P<control>[\x00-\x1a\x1c-\x1f])"
    r"|(?P<text>[^\x00-\x1f]+)"
)


class Screen:
    """What a terminal would show; knows as much of ECMA-48 as drawing by lines needs.

    Nothing is ever scrolled away: ``lines`` has all that was written since the screen
    was cleared.  A character is one column wide; the cursor's only absolute place is
    the upper left corner.
    """

    def __init__(self) -> None:
        self._rows: list[list[str]] = [[]]
        self._row = self._column = 0
        self._rest = ""

    @property
    def lines(self) -> list[str]:
        """The lines, without blanks around them."""
        return ["".join(row).strip() for row in self._rows]

    def feed(self, text: str) -> None:
        """Take what the program has written; it may be cut anywhere."""
        text, at = self._rest + text, 0
        while match := _PIECE.match(text, at):
            at = match.end()
            if match["text"]:
                self._write(match["text"])
            elif match["control"]:
                self._control(match["control"])
            elif match["final"]:
                self._sequence(match["arguments"], match["final"])
        self._rest = text[at:]

    def _write(self, text: str) -> None:
        row = self._rows[self._row]
        row += " " * (self._column - len(row))
        row[self._column : self._column + len(text)] = text
        self._column += len(text)

    def _control(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._go_to(self._row + 1)
        elif character == "\b":
            self._column = max(self._column - 1, 0)

    def _sequence(self, arguments: str, final: str) -> None:
        number = int(arguments) if arguments.isdecimal() else 0
        if final in "AB":
            self._go_to(self._row + max(number, 1) * (1 if final == "B" else -1))
        elif final in "CD":
            steps = max(number, 1) * (1 if final == "C" else -1)
            self._column = max(self._column + steps, 0)
        elif final == "G":
            self._column = max(number, 1) - 1
        elif final == "H":
            self._go_to(0)
            self._column = 0
        elif final == "K":
            self._rows[self._row][0 if number == 2 else self._column :] = []
        elif final == "J":
            self._erase(number)

    def _erase(self, what: int) -> None:
        if what in (2, 3):
            self._rows = [[] for _ in self._rows[: self._row + 1]]
            return
        self._rows[self._row][self._column :] = []
        del self._rows[self._row + 1 :]

    def _go_to(self, row: int) -> None:
        self._row = max(row, 0)
        self._rows += [[] for _ in range(self._row + 1 - len(self._rows))]


class Terminal:
    """A program in a terminal of its own."""

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], folder: Path
    ) -> None:
        self.screen = Screen()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
        try:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**environ, "TERM": "xterm-256color"},
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
            )
        finally:
            os.close(slave)

    def type(self, text: str) -> None:
        """Press the keys of *text*."""
        os.write(self._master, text.encode())

    def wait_for(self, shown: Callable[[list[str]], bool], seconds: float) -> None:
        """Return once *shown* holds for the lines of the screen."""
        deadline = time.monotonic() + seconds
        while not shown(self.screen.lines):
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(
                    "\n".join(["the screen shows:", *self.screen.lines])
                )

    def wait(self, seconds: float) -> int:
        """Return the exit status at the end."""
        deadline = time.monotonic() + seconds
        while self._read(deadline - time.monotonic()):
            pass
        return self._process.wait(max(deadline - time.monotonic(), 0.1))

    def close(self) -> None:
        """Kill the program if it still runs."""
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def _read(self, seconds: float) -> bool:
        """Feed the screen; return False when the program has ended or time is up."""
        ready, _, _ = select.select([self._master], [], [], max(seconds, 0))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:
            # How Linux says that nobody has the other side open any more.
            return False
        self.screen.feed(self._decoder.decode(data))
        return bool(data)
