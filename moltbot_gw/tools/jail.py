"""From a path that a model wrote to an open folder and a name in it, inside the roots.

What must hold: whatever the path says, and whatever others do to the folders meanwhile,
nothing outside the roots is opened, made or replaced.

So the kernel never resolves a path.  Each component is opened in the folder that is
open already, never through a link; a link is read, and its words take its place among
the components to come.  Nothing is checked by one call and used by another.  Outside
the roots a path is words only: no file is looked at there, so that a refusal does not
tell whether there is one.

Rejected: comparing what ``realpath`` says (a folder can become a link before it is
used), and Linux's ``openat2`` (it knows one root, and Python does not have it).
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from moltbot_gw.tooling import ToolFailed
from moltbot_gw.tools.paths import Parts, is_folder_path, is_inside, parts_of, shown

MAX_LINKS = 40
"""As many symbolic links lead to a file, as in Linux."""

MAX_STEPS = 4096
"""Components of one path, those of its links included."""

_KERNEL = tuple(Path(name) for name in ("/proc", "/sys", "/dev"))
"""Folders whose files are not what they seem; they are never served."""

_FOLDER = (
    getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
)
_Identity = tuple[int, int]


@attrs.frozen(kw_only=True)
class Place:
    """A name in an open folder; the name may be missing, but is no link by now."""

    folder: int
    name: str
    forbidden: frozenset[_Identity]

    def is_forbidden(self, info: os.stat_result) -> bool:
        """Say whether *info* is of something that is never served."""
        return identity(info) in self.forbidden


@attrs.frozen(kw_only=True)
class Jail:
    """What one call may reach.

    *workspace* is a real path; *roots* leads from each spelling of a root to its real
    path.  *forbidden* are folders and files that are not served inside of roots, unless
    the workspace lies in them.
    """

    workspace: Parts
    roots: Mapping[Parts, Parts]
    forbidden: frozenset[_Identity]

    @contextmanager
    def place_of(self, path: str, *, make: bool = False) -> Iterator[Place]:
        """Open the folder of the file *path*; relative ones begin in the workspace.

        With *make* missing folders are made.  Raises ``ToolFailed`` and ``OSError``.
        """
        walk = _Walk(self, path, make=make)
        try:
            folder, name = walk.go()
            yield Place(folder=folder, name=name, forbidden=self.forbidden)
        finally:
            walk.close()


class Jails:
    """Makes jails, and remembers where roots really are.

    That is found out once for each folder: a root that becomes a link later, made by
    somebody who may write beside it, leads nowhere.
    """

    def __init__(self, forbidden: Sequence[Path]) -> None:
        self._forbidden = (*_KERNEL, *forbidden)
        # One entry for each folder that the configuration names; threads share it.
        self._real: dict[str, Parts] = {}

    def jail(self, workspace: Path, roots: Sequence[Path]) -> Jail:
        """Return the jail of an agent; looks at the disk.

        A root inside another one adds nothing but what a link in its place could, and
        such a link need not be its owner's: it is left out.
        """
        first, *others = [os.path.abspath(path) for path in (workspace, *roots)]
        outer = [one for one in others if not is_inside(one, (first, *others))]
        spelled = {}
        for text in (*outer, first):
            real = self._find_real(text)
            spelled.update({real: real, parts_of(text): real})
        return Jail(
            workspace=self._find_real(first),
            roots=spelled,
            forbidden=frozenset(_identities(self._forbidden)),
        )

    def _find_real(self, text: str) -> Parts:
        if text in self._real:
            return self._real[text]
        real = parts_of(os.path.realpath(text))
        if os.path.isdir(text):
            self._real[text] = real
        return real


class _Walk:
    """The way to one file.

    While ``_folder`` is None, ``_at`` is words only.  Else it is the real path of that
    open folder, which lies in the root ``_root``; ``_is_served`` says whether what is
    in it may be used.
    """

    def __init__(self, jail: Jail, path: str, *, make: bool) -> None:
        self._jail = jail
        self._path = path
        self._make = make
        self._links = 0
        self._folder: int | None = None
        self._at: Parts = ()
        self._root: Parts = ()
        self._is_served = False

    def go(self) -> tuple[int, str]:
        """Return the folder of the file, open until ``close``, and the name in it."""
        if is_folder_path(self._path):
            raise self._no_file()
        pending = deque(parts_of(self._path))
        if not self._path.startswith("/"):
            pending.extendleft(reversed(self._jail.workspace))
        self._stand(())
        for _ in range(MAX_STEPS):
            if not pending:
                break
            name = self._step(pending)
            if name is not None and self._folder is not None:
                return self._folder, name
        if pending:
            raise ToolFailed(f"path: {shown(self._path)} has too many components.")
        raise self._outside() if self._folder is None else self._no_file()

    def close(self) -> None:
        """Close the folder; the walk is over."""
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    def _step(self, pending: deque[str]) -> str | None:
        """Take the next of *pending*; return it if it is the file's name."""
        part = pending.popleft()
        if self._folder is None:
            self._stand(self._at[:-1] if part == ".." else (*self._at, part))
        elif part == "..":
            pending.extendleft(reversed(self._leave()))
        else:
            self._check_way(part)
            target = self._find_link(part)
            if target is not None:
                self._turn(target, pending)
            elif pending:
                self._enter(part, make=self._make and ".." not in pending)
            elif not self._is_served:
                raise self._outside()
            else:
                return part
        return None

    def _stand(self, at: Parts) -> None:
        """Be at the absolute path *at*: in a root, or in words."""
        self.close()
        self._at = at
        root = self._jail.roots.get(at)
        if root is not None:
            self._enter_root(root)

    def _enter_root(self, root: Parts) -> None:
        self.close()
        self._folder = os.open("/", _FOLDER)
        self._at, self._root, self._is_served = (), root, True
        is_own = root == self._jail.workspace
        for part in root:
            self._enter(part, make=self._make and is_own)

    def _leave(self) -> Parts:
        """Go back to a root; return the names that lead to the folder above from there.

        The kernel's ``..`` is of no use: it leads to wherever somebody has moved the
        folder in the meantime.
        """
        names = self._at[len(self._root) : -1]
        if self._at == self._root:
            self._stand(self._root[:-1])
        else:
            self._enter_root(self._root)
        return names

    def _turn(self, target: str, pending: deque[str]) -> None:
        self._links += 1
        if self._links > MAX_LINKS:
            raise ToolFailed(f"path: {shown(self._path)} has too many symbolic links.")
        if target.startswith("/"):
            self._stand(())
        pending.extendleft(reversed(parts_of(target)))

    def _find_link(self, name: str) -> str | None:
        """Return what the link *name* says; None for what is no link or is missing."""
        try:
            return os.readlink(name, dir_fd=self._folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            # "Invalid argument": it is no link.
            if error.errno != errno.EINVAL:
                raise
            return None

    def _enter(self, name: str, *, make: bool) -> None:
        assert self._folder is not None, "only folders have folders"
        try:
            inner = os.open(name, _FOLDER, dir_fd=self._folder)
        except FileNotFoundError:
            if not make:
                raise
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=self._folder)
            inner = os.open(name, _FOLDER, dir_fd=self._folder)
        self.close()
        self._folder = inner
        self._at = (*self._at, name)
        if identity(os.fstat(inner)) in self._jail.forbidden:
            self._is_served = False
        elif self._at == self._jail.workspace:
            self._is_served = True

    def _check_way(self, name: str) -> None:
        """Let a forbidden folder be passed only on the way to the workspace."""
        way = (*self._at, name)
        if not self._is_served and way != self._jail.workspace[: len(way)]:
            raise self._outside()

    def _outside(self) -> ToolFailed:
        roots = sorted({"/" + "/".join(root) for root in self._jail.roots.values()})
        return ToolFailed(
            f"path: {shown(self._path)} is outside of what this agent may use: "
            f"{', '.join(roots)}"
        )

    def _no_file(self) -> ToolFailed:
        return ToolFailed(f"path: {shown(self._path)} is a folder; name a file in it.")


def identity(info: os.stat_result) -> _Identity:
    """Return what tells one file from all others, whatever its names."""
    return info.st_dev, info.st_ino


def _identities(paths: Iterable[Path]) -> Iterator[_Identity]:
    for path in paths:
        with suppress(OSError):  # what is not there needs no guard
            yield identity(path.stat())
