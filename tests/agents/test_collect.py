"""A text from a model that nobody follows."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from zope.interface.verify import verifyObject

from moltbot_gw.agents.collect import Collected, TextCollector, collect
from moltbot_gw.errors import ProviderFailed
from moltbot_gw.events import ReasoningDelta, TextDelta, ToolCallDelta
from moltbot_gw.interfaces import IRunSink
from moltbot_gw.messages import ModelRequest, UserMessage
from tests.agents.support import failed, succeeded
from tests.support.scripted_provider import USAGE, ScriptedProvider

REQUEST = ModelRequest(model="m1", system="", messages=(UserMessage("a"),))


def _asked(provider: ScriptedProvider, max_chars: int = 10) -> Deferred[Collected]:
    return Deferred.fromCoroutine(collect(provider, REQUEST, max_chars))


def test_words_are_collected() -> None:
    provider = ScriptedProvider()
    asked = _asked(provider)
    provider.calls[0].think("hm")
    provider.calls[0].say("one ")
    provider.calls[0].say("two")
    provider.calls[0].finish()
    collected = succeeded(asked)
    assert (collected.text, collected.completion.usage) == ("one two", USAGE)


def test_what_is_too_long_is_cut() -> None:
    provider = ScriptedProvider()
    asked = _asked(provider)
    for _ in range(3):
        provider.calls[0].say("a" * 7)
    provider.calls[0].finish()
    assert succeeded(asked).text == "a" * 10


def test_failure_of_the_provider_is_raised() -> None:
    provider = ScriptedProvider()
    asked = _asked(provider)
    error = ProviderFailed("no")
    provider.calls[0].fail(error)
    assert failed(asked) is error


def test_cancelling_closes_the_providers_socket() -> None:
    provider = ScriptedProvider()
    asked = _asked(provider)
    asked.cancel()
    assert isinstance(failed(asked), CancelledError)
    assert provider.calls[0].cancelled


def test_collector_is_a_sink_for_words_alone() -> None:
    collector = TextCollector()
    assert verifyObject(IRunSink, collector)
    collector.extend([ReasoningDelta("hm"), ToolCallDelta(index=0), TextDelta("a")])
    collector.unregisterProducer()
    assert collector.text == "a"
