"""Commands that people type into a chat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from moltbot_gw.errors import ProviderFailed
from moltbot_gw.messages import AssistantMessage, UserMessage
from moltbot_gw.ws.methods.commands import GREETING, MAX_REMEMBERED
from tests.support.control import JSON, Control

MAIN = "agent:main:main"
Make = Callable[..., Control]


class Chat:
    """Somebody who chats with an agent; *chats* are the ``chat`` events so far."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.client = control.member()
        self.chats: list[Any] = []

    def send(self, message: str, key: str) -> Any:
        """Send *message* and return what is answered."""
        params = {"sessionKey": "main", "message": message, "idempotencyKey": key}
        wanted = self.client.ask("chat.send", params)
        self.control.advance(0)
        (answer,) = [m for m in self.listen() if m.get("id") == wanted]
        return answer["payload"]

    def talk(self, key: str, message: str = "hi") -> None:
        """Send *message*, and let the model answer it."""
        self.send(message, key)
        self.control.model.calls[-1].say("hello")
        self.control.model.calls[-1].finish()

    def listen(self) -> list[JSON]:
        """Return the messages that have come."""
        found = self.client.messages()
        self.chats += [m["payload"] for m in found if m.get("event") == "chat"]
        return found

    @property
    def last(self) -> Any:
        """The last ``chat`` event."""
        self.listen()
        return self.chats[-1]

    @property
    def text(self) -> str:
        """The words in it."""
        (part,) = self.last["message"]["content"]
        shown: str = part["text"]
        return shown


@pytest.mark.parametrize("command", ["/new", "/reset", " /RESET "])
def test_a_new_session_begins_with_a_greeting(control: Control, command: str) -> None:
    chat = Chat(control)
    chat.talk("k1")
    before = control.history(MAIN)
    assert chat.send(command, "k2")["status"] == "started"
    request = control.model.calls[-1].request
    assert request.messages == (UserMessage(GREETING),)
    control.model.calls[-1].say("Hello!")
    control.model.calls[-1].finish()
    assert control.history(MAIN) != before
    assert control.history(MAIN)[-1] == AssistantMessage("Hello!", "", (), "stop")


@pytest.mark.parametrize("between", [" ", "\n"])
def test_a_new_session_may_begin_with_a_question(
    control: Control, between: str
) -> None:
    chat = Chat(control)
    chat.talk("k1")
    chat.send(f"/new{between}what now?", "k2")
    assert control.model.calls[-1].request.messages == (UserMessage("what now?"),)
    control.model.calls[-1].finish()


def test_a_command_that_is_sent_again_does_nothing_again(control: Control) -> None:
    chat = Chat(control)
    chat.send("/new what now?", "k1")
    again = chat.send("/new what now?", "k1")
    assert again["status"] == "in_flight"
    control.model.calls[-1].finish()
    history = control.history(MAIN)
    again = chat.send("/new what now?", "k1")
    assert again["status"] == "ok"
    assert control.history(MAIN) == history


def test_status_is_told_and_stored(control: Control) -> None:
    chat = Chat(control)
    assert chat.send("/status", "k1") == {
        "runId": "k1",
        "status": "started",
    }
    told = chat.last
    assert (told["runId"], told["state"]) == ("k1", "final")
    assert told["sessionKey"] == "main"
    assert "script/model" in chat.text
    assert f"{MAIN} (new)" in chat.text
    (stored,) = control.history(MAIN)
    assert isinstance(stored, AssistantMessage)
    assert stored.text == chat.text
    assert control.model.calls == []
    assert chat.send("/status", "k1")["status"] == "ok"
    chat.talk("k2")
    chat.send("/status", "k3")
    assert "Last run:" in chat.text
    shown = chat.client.call("chat.history", {"sessionKey": "main"})["payload"]
    assert shown["messages"][-1]["stopReason"] == "injected"


def test_compact_lets_the_model_summarise(control: Control) -> None:
    chat = Chat(control)
    chat.send("/compact", "k0")
    assert chat.text == "There is nothing to compact yet."
    for number in range(3):
        chat.talk(f"k{number + 1}", "long " * 3000)
    chat.send("/compact keep the names", "k9")
    call = control.model.calls[-1]
    assert "keep the names" in str(call.request.messages)
    call.say("They talked.")
    call.finish()
    told = chat.last
    assert told["runId"] == "k9"
    assert chat.text.startswith("Compacted: about ")
    chat.talk("k10", "and now?")
    request = control.model.calls[-1].request
    assert "They talked." in str(request.messages[0])
    assert len(str(request.messages)) < 30_000
    everything = chat.client.call("chat.history", {"sessionKey": "main"})["payload"]
    users = [m for m in everything["messages"] if m["role"] == "user"]
    assert len(users) == 4


def test_compact_that_fails_is_told(control: Control) -> None:
    chat = Chat(control)
    for number in range(3):
        chat.talk(f"k{number}", "long " * 3000)
    chat.send("/compact", "k9")
    control.model.calls[-1].fail(ProviderFailed("no more money"))
    told = chat.last
    assert (told["state"], told["errorMessage"]) == ("error", "no more money")


def test_compact_takes_its_turn(control: Control) -> None:
    chat = Chat(control)
    for number in range(3):
        chat.talk(f"k{number}", "long " * 3000)
    chat.send("wait for me", "k8")
    chat.send("/compact", "k9")
    running = control.model.calls[-1]
    running.finish()
    assert control.model.calls[-1] is not running
    control.model.calls[-1].say("short")
    control.model.calls[-1].finish()
    assert chat.text.startswith("Compacted")


def test_a_stop_ends_what_is_being_compacted(control: Control) -> None:
    chat = Chat(control)
    for number in range(3):
        chat.talk(f"k{number}", "long " * 3000)
    chat.send("/compact", "k9")
    control.drain(1)
    assert control.model.calls[-1].cancelled
    told = chat.last
    assert (told["state"], told["errorMessage"]) == (
        "error",
        "The gateway is stopping.",
    )
    chat.send("/compact", "k10")
    assert chat.last["runId"] == "k10"
    assert chat.last["state"] == "error"


@pytest.mark.parametrize(
    "message", ["/status please", "/unknown", "say /new", "/newer", "new"]
)
def test_other_words_are_for_the_agent(control: Control, message: str) -> None:
    chat = Chat(control)
    chat.send(message, "k1")
    (call,) = control.model.calls
    assert call.request.messages == (UserMessage(message),)
    call.finish()


def test_words_that_start_anew_can_be_chosen(make_control: Make) -> None:
    control = make_control({"session": {"resetTriggers": ["Fresh"]}})
    chat = Chat(control)
    chat.send("fresh start", "k1")
    assert control.model.calls[-1].request.messages == (UserMessage("start"),)
    control.model.calls[-1].finish()


def test_only_so_many_commands_are_remembered(control: Control) -> None:
    chat = Chat(control)
    for number in range(MAX_REMEMBERED + 1):
        chat.send("/status", f"k{number}")
    assert chat.send("/status", "k1")["status"] == "ok"
    assert chat.send("/status", "k0")["status"] == "started"
