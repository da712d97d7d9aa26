"""A desk with all methods on it, and callers who ask them as clients do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from moltbot_gw.agents.lanes import LaneLimits, Lanes
from moltbot_gw.agents.request import RunRequest
from moltbot_gw.agents.roster import build_roster
from moltbot_gw.agents.run import Run
from moltbot_gw.agents.service import AgentService
from moltbot_gw.agents.toolbox import Toolbox
from moltbot_gw.config import Assistant, Config, decode_hook
from moltbot_gw.errors import GatewayError
from moltbot_gw.events import Usage
from moltbot_gw.messages import AssistantMessage, Message, UserMessage
from moltbot_gw.reloadstatus import ReloadStatus
from moltbot_gw.wire.connect import ClientInfo
from moltbot_gw.wire.frames import encode_failure, encode_result
from moltbot_gw.ws.calls import Call, Caller, Method, MethodError, MethodTable, shape_of
from moltbot_gw.ws.health import Health
from moltbot_gw.ws.methods import (
    agent_tools,
    catalogues,
    history,
    logs,
    model_status,
    sessions,
    system,
    unserved,
    usage,
)
from moltbot_gw.ws.methods.session_tools import SessionTools
from moltbot_gw.ws.presence import Presence
from moltbot_gw.ws.system_events import SystemEvents
from moltbot_gw.ws.targets import Targets
from tests.agents.tools import SHOUT
from tests.sessions.support import end, start
from tests.support.memory_store import MemorySessionStore
from tests.support.scripted_provider import ScriptedProvider
from tests.support.setups import agent_setup

JSON = Any
NOW = 1769774400.0
NOW_MS = 1769774400000
KEY = "agent:main:main"
STORE_PATH = "/state/sessions.sqlite"

TREE: dict[str, Any] = {
    "agents": {
        "list": [
            {"id": "ops", "name": "Operator"},
            {
                "id": "main",
                "default": True,
                "identity": {"name": "Molty", "emoji": "🦞", "theme": "sea"},
            },
        ],
        "defaults": {"model": {"primary": "local/m1"}},
    },
    "models": {
        "providers": {
            "local": {
                "baseUrl": "http://x/v1",
                "models": [
                    {
                        "id": "m1",
                        "name": "One",
                        "contextWindow": 100_000,
                        "cost": {"input": 2, "output": 10, "cacheRead": 1},
                    },
                    {"id": "m2", "name": "Two", "reasoning": True},
                ],
            },
            "openai": {
                "baseUrl": "http://y/v1",
                "models": [
                    {"id": "gpt-5.2", "name": "GPT", "input": ["text", "image"]}
                ],
            },
        }
    },
}


@attrs.frozen
class Told:
    """A state that all clients were told."""

    name: str
    payload: JSON
    key: str


class TapedHub:
    """Records what it is to broadcast."""

    def __init__(self) -> None:
        self.told: list[Told] = []

    def broadcast(self, name: str, payload: Any, *, key: str | None = None) -> None:
        decoded = json.loads(msgspec.json.encode(payload))
        self.told.append(Told(name, decoded, key or name))


def caller_of(
    *scopes: str,
    role: str = "operator",
    mode: str = "ui",
    address: str | None = None,
    device_id: str | None = None,
    conn_id: str = "conn-1",
    **client: Any,
) -> Caller:
    """Return a caller with ``operator.<scope>`` for each of *scopes*."""
    info: dict[str, Any] = {
        "id": "test",
        "version": "1",
        "platform": "linux",
        "mode": mode,
        **client,
    }
    return Caller(
        conn_id=conn_id,
        client=ClientInfo(**info),
        role=role,
        scopes=frozenset(f"operator.{scope}" for scope in scopes),
        device_id=device_id,
        address=address,
    )


ADMIN = caller_of("admin")


def _box(*names: str) -> Toolbox:
    """Return tools of these names, which no test calls."""
    box = Toolbox()
    box.add(attrs.evolve(SHOUT, name=name) for name in names)
    return box


class Desk:
    """The methods on a memory store and a clock that tests move."""

    def __init__(self, home: Path, tree: dict[str, Any] | None = None) -> None:
        config = msgspec.convert(
            TREE if tree is None else tree, Config, dec_hook=decode_hook
        )
        self.home = home
        self.clock = Clock()
        self.store = MemorySessionStore()
        self.provider = ScriptedProvider()
        self.hub = TapedHub()
        self.events = SystemEvents()
        self.presence = Presence(unix_time=self.now, version="9", host="box")
        self.roster = build_roster(config, home)
        self.agents = AgentService(
            setup=agent_setup(
                self.roster,
                {"local": self.provider, "echo": self.provider},
                store=self.store,
                clock=self.clock,
                unix_time=self.now,
                config=config,
                max_run_bytes=1000,
                global_scope=config.session.scope == "global",
                with_keys={"local": True, "openai": False},
                toolbox=_box("session_status", "exec", "read", "our_own"),
            ),
            store=self.store,
            lanes=Lanes(
                LaneLimits(max_concurrent=2, max_waiting=5, max_waiting_per_session=5)
            ),
            clock=self.clock,
            unix_time=self.now,
        )
        self.targets = Targets(self.agents)
        self.config_status = ReloadStatus(unix_time=self.now)
        self.health = Health(
            store=self.store,
            agents=self.agents,
            clock=self.clock,
            unix_time=self.now,
            store_path=STORE_PATH,
            broadcast=self.hub.broadcast,
            config=self.config_status,
        )
        self.provider_health = self.agents.setup.failover.health
        self.log_file: Path | None = None
        self.assistant: Assistant | None = None

    def now(self) -> float:
        return NOW + self.clock.seconds()

    def table(self) -> MethodTable:
        tools = SessionTools(
            store=self.store,
            agents=self.agents,
            targets=self.targets,
            clock=self.clock,
            unix_time=self.now,
            store_path=STORE_PATH,
        )
        hub: Any = self.hub
        return MethodTable(
            [
                *system.methods(
                    store=self.store,
                    agents=self.agents,
                    targets=self.targets,
                    presence=self.presence,
                    health=self.health,
                    events=self.events,
                    unix_time=self.now,
                    store_path=STORE_PATH,
                    broadcast=self.hub.broadcast,
                ),
                *catalogues.methods(
                    agents=self.agents,
                    targets=self.targets,
                    find_assistant=lambda: self.assistant,
                    run_in_thread=_at_once,
                ),
                *agent_tools.methods(agents=self.agents, targets=self.targets),
                *model_status.methods(
                    agents=self.agents,
                    unix_time=self.now,
                ),
                *sessions.methods(tools=tools),
                *history.methods(tools=tools, hub=hub),
                *self._usage(),
                *logs.methods(find_file=lambda: self.log_file, run_in_thread=_at_once),
                *unserved.methods(
                    hub=hub,
                    unix_time=self.now,
                    state=Path("/state"),
                    workspace=lambda: Path("/work"),
                ),
            ]
        )

    def _usage(self) -> Any:
        """The methods of usage are made once: they remember their answers."""
        if not hasattr(self, "_usage_methods"):
            self._usage_methods = usage.methods(
                store=self.store,
                agents=self.agents,
                clock=self.clock,
                unix_time=self.now,
            )
        return self._usage_methods

    def method(self, name: str) -> Method:
        return self.table().find(name, ADMIN)

    # -- asking

    def begin(
        self, method: str, params: JSON = None, caller: Caller = ADMIN
    ) -> list[JSON]:
        """Ask; the answer's frame will be in the list that is returned."""
        answers: list[JSON] = []

        async def ask() -> None:
            raw = msgspec.Raw(json.dumps({} if params is None else params).encode())
            call = Call(caller=caller, answer_early=answers.append)
            try:
                found = self.table().find(method, caller)
                result = await found.handle(call, found.parse(raw))
                frame = encode_result("r1", result)
            except MethodError as error:
                frame = encode_failure("r1", error.shape)
            except GatewayError as error:
                frame = encode_failure("r1", shape_of(error))
            answers.append(json.loads(frame))

        failures: list[Failure] = []
        Deferred.fromCoroutine(ask()).addErrback(failures.append)
        for failure in failures:
            failure.raiseException()
        return answers

    def ask(self, method: str, params: JSON = None, caller: Caller = ADMIN) -> JSON:
        """Return the payload of the answer, which must be there at once."""
        [answer] = self.begin(method, params, caller)
        assert answer["ok"], answer
        return answer["payload"]

    def refusal(
        self, method: str, params: JSON = None, caller: Caller = ADMIN
    ) -> tuple[str, str]:
        """Return code and message of the answer, which must be a failure."""
        [answer] = self.begin(method, params, caller)
        assert not answer["ok"], answer
        return answer["error"]["code"], answer["error"]["message"]

    # -- what there is

    def turn(
        self,
        *answer: Message,
        key: str = KEY,
        session_id: str = "id-1",
        run_id: str = "run-1",
        said: Message | str = "hello",
        at_ms: int = NOW_MS,
        usage: Usage = Usage(),  # noqa: B008
        agent_id: str = "main",
        model: str = "m1",
        state: Any = "done",
    ) -> None:
        """Store a turn."""
        message = UserMessage(said) if isinstance(said, str) else said
        begun = start(
            run_id,
            key=key,
            session_id=session_id,
            messages=(message,),
            at_ms=at_ms,
            model=model,
        )
        wait(self.store.begin_turn(msgspec.structs.replace(begun, agent_id=agent_id)))
        wait(
            self.store.end_turn(
                end(
                    run_id,
                    key=key,
                    session_id=session_id,
                    messages=answer or (AssistantMessage("hi", stop_reason="stop"),),
                    usage=usage,
                    at_ms=at_ms,
                    state=state,
                )
            )
        )

    def run(self, run_id: str = "run-9", key: str = KEY) -> Run:
        """Start a run that goes on until the test ends it."""
        return self.agents.start_run(
            RunRequest(
                run_id=run_id,
                agent_id="main",
                session_key=key,
                store_key=key,
                new_session_id=f"session-of-{run_id}",
                anonymous=False,
                messages=(UserMessage("go"),),
            )
        )


def wait(waited: Deferred[Any]) -> Any:
    """Return what *waited* has fired with."""
    results: list[Any] = []
    waited.addCallback(results.append)
    [result] = results
    return result


def _at_once(work: Callable[[], Any]) -> Deferred[Any]:
    try:
        return succeed(work())
    except Exception:
        failed: Deferred[Any] = Deferred()
        failed.errback(Failure())
        return failed


def taken(events: SystemEvents, key: str) -> list[str]:
    """Return what waits for a session, and forget it, as a message does."""
    texts = events.peek(key)
    events.forget(key, texts)
    return texts
