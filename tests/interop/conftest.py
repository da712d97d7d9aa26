"""Fixtures: the installed package, one gateway for all, a new machine for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.machine import Machine, write_config
from tests.interop.package import NotInstallable, Official, installed
from tests.support.daemon import Daemon

_HERE = Path(__file__).parent.resolve()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave these tests to whoever names them: they may install half a gigabyte."""
    paths = (Path(argument.split("::")[0]).resolve() for argument in config.args)
    named = any(path == _HERE or _HERE in path.parents for path in paths)
    return None if named else True


@pytest.fixture(scope="session")
def official() -> Official:
    """The package; without it the tests are skipped."""
    try:
        return installed()
    except NotInstallable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def port(official: Official, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where the gateway listens; its agent says what it hears."""
    home = tmp_path_factory.mktemp("gateway")
    write_config(home)
    daemon = Daemon(home, "--port=0")
    try:
        yield daemon.listening()
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.output
    finally:
        daemon.kill()


@pytest.fixture
def machine(official: Official, port: int, tmp_path: Path) -> Machine:
    """A machine that this gateway serves."""
    return Machine(official, tmp_path, port)
