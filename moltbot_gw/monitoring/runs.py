"""Figures on runs: how they ended, how long they took, what they used."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric

from moltbot_gw.agents.run import Run
from moltbot_gw.agents.service import AgentService
from moltbot_gw.events import RunOutcome
from moltbot_gw.monitoring.families import (
    counters,
    gauge,
    gauges,
    histogram,
    histograms,
)
from moltbot_gw.tallies import Counts, Histogram, Histograms

NOBODY = "none"
"""The provider and model of a run that ended before it had any."""

FIRST_WORD_BOUNDS = (
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0),
)
RUN_BOUNDS = (
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0),
    *(30.0, 60.0, 120.0, 300.0, 600.0, 1800.0),
)
WAIT_BOUNDS = (0.001, 0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class RunFigures:
    """Follows every run of *agents* from its start to its end.

    All labels are names that the configuration has: a run exists only for a configured
    agent, and only configured models can be asked for.  The *key* is the name of who
    asked, empty for the shared secret.
    """

    def __init__(self, agents: AgentService) -> None:
        self._agents = agents
        self._runs = Counts("agent", "provider", "outcome", "key")
        self._failures = Counts("agent", "provider", "code", "key")
        self._tokens = Counts("agent", "model", "kind", "key")
        self._cached = Counts("agent", "model", "key")
        self._first_words = Histograms(FIRST_WORD_BOUNDS, "agent", "provider")
        self._times = Histograms(RUN_BOUNDS, "agent", "provider")
        self._waits = Histogram(WAIT_BOUNDS)
        agents.observe(self._follow)

    def collect(self) -> Iterator[Metric]:
        """Return what has been counted, and how it is now."""
        agents = self._agents
        waiting = agents.waiting
        active = dict.fromkeys(agents.roster.agents, 0)
        for run in agents.active:
            active[run.agent_id] = active.get(run.agent_id, 0) + 1
        held_back = sum(run.is_held_back for run in agents.active)
        yield gauge("draining", "1 while the gateway is stopping.", agents.draining)
        yield counters("runs", "Runs that have ended.", self._runs)
        yield counters("run_failures", "Runs that failed, by error.", self._failures)
        yield gauges("runs_active", "Runs that wait or go on.", "agent", active)
        yield gauge(
            "runs_held_back",
            "Runs whose provider is paused for its readers.",
            held_back,
        )
        yield histograms(
            "run_first_token_seconds",
            "From a run's admission to the model's first word.",
            self._first_words,
        )
        yield histograms(
            "run_seconds", "From a run's admission to its end.", self._times
        )
        yield histogram(
            "lane_wait_seconds", "How long runs waited for their turn.", self._waits
        )
        yield gauges(
            "lane_depth",
            "Runs that wait: for one before in their session, or for a slot of all.",
            "lane",
            {"session": waiting.session, "all": waiting.all},
        )
        yield counters("tokens", "Tokens, as providers count them.", self._tokens)
        yield counters(
            "cached_prompt_tokens", "Prompt tokens read from a cache.", self._cached
        )

    def _follow(self, run: Run) -> None:
        run.on_end(self._ended)

    def _ended(self, run: Run, outcome: RunOutcome) -> None:
        agent, model = run.agent_id, run.model or NOBODY
        provider, key = model.partition("/")[0], run.principal
        self._runs.add(agent, provider, outcome.state, key)
        if outcome.state == "failed" and outcome.error is not None:
            self._failures.add(agent, provider, outcome.error.code, key)
        self._count_tokens(outcome, agent, model, key)
        self._measure(run, agent, provider)

    def _count_tokens(
        self, outcome: RunOutcome, agent: str, model: str, key: str
    ) -> None:
        usage = outcome.usage
        if usage.prompt_tokens or usage.completion_tokens:
            prompt, said = usage.prompt_tokens, usage.completion_tokens
            self._tokens.add(agent, model, "prompt", key, amount=prompt)
            self._tokens.add(agent, model, "completion", key, amount=said)
        if usage.cached_tokens:
            self._cached.add(agent, model, key, amount=usage.cached_tokens)

    def _measure(self, run: Run, agent: str, provider: str) -> None:
        began = run.admitted_at
        if run.left_lanes_at is not None:
            self._waits.observe(run.left_lanes_at - began)
        if run.spoke_at is not None:
            self._first_words.observe(run.spoke_at - began, agent, provider)
        assert run.ended_at is not None
        self._times.observe(run.ended_at - began, agent, provider)
