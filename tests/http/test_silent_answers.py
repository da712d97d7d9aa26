"""``NO_REPLY`` over HTTP: an answer without words."""

from __future__ import annotations

from moltbot_gw.agents.silence import TOKEN
from tests.support.gateway import Gateway


def test_whole_answer_is_empty(gateway: Gateway) -> None:
    connection, call = gateway.chat()
    call.say(TOKEN)
    call.finish()
    [choice] = connection.answer().json["choices"]
    assert choice["message"] == {"role": "assistant", "content": ""}
    assert choice["finish_reason"] == "stop"


def test_streamed_answer_has_a_role_and_an_end(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    for letter in TOKEN:
        call.say(letter)
    call.finish()
    answer = connection.answer()
    choices = [chunk["choices"][0] for chunk in answer.chunks]
    assert [(one["delta"], one["finish_reason"]) for one in choices] == [
        ({"role": "assistant", "content": ""}, None),
        ({}, "stop"),
    ]
    assert answer.records[-1] == "[DONE]"


def test_streamed_words_are_not_delayed(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    for text in ("Hel", "lo", " ", "there."):
        call.say(text)
        last = connection.stream().chunks[-1]["choices"][0]
        assert last["delta"] == {"content": text}
    call.finish()


def test_session_remembers_the_token_that_the_stream_left_out(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True, user="kim")
    call.say(f"Well, {TOKEN}")
    call.finish()
    words = [chunk["choices"][0]["delta"] for chunk in connection.answer().chunks]
    assert [word["content"] for word in words if word.get("content")] == ["Well, "]
    [_, said] = gateway.history("agent:main:openai-user:kim")
    assert said.text == f"Well, {TOKEN}"
