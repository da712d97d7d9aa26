"""What a model is shown to write a summary, and what is made of its words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from moltbot_gw.agents.summary import (
    SummaryTask,
    clipped,
    summary_message,
    write_summary,
)
from moltbot_gw.agents.tokens import text_tokens
from moltbot_gw.errors import ProviderFailed
from moltbot_gw.messages import (
    AssistantMessage,
    ImagePart,
    Message,
    ModelRequest,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
    text_of,
)
from tests.agents.support import failed, succeeded


class Model:
    """Says *words*, one after the other, and remembers what it was shown."""

    def __init__(self, *words: str) -> None:
        self.words = list(words)
        self.requests: list[ModelRequest] = []

    async def __call__(self, request: ModelRequest) -> str:
        self.requests.append(request)
        return self.words[min(len(self.requests), len(self.words)) - 1]

    def shown(self, index: int = -1) -> str:
        [message] = self.requests[index].messages
        assert isinstance(message, UserMessage)
        return text_of(message.content)


def _task(*messages: Message, **fields: Any) -> SummaryTask:
    fields = {
        "model": "m1",
        "messages": messages,
        "previous": None,
        "max_tokens": 1000,
        "chunk_tokens": 2000,
        **fields,
    }
    return SummaryTask(**fields)


def _write(model: Model, task: SummaryTask) -> str:
    text = succeeded(Deferred.fromCoroutine(write_summary(task, model)))
    assert isinstance(text, str)
    return text


def test_model_is_shown_who_said_what() -> None:
    model = Model(" The gist. \n")
    task = _task(
        UserMessage((TextPart("look at"), ImagePart("data:,abc"))),
        AssistantMessage("I do", tool_calls=(ToolCall("1", "read", '{"path":"a"}'),)),
        ToolMessage("its text", "1"),
        AssistantMessage(tool_calls=(ToolCall("2", "exec", "{}"),)),
        ToolMessage("no", "2", is_error=True),
        AssistantMessage("done", reasoning="secretly"),
    )
    assert _write(model, task) == "The gist."
    assert (
        "<conversation>\nUser: look at [picture]\n\n"
        'Assistant: I do\nAssistant calls read with {"path":"a"}\n\n'
        "Result of a tool: its text\n\nAssistant calls exec with {}\n\n"
        "Failure of a tool: no\n\nAssistant: done\n</conversation>"
    ) in model.shown()
    assert "summary-so-far" not in model.shown()
    [request] = model.requests
    assert (request.model, request.tools) == ("m1", ())
    assert request.options.max_tokens == 2000


def test_wishes_of_the_user_are_told() -> None:
    model = Model("gist")
    _write(model, _task(UserMessage("a"), instructions=" keep the names "))
    assert model.shown().endswith("The user asks of this summary: keep the names")


def test_earlier_summary_is_merged_in() -> None:
    model = Model("gist")
    _write(model, _task(UserMessage("a"), previous="it began"))
    assert "<summary-so-far>\nit began\n</summary-so-far>" in model.shown()


def test_what_does_not_fit_is_summarised_in_parts() -> None:
    model = Model("one", "two", "three")
    messages = [UserMessage(f"{n} " + "a" * 3000) for n in range(6)]
    assert _write(model, _task(*messages)) == "three"
    assert [f"User: {n} " in model.shown(n // 2) for n in range(6)] == [True] * 6
    assert "<summary-so-far>\none\n" in model.shown(1)
    assert "<summary-so-far>\ntwo\n" in model.shown(2)


def test_only_so_many_parts_are_shown() -> None:
    model = Model("gist")
    messages = [UserMessage(f"{n} " + "a" * 6000) for n in range(50)]
    _write(model, _task(*messages))
    assert len(model.requests) == 16
    assert "34 earlier parts left out" in model.shown(0)
    assert "User: 34 " in model.shown(0)
    assert "User: 49 " in model.shown()


def test_long_results_are_shown_without_their_middle() -> None:
    model = Model("gist")
    _write(model, _task(ToolMessage("a" * 5000 + "the end", "1")))
    assert "the end" in model.shown()
    assert "[... 3007 characters left out ...]" in model.shown()


def test_model_without_words_gives_no_summary() -> None:
    task = _task(UserMessage("a"), previous="it began")
    error = failed(Deferred.fromCoroutine(write_summary(task, Model(" \n"))))
    assert isinstance(error, ProviderFailed)


def test_summary_is_cut_when_it_is_too_long() -> None:
    text = _write(Model("a" * 9000), _task(UserMessage("a")))
    assert text_tokens(text) < 1100


def test_summary_says_in_the_conversation_what_it_is() -> None:
    content = text_of(summary_message("the gist").content)
    assert content.startswith("Summary of the earlier part of this conversation")
    assert content.endswith("\n\nthe gist")


_texts = st.text(st.sampled_from("ab\u00e9\u6f22\U0001f600"), max_size=300)


@given(
    st.lists(st.tuples(_texts, st.integers(1, 60)), min_size=1), st.integers(100, 900)
)
def test_each_part_is_bounded(
    texts: Sequence[tuple[str, int]], chunk_tokens: int
) -> None:
    model = Model("gist")
    messages = [UserMessage(text * times) for text, times in texts]
    _write(model, _task(*messages, chunk_tokens=chunk_tokens))
    for request in model.requests:
        [message] = request.messages
        assert isinstance(message, UserMessage)
        assert text_tokens(text_of(message.content)) < chunk_tokens + 400


@pytest.mark.parametrize("text", ["", "short", "\u6f22" * 13])
def test_what_fits_is_left_as_it_is(text: str) -> None:
    assert clipped(text, 10) == text
