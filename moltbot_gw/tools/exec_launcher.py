"""The first thing in a command's process: prepares it, and becomes the command.

It is run as a file, by an interpreter without ``site``, and must import next to
nothing.  It is here because ``spawnProcess`` can neither begin a session nor join the
two outputs, and would fork the whole gateway to change the folder.

Arguments: ``pipe`` or ``pty``, the folder, the program's path, and its ``argv``.  A
program that cannot be started ends as it does in a shell: 127 if there is none, else
126.
"""

from __future__ import annotations

import errno
import os
import signal
import sys


def main(arguments: list[str]) -> None:  # pragma: no cover  (in another process)
    """Become the command; return never."""
    kind, folder, program, *argv = arguments
    if kind == "pipe":  # on a terminal the session is there already
        os.setsid()
        os.dup2(1, 2)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        # This interpreter ignores them, and what is ignored stays so for the program.
        signal.signal(number, signal.SIG_DFL)
    try:
        os.chdir(folder)
        os.execv(program, argv)  # noqa: S606  (no shell: that is the point)
    except OSError as error:
        os.write(1, f"{program}: {error.strerror}\n".encode(errors="replace"))
        os._exit(127 if error.errno == errno.ENOENT else 126)


if __name__ == "__main__":  # pragma: no cover
    main(sys.argv[1:])
