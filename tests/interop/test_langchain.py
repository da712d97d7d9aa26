"""LangChain's ``bind_tools`` against the whole gateway, in a process of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pytest_twisted import async_yield_fixture

from tests.integration import waiting
from tests.integration.gateway import TOKEN, Gateway, with_provider
from tests.integration.waiting import in_thread, socket_test
from tests.interop.environment import langchain_python
from tests.interop.package import NotInstallable
from tests.support.daemon import environment
from tests.support.fake_provider import FakeProvider, called, said

clean = async_yield_fixture(name="clean")(waiting.clean_reactor)
provider = async_yield_fixture(name="provider")(waiting.fake_provider)
gateway = async_yield_fixture(name="gateway")(with_provider)

_LOOP = Path(__file__).with_name("langchain_loop.py")
ADD = ("c1", "add", '{"a": 2, "b": 3}')
MULTIPLY = ("c2", "multiply", '{"a": 2, "b": 3}')


@pytest.fixture(scope="session")
def interpreter() -> Path:
    """Who runs LangChain; without it the tests are skipped."""
    try:
        return langchain_python()
    except NotInstallable as reason:
        pytest.skip(str(reason))


async def _loop(interpreter: Path, gateway: Gateway, mode: str, home: Path) -> Any:
    """Return what the script tells at its end."""

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [interpreter, "-I", _LOOP, gateway.base_url, TOKEN, mode],
            env=environment(home),
            capture_output=True,
            text=True,
            timeout=25,
        )

    done = await in_thread(run)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("mode", "calls", "results"),
    [
        ("invoke", (ADD, MULTIPLY), ["5", "6"]),
        ("stream", (ADD, MULTIPLY), ["5", "6"]),
        ("named", (ADD,), ["5"]),
    ],
)
@socket_test
async def test_tools_that_are_bound_are_called_and_their_results_read(
    interpreter: Path,
    gateway: Gateway,
    provider: FakeProvider,
    tmp_path: Path,
    mode: str,
    calls: tuple[tuple[str, str, str], ...],
    results: list[str],
) -> None:
    provider.scripts.extend([called(*calls), said("They are 5 and 6.")])
    told = await _loop(interpreter, gateway, mode, tmp_path)
    assert told["text"] == "They are 5 and 6."
    assert told["called"] == [[name, json.loads(text)] for _, name, text in calls]
    assert told["usage"]["total_tokens"] == 10
    first, second = provider.requests
    offered = [tool["function"]["name"] for tool in first.body["tools"]]
    # Who demands a tool means one of its own; the agent's is not offered then.
    own = [] if mode == "named" else ["session_status"]
    assert offered == [*own, "add", "multiply"]
    assert ("tool_choice" in first.body) is (mode == "named")
    read = [m["content"] for m in second.body["messages"] if m["role"] == "tool"]
    assert read == results
