"""What agents see of sessions, and what they say to them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from moltbot_gw.agents.statuscard import StatusCards
from moltbot_gw.config import AgentToAgent
from moltbot_gw.errors import ProviderFailed, RunAborted
from moltbot_gw.messages import ToolCall, ToolMessage, UserMessage
from moltbot_gw.tooling import Tool, ToolContext, ToolFailed, ToolResult
from moltbot_gw.tools.access import SessionAccess
from moltbot_gw.tools.sending import MAX_DEPTH, SendTool
from moltbot_gw.tools.sessions import MAX_HISTORY_BYTES, SessionTools
from tests.agents.support import START, House, ended, failed, succeeded
from tests.agents.tools import toolbox
from tests.support.memory_store import MemorySessionStore

MAIN = "agent:main:main"
SIDE = "agent:main:side"
EYES = "agent:eyes:main"


class Desk:
    """A house whose agents have the tools of sessions."""

    def __init__(self, rule: AgentToAgent | None = None) -> None:
        box = toolbox()
        self.house = House(
            store=MemorySessionStore(),
            toolbox=box,
            max_concurrent=1,
            max_run_bytes=10**6,
        )
        service = self.house.service
        access = SessionAccess(
            roster=service.roster,
            store=self.house.store,
            rule=rule,
            global_scope=False,
        )
        now = self.house.now
        self.ids = iter(f"id-{number}" for number in range(100))
        cards = StatusCards(agents=service, store=self.house.store, unix_time=now)
        looking = SessionTools(
            roster=service.roster,
            store=self.house.store,
            access=access,
            cards=cards,
            unix_time=now,
            new_session_id=lambda: next(self.ids),
        )
        self.sending = SendTool(
            agents=service,
            access=access,
            clock=self.house.clock,
            new_uuid=lambda: next(self.ids),
        )
        self.tools: dict[str, Tool] = {
            tool.name: tool for tool in (*looking.tools, self.sending.tool)
        }
        box.add(self.tools.values())

    def context(self, key: str = MAIN, run_id: str = "asking") -> ToolContext:
        return ToolContext(
            run_id=run_id,
            agent_id=key.split(":")[1],
            session_key=key,
            session_id="s",
            model="local/m1",
            workspace=Path("/nonexistent"),
            call_id="c1",
            update=lambda text: None,
        )

    def begin(self, name: str, key: str = MAIN, **params: Any) -> Deferred[ToolResult]:
        tool = self.tools[name]
        parsed = tool.parse(json.dumps(params))
        work: Awaitable[ToolResult] = tool.run(parsed, self.context(key))
        return Deferred.fromCoroutine(work)  # type: ignore[arg-type]

    def use(self, name: str, key: str = MAIN, **params: Any) -> Any:
        """Return the details of a call that needs no waiting."""
        result = succeeded(self.begin(name, key, **params))
        assert result.details is not None
        if name != "session_status":
            assert json.loads(result.content) == result.details
        return result.details

    def refusal(self, name: str, key: str = MAIN, **params: Any) -> str:
        error = failed(self.begin(name, key, **params))
        assert isinstance(error, ToolFailed)
        return error.message

    def talk(self, key: str, text: str = "hello", answer: str = "hi") -> None:
        run = self.house.start(UserMessage(text), key=key, agent_id=key.split(":")[1])
        self.house.call.say(answer)
        self.house.call.finish()
        assert ended(run).state == "done"


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.house.close()
    desk.house.check_idle()


def everybody() -> AgentToAgent:
    return AgentToAgent(enabled=True)


# -- looking


def test_list_shows_an_agents_own_sessions(desk: Desk) -> None:
    desk.talk(MAIN)
    desk.talk(EYES)
    desk.house.clock.advance(120)
    desk.talk(SIDE)
    listed = desk.use("sessions_list")
    rows = listed["sessions"]
    assert listed["count"] == 2
    assert [(row["key"], row["kind"]) for row in rows] == [
        (SIDE, "other"),
        ("main", "main"),
    ]
    assert rows[0]["model"] == "local/m1"
    assert rows[0]["updatedAt"] == (START + 120) * 1000
    assert "messages" not in rows[0]
    [only] = desk.use("sessions_list", kinds=["main"])["sessions"]
    assert only["key"] == "main"
    [only] = desk.use("sessions_list", activeMinutes=1)["sessions"]
    assert only["key"] == SIDE
    [only] = desk.use("sessions_list", limit=1, messageLimit=1)["sessions"]
    assert [one["content"][0]["text"] for one in only["messages"]] == ["hi"]


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("agent:main:telegram:group:1", "group"),
        ("agent:main:cron:1", "cron"),
        ("agent:main:hook:1", "hook"),
        ("agent:main:node-1", "node"),
    ],
)
def test_list_tells_kinds_apart(desk: Desk, key: str, kind: str) -> None:
    desk.talk(key)
    [row] = desk.use("sessions_list", kinds=[kind])["sessions"]
    assert row["key"] == key


def test_list_leaves_out_single_completions(desk: Desk) -> None:
    desk.house.start(anonymous=True)
    assert desk.use("sessions_list")["count"] == 0


def test_list_shows_labels_and_other_agents_where_that_is_allowed() -> None:
    desk = Desk(AgentToAgent(enabled=True, allow=("main", "ey*")))
    desk.talk(EYES)
    desk.house.store.patch(
        EYES, {"label": "sight"}, agent_id="eyes", new_session_id="x", now_ms=1
    )
    [row] = desk.use("sessions_list")["sessions"]
    assert (row["key"], row["label"]) == (EYES, "sight")
    listed = desk.use("agents_list")
    assert listed == {
        "requester": "main",
        "allowAny": False,
        "agents": [
            {"id": "main", "configured": True},
            {"id": "eyes", "configured": True},
        ],
    }


def test_history_shows_the_end_of_a_session(desk: Desk) -> None:
    desk.talk(MAIN, "one", "1")
    desk.talk(MAIN, "two", "2")
    told = desk.use("sessions_history", sessionKey="main")
    assert told["sessionKey"] == "main"
    assert [(m["role"], m["content"][0]["text"]) for m in told["messages"]] == [
        ("user", "one"),
        ("assistant", "1"),
        ("user", "two"),
        ("assistant", "2"),
    ]
    told = desk.use("sessions_history", sessionKey=MAIN, limit=1)
    assert len(told["messages"]) == 1
    told = desk.use("sessions_history", sessionKey="session-1")
    assert told["sessionKey"] == "main"


def test_history_shows_tools_where_asked(desk: Desk) -> None:
    desk.house.start(UserMessage("go"), key=MAIN)
    desk.house.call.use(ToolCall("c1", "shout", '{"text":"a"}'))
    desk.house.call.finish()
    roles = [
        message["role"]
        for message in desk.use("sessions_history", sessionKey="main")["messages"]
    ]
    assert roles == ["user", "assistant", "assistant"]
    told = desk.use("sessions_history", sessionKey="main", includeTools=True)
    assert told["messages"][2]["toolName"] == "shout"


def test_history_is_bounded(desk: Desk) -> None:
    for number in range(4):
        desk.talk(MAIN, str(number) * 30_000, "ok")
    told = desk.use("sessions_history", sessionKey="main")
    assert len(json.dumps(told)) < MAX_HISTORY_BYTES + 1000
    assert told["messages"][-1]["content"][0]["text"] == "ok"


def test_other_agents_sessions_are_out_of_reach(desk: Desk) -> None:
    desk.talk(EYES)
    told = desk.use("sessions_history", sessionKey=EYES)
    assert told["status"] == "forbidden"
    assert "tools.agentToAgent.enabled=true" in told["error"]
    sent = desk.use("sessions_send", sessionKey=EYES, message="hello")
    assert sent["status"] == "forbidden"
    assert "tools.agentToAgent" in desk.refusal("session_status", sessionKey=EYES)
    narrow = Desk(AgentToAgent(enabled=True, allow=("eyes",)))
    told = narrow.use("sessions_history", sessionKey=EYES)
    assert "tools.agentToAgent.allow" in told["error"]


@pytest.mark.parametrize("key", ["agent:gone:main", "cron:x", "", "a\nb", "x" * 600])
def test_bad_keys_are_named(desk: Desk, key: str) -> None:
    assert desk.refusal("sessions_history", sessionKey=key).startswith("sessionKey: ")


def test_status_shows_how_a_session_stands(desk: Desk) -> None:
    told = desk.use("session_status")
    assert "local/m1" in told["statusText"]
    assert f"{MAIN} (new)" in told["statusText"]
    desk.talk(MAIN)
    desk.house.clock.advance(7200)
    told = desk.use("session_status", sessionKey="main")
    assert "Last run: 3 tokens in, 4 out" in told["statusText"]
    assert "(last used 2 h ago)" in told["statusText"]
    assert (told["sessionKey"], told["changedModel"]) == ("main", False)


def test_status_chooses_a_model_for_the_own_session(desk: Desk) -> None:
    told = desk.use("session_status", model="local/m1")
    assert told["changedModel"] is True
    assert "local/m1 (set for this session)" in told["statusText"]
    told = desk.use("session_status", model="default")
    assert "(set for" not in told["statusText"]
    assert "local/odd is not allowed" in desk.refusal(
        "session_status", model="local/odd"
    )
    refusal = desk.refusal("session_status", model="local/m1", sessionKey=SIDE)
    assert "your own session" in refusal


# -- sending


def test_a_message_is_answered_though_only_one_run_is_allowed(desk: Desk) -> None:
    asking = desk.house.start(UserMessage("ask them"), key=MAIN)
    arguments = json.dumps({"sessionKey": SIDE, "message": "are you there?"})
    desk.house.call.use(ToolCall("c1", "sessions_send", arguments))
    request = desk.house.call.request
    assert request.messages == (UserMessage("are you there?"),)
    assert f"agent main, session {MAIN}" in request.system
    desk.house.call.say(" I am. ")
    desk.house.call.finish()
    answer = desk.house.call.request.messages[-1]
    assert isinstance(answer, ToolMessage)
    told = json.loads(str(answer.content))
    assert (told["status"], told["reply"]) == ("ok", "I am.")
    assert told["sessionKey"] == SIDE
    desk.house.call.finish()
    assert ended(asking).state == "done"


def test_a_message_can_be_left(desk: Desk) -> None:
    sent = desk.use("sessions_send", sessionKey=SIDE, message="x", timeoutSeconds=0)
    assert sent["status"] == "accepted"
    assert desk.house.service.find_run(sent["runId"]) is not None


def test_who_answers_late_goes_on(desk: Desk) -> None:
    sending = desk.begin(
        "sessions_send", sessionKey=SIDE, message="x", timeoutSeconds=5
    )
    desk.house.clock.advance(5)
    told = succeeded(sending).details
    assert told["status"] == "timeout"
    assert desk.house.service.find_run(told["runId"]) is not None


def test_a_failure_is_told(desk: Desk) -> None:
    sending = desk.begin("sessions_send", sessionKey=SIDE, message="x")
    desk.house.call.fail(ProviderFailed("no money"))
    told = succeeded(sending).details
    assert (told["status"], told["error"]) == ("error", "no money")
    Deferred.fromCoroutine(desk.house.service.drain(1))
    told = desk.use("sessions_send", sessionKey=SIDE, message="x")
    assert (told["status"], told["error"]) == ("error", "The gateway is stopping.")


def test_who_is_stopped_takes_back_his_question(desk: Desk) -> None:
    asking = desk.house.start(key=MAIN)
    arguments = json.dumps({"sessionKey": SIDE, "message": "x"})
    desk.house.call.use(ToolCall("c1", "sessions_send", arguments))
    asking.cancel(RunAborted("stop"))
    assert desk.house.call.cancelled
    assert desk.house.service.idle


def test_sessions_are_found_by_label(desk: Desk) -> None:
    desk.house.store.patch(
        SIDE, {"label": "aside"}, agent_id="main", new_session_id="x", now_ms=1
    )
    sent = desk.use(
        "sessions_send", label="aside", agentId="Main", message="x", timeoutSeconds=0
    )
    assert sent["sessionKey"] == SIDE
    assert "no session" in desk.refusal("sessions_send", label="gone", message="x")
    assert "either" in desk.refusal("sessions_send", message="x")
    both = {"label": "aside", "sessionKey": SIDE}
    assert "either" in desk.refusal("sessions_send", message="x", **both)
    assert "your own" in desk.refusal("sessions_send", message="x", sessionKey="main")


def test_messages_go_only_so_deep() -> None:
    desk = Desk(everybody())
    arguments = [
        json.dumps({"sessionKey": f"agent:main:deep{n}", "message": "go on"})
        for n in range(MAX_DEPTH + 1)
    ]
    desk.house.start(key=MAIN)
    for text in arguments:
        desk.house.call.use(ToolCall("c1", "sessions_send", text))
    answer = desk.house.call.request.messages[-1]
    assert isinstance(answer, ToolMessage)
    assert answer.is_error
    assert "Too many messages" in str(answer.content)
    desk.house.close()
    desk.house.check_idle()
