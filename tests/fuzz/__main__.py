"""``python -m tests.fuzz [NAME ...] [--seconds N] [--grow]``: look for defects.

With atheris (an extra of the tests, where it has wheels) coverage leads the search;
without, Hypothesis changes the kept inputs at random.  An input that finds a defect is
left in the folder given by ``--found``; keep it in ``tests/fuzz/corpus/NAME`` together
with the fix.  ``--grow`` keeps inputs that reach something new.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.fuzz.corpus import FOLDER, kept

MAX_BYTES = 4096
_SLOW_SECONDS = 10

Engine = Callable[[str, Callable[[bytes], None], argparse.Namespace], None]


def main() -> None:
    """Fuzz each target that is named, in a process of its own; all without a name."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seconds", type=int, default=10, help="for each (10)")
    parser.add_argument("--grow", action="store_true", help="keep what is new")
    parser.add_argument("--found", type=Path, default=Path("."), help="for defects (.)")
    parser.add_argument("--engine", choices=["atheris", "hypothesis"])
    options = parser.parse_args()
    has_atheris = importlib.util.find_spec("atheris") is not None
    engine = options.engine or ("atheris" if has_atheris else "hypothesis")
    with _instrumented(engine):
        from tests.fuzz.targets import TARGETS
    unknown = set(options.names) - set(TARGETS)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    run = _run_atheris if engine == "atheris" else _run_hypothesis
    failed = []
    for name in options.names or TARGETS:
        good = _in_a_child(run, name, TARGETS[name], options)
        print(f"{name}: {'ok' if good else 'DEFECT'} ({engine})", flush=True)
        failed += [] if good else [name]
    sys.exit(bool(failed))


def _instrumented(engine: str) -> Any:
    """Return the context in which what is imported tells atheris where it goes."""
    if engine != "atheris":
        return nullcontext()
    import atheris

    return atheris.instrument_imports(include=["moltbot_gw"])


def _in_a_child(
    run: Engine,
    name: str,
    target: Callable[[bytes], None],
    options: argparse.Namespace,
) -> bool:
    """Whether *run* ends well in a fork of this process: atheris ends its process."""
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        run(name, target, options)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def _run_atheris(
    name: str, target: Callable[[bytes], None], options: argparse.Namespace
) -> None:
    import atheris

    own = FOLDER / name
    with tempfile.TemporaryDirectory() as folder:
        # What is new goes into the first folder.
        folders = [str(own)] if options.grow else [folder, str(own)]
        flags = [
            f"-max_total_time={options.seconds}",
            f"-max_len={MAX_BYTES}",
            f"-timeout={_SLOW_SECONDS}",
            f"-artifact_prefix={options.found}/{name}-",
            "-rss_limit_mb=2048",
            "-verbosity=0",
        ]
        atheris.Setup([sys.argv[0], *flags, *folders], target)
        atheris.Fuzz()


def _run_hypothesis(
    name: str, target: Callable[[bytes], None], options: argparse.Namespace
) -> None:
    from hypothesis import HealthCheck, Phase, given, settings

    from tests.fuzz.mutation import byte_strings

    seeds = [path.read_bytes() for path in kept(name)]

    @settings(
        max_examples=100,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(byte_strings(seeds))
    def look(data: bytes) -> None:
        try:
            target(data)
        except Exception:
            digest = sha256(data).hexdigest()[:16]
            (options.found / f"{name}-crash-{digest}").write_bytes(data)
            raise

    try:
        end = time.monotonic() + options.seconds
        while time.monotonic() < end:
            look()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)


if __name__ == "__main__":
    main()
