"""Summarising a session because somebody asks for it."""

from __future__ import annotations

from moltbot_gw.agents.collect import collect
from moltbot_gw.agents.lanes import Lanes
from moltbot_gw.agents.setup import AgentSetup
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.messages import ModelRequest

NOTHING = "There is nothing to compact yet."


async def compact_session(
    setup: AgentSetup,
    *,
    store: ISessionStore,
    lanes: Lanes,
    store_key: str,
    instructions: str,
) -> str:
    """Let the session's model summarise what is older; return what to say of it.

    It takes its turn in the session's lane like a run.  Raises ``QueueFull``,
    ``Draining``, ``StoreFailed``, and what the provider fails with: nothing has changed
    then.
    """
    ticket = lanes.enter(store_key)
    try:
        await ticket.ready()
        history = await store.history(store_key, 0)
        if history.session_id is None:
            return NOTHING
        agent = setup.roster.owner(store_key)
        model = setup.model_of(agent, history.settings)
        provider = setup.providers[model.provider]

        async def summarize(request: ModelRequest) -> str:
            return (await collect(provider, request)).text

        context = setup.compactor.open(
            history,
            session_key=store_key,
            session_id=history.session_id,
            on_event=lambda event: None,
        )
        done = await context.compact(
            model=model, summarize=summarize, instructions=instructions
        )
        if done is None:
            return NOTHING
        before, after = done.tokens_before, done.tokens_after
        return f"Compacted: about {before} tokens before, {after} now."
    finally:
        ticket.close()
