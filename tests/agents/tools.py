"""Tools of the tests: small, real, and held open when a test wants it."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from twisted.internet.defer import CancelledError, Deferred

from moltbot_gw.agents.toolbox import Toolbox
from moltbot_gw.messages import Content
from moltbot_gw.tooling import Tool, ToolContext, ToolFailed, ToolParams, ToolResult


class EveryTool:
    """A policy that forbids nothing but *denied*."""

    def __init__(self, denied: Iterable[str] = ()) -> None:
        self.denied = frozenset(denied)
        self.asked: list[tuple[str, str, str, str | None]] = []

    def allowed(
        self,
        agent_id: str,
        provider: str,
        model: str,
        names: tuple[str, ...],
        *,
        session_key: str | None = None,
    ) -> frozenset[str]:
        self.asked.append((agent_id, provider, model, session_key))
        return frozenset(names) - self.denied


class Asked(ToolParams, frozen=True, kw_only=True):
    """What the tests' tools are asked."""

    text: str
    times: int = 1


@attrs.define(eq=False)
class Held:
    """A call that a tool works on until the test lets it end."""

    params: Asked
    context: ToolContext
    done: Deferred[Content]
    cleaned: bool = False


@attrs.define(eq=False)
class Slow:
    """A tool that keeps its *calls* open; *cleanup* holds a cancelled one back."""

    name: str = "slow"
    calls: list[Held] = attrs.Factory(list)
    cleanup: Deferred[None] | None = None

    async def run(self, params: Asked, context: ToolContext) -> ToolResult:
        held = Held(params, context, Deferred())
        self.calls.append(held)
        try:
            return ToolResult(content=await held.done)
        except CancelledError:
            if self.cleanup is not None:
                await self.cleanup
            held.cleaned = True
            raise

    @property
    def tool(self) -> Tool:
        return Tool(
            name=self.name,
            description="Takes its time.",
            params=Asked,
            run=self.run,
            label=lambda params: params.text,
        )


async def _shout(params: Asked, context: ToolContext) -> ToolResult:
    if params.text == "no":
        raise ToolFailed("text: no is not for shouting.")
    if params.text == "bug":
        raise KeyError("a defect")
    return ToolResult(content=params.text.upper() * params.times)


SHOUT = Tool(
    name="shout",
    description="Says it louder.",
    params=Asked,
    run=_shout,
    label=lambda params: params.text,
)


def toolbox(*tools: Tool, denied: Iterable[str] = ()) -> Toolbox:
    """Return a box with *tools* (``shout`` unless told otherwise)."""
    box = Toolbox(EveryTool(denied))
    box.add(tools or (SHOUT,))
    return box
