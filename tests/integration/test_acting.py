"""An agent that acts: real files and commands, asked for by a provider's stream."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from pytest_twisted import async_yield_fixture

from tests.cli.support import COMMAND
from tests.integration.gateway import TOKEN, Gateway, ask, configuration, post, send
from tests.integration.waiting import in_thread, socket_test, until
from tests.support.daemon import environment
from tests.support.fake_provider import FakeProvider, called, said

MAIN = "agent:main:main"
QUESTION = "Leave a note."
TOOLS = {
    "profile": "coding",
    "exec": {"security": "full", "ask": "off"},
}


async def _acting(
    provider: FakeProvider, tmp_path: Path
) -> AsyncIterator[tuple[Gateway, Path]]:
    workspace = tmp_path / "workspace"
    config = configuration(provider, tools=TOOLS)
    config["agents"]["list"][0]["workspace"] = str(workspace)
    gateway = await Gateway(tmp_path, config).start()
    yield gateway, workspace
    await gateway.stop()


acting = async_yield_fixture(name="acting")(_acting)
Acting = tuple[Gateway, Path]


def script(provider: FakeProvider) -> None:
    """Let the model write a file, run a command, read the file, and say so."""
    note = json.dumps({"path": "a/note.txt", "content": "one\ntwo\n"})
    provider.scripts += [
        called(("c1", "write", note)),
        called(
            ("c2", "exec", json.dumps({"command": "cat a/note.txt; exit 3"})),
            ("c3", "read", json.dumps({"path": "a/note.txt", "offset": 2})),
        ),
        said("All ", "done."),
    ]


def cli(gateway: Gateway, home: Path, *words: str) -> Any:
    """Run the ``moltbot`` command in a process of its own; return its JSON."""
    folder = home / ".clawdbot"
    folder.mkdir(parents=True, exist_ok=True)
    local = {"port": gateway.port, "auth": {"token": TOKEN}}
    path = folder / "moltbot.json"
    path.write_text(json.dumps({"gateway": local}))
    path.chmod(0o600)
    ran = subprocess.run(
        [sys.executable, "-c", COMMAND, *words, "--json"],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return json.loads(ran.stdout)


def rpc(gateway: Gateway, home: Path, method: str, **params: Any) -> Any:
    return cli(gateway, home, "gateway", "call", method, "--params", json.dumps(params))


def by_sdk(gateway: Gateway, home: Path) -> str:
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(
        base_url=gateway.base_url, api_key=TOKEN, max_retries=0, http_client=http
    ) as client:
        chunks = list(
            client.chat.completions.create(
                model="moltbot",
                messages=[{"role": "user", "content": QUESTION}],
                stream=True,
                stream_options={"include_usage": True},
                extra_headers={"x-moltbot-session-key": MAIN},
            )
        )
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 3 * 10
    assert not [c for c in chunks if c.choices and c.choices[0].delta.tool_calls]
    assert chunks[-2].choices[0].finish_reason == "stop"
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def by_chat(gateway: Gateway, home: Path) -> str:
    sent = {"sessionKey": "main", "message": QUESTION, "idempotencyKey": "k1"}
    assert rpc(gateway, home, "chat.send", **sent)["status"] == "started"
    assert rpc(gateway, home, "agent.wait", runId="k1")["status"] == "ok"
    messages = rpc(gateway, home, "chat.history", sessionKey="main")["messages"]
    text: str = messages[-1]["content"][0]["text"]
    return text


def by_agent(gateway: Gateway, home: Path) -> str:
    answer = cli(gateway, home, "agent", "--agent", "main", "--message", QUESTION)
    (payload,) = answer["result"]["payloads"]
    text: str = payload["text"]
    return text


def plainly(message: Any) -> Any:
    """Return what a message of the transcript says, without times and counts."""
    kept = ("role", "content", "toolCallId", "toolName", "isError", "stopReason")
    return {name: message[name] for name in kept if name in message}


def call_part(call_id: str, name: str, **arguments: Any) -> Any:
    return {"type": "toolCall", "id": call_id, "name": name, "arguments": arguments}


TRANSCRIPT = [
    {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
    {
        "role": "assistant",
        "content": [
            call_part("c1", "write", path="a/note.txt", content="one\ntwo\n"),
        ],
        "stopReason": "toolUse",
    },
    {"role": "toolResult", "toolCallId": "c1", "toolName": "write", "isError": False},
    {
        "role": "assistant",
        "content": [
            call_part("c2", "exec", command="cat a/note.txt; exit 3"),
            call_part("c3", "read", path="a/note.txt", offset=2),
        ],
        "stopReason": "toolUse",
    },
    {"role": "toolResult", "toolCallId": "c2", "toolName": "exec", "isError": True},
    {"role": "toolResult", "toolCallId": "c3", "toolName": "read", "isError": False},
    {
        "role": "assistant",
        "content": [{"type": "text", "text": "All done."}],
        "stopReason": "stop",
    },
]


@pytest.mark.parametrize("way", [by_sdk, by_chat, by_agent])
@socket_test
async def test_the_same_talk_through_every_door(
    acting: Acting,
    provider: FakeProvider,
    tmp_path: Path,
    way: Callable[[Gateway, Path], str],
) -> None:
    gateway, workspace = acting
    script(provider)
    home = tmp_path / "home"
    assert await in_thread(way, gateway, home) == "All done."
    assert (workspace / "a" / "note.txt").read_text() == "one\ntwo\n"
    told = await in_thread(
        lambda: rpc(gateway, home, "chat.history", sessionKey="main")
    )
    messages = [plainly(message) for message in told["messages"]]
    results = {}
    for message in messages:
        if message["role"] == "toolResult":
            (part,) = message.pop("content")
            results[message["toolCallId"]] = part["text"]
    assert messages == TRANSCRIPT
    assert results["c2"] == "one\ntwo\n\nCommand exited with code 3"
    assert results["c3"].startswith("two")
    # What the model was sent is the same conversation, in its provider's words.
    roles = [message["role"] for message in provider.requests[-1].body["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "tool", "tool"]
    offered = [tool["function"]["name"] for tool in provider.requests[0].body["tools"]]
    assert set(offered) >= {"read", "write", "edit", "exec", "process"}
    assert "web_fetch" not in offered


@socket_test
async def test_an_agent_without_any_rules_has_one_tool(
    provider: FakeProvider, tmp_path: Path
) -> None:
    gateway = await Gateway(tmp_path, configuration(provider)).start()
    provider.scripts.append(said("hi"))
    reply = await post(gateway, ask("hi"))
    assert reply.status == 200
    (tool,) = provider.requests[0].body["tools"]
    assert tool["function"]["name"] == "session_status"
    await gateway.stop()


def runs(pid: str) -> bool:
    """Whether there is such a process that nobody has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    # Not every init process sees to the dead at once.
    return stat.rpartition(")")[2].split()[0] != "Z"


@socket_test
async def test_a_client_that_hangs_up_leaves_no_command_behind(
    acting: Acting, provider: FakeProvider
) -> None:
    gateway, workspace = acting
    command = "sleep 1000 & echo $$ $! > pids; wait"
    provider.scripts.append(called(("c1", "exec", json.dumps({"command": command}))))
    client = await send(gateway, ask("sleep", user="alice"))
    pids = workspace / "pids"
    await until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    client.transport.loseConnection()
    await gateway.when_idle()
    for pid in pids.read_text().split():
        assert not runs(pid)
