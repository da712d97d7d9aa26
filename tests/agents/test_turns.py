from __future__ import annotations

import pytest

from moltbot_gw.agents.pictures import has_images
from moltbot_gw.agents.turns import news_of, without_retry
from moltbot_gw.errors import InvalidRequest
from moltbot_gw.messages import (
    AssistantMessage,
    ImagePart,
    Message,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)

ONE, TWO = UserMessage("one"), UserMessage("two")
SAID = AssistantMessage("said")
RESULT = ToolMessage("42", "c")


@pytest.mark.parametrize(
    "messages", [(ONE,), (ONE, SAID, TWO), (SAID,), (ONE, SAID), (ONE, TWO)]
)
def test_fresh_session_takes_every_message(messages: tuple[Message, ...]) -> None:
    assert news_of(messages, has_history=False) == messages


@pytest.mark.parametrize(
    ("messages", "news"),
    [
        ((ONE,), (ONE,)),
        ((ONE, TWO), (ONE, TWO)),
        ((ONE, SAID, TWO), (TWO,)),
        ((ONE, SAID, TWO, SAID, ONE, TWO), (ONE, TWO)),
        ((ONE, SAID, RESULT), (RESULT,)),
    ],
)
def test_known_session_takes_what_follows_the_last_answer(
    messages: tuple[Message, ...], news: tuple[Message, ...]
) -> None:
    assert news_of(messages, has_history=True) == news


@pytest.mark.parametrize("messages", [(SAID,), (ONE, SAID)])
def test_nothing_after_the_last_answer_is_refused(
    messages: tuple[Message, ...],
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        news_of(messages, has_history=True)
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    ("history", "news", "left"),
    [
        ((), (ONE,), ()),
        ((ONE,), (ONE,), ()),
        ((ONE, ONE), (ONE,), ()),
        ((ONE, SAID, TWO), (TWO,), (ONE, SAID)),
        ((ONE, SAID), (ONE,), (ONE, SAID)),
        ((ONE, SAID, TWO), (ONE,), (ONE, SAID, TWO)),
        ((TWO,), (ONE, TWO), (TWO,)),
        ((ONE, TWO), (ONE, TWO), ()),
        ((ONE,), (), (ONE,)),
    ],
)
def test_unanswered_copy_of_the_news_is_dropped(
    history: tuple[Message, ...], news: tuple[Message, ...], left: tuple[Message, ...]
) -> None:
    assert without_retry(history, news) == left


CALLED = AssistantMessage("", "", (ToolCall("c", "f", "{}"), ToolCall("d", "f", "{}")))
OTHER = ToolMessage("43", "d")
AGAIN = ToolMessage("44", "c")


@pytest.mark.parametrize(
    ("history", "news", "left"),
    [
        ((ONE, CALLED), (RESULT,), (ONE, CALLED)),
        ((ONE, CALLED, RESULT), (RESULT,), (ONE, CALLED)),
        ((ONE, CALLED, RESULT), (AGAIN,), (ONE, CALLED)),
        ((ONE, CALLED, RESULT), (OTHER,), (ONE, CALLED, RESULT)),
        ((ONE, CALLED, RESULT, SAID), (RESULT,), (ONE, CALLED)),
        ((ONE, CALLED, RESULT, SAID), (AGAIN, TWO), (ONE, CALLED)),
        ((ONE, CALLED, RESULT, OTHER, SAID), (AGAIN,), (ONE, CALLED, OTHER)),
        ((ONE, CALLED, RESULT, SAID), (OTHER,), (ONE, CALLED, RESULT, SAID)),
        ((ONE, CALLED, RESULT, SAID), (TWO,), (ONE, CALLED, RESULT, SAID)),
        (
            (CALLED, RESULT, SAID, TWO, SAID),
            (RESULT,),
            (CALLED, RESULT, SAID, TWO, SAID),
        ),
        ((SAID,), (RESULT,), (SAID,)),
        ((ONE, SAID), (ToolMessage("x"),), (ONE, SAID)),
        ((), (RESULT,), ()),
    ],
)
def test_results_that_come_again_take_the_place_of_the_earlier_ones(
    history: tuple[Message, ...], news: tuple[Message, ...], left: tuple[Message, ...]
) -> None:
    assert without_retry(history, news) == left


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (ONE, False),
        (SAID, False),
        (UserMessage((TextPart("a"),)), False),
        (UserMessage((TextPart("a"), ImagePart("data:x"))), True),
        (ToolMessage((ImagePart("data:x"),), "c"), True),
    ],
)
def test_pictures_are_found(message: Message, found: bool) -> None:
    assert has_images((ONE, message)) is found
