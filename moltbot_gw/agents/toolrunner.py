"""Runs the calls of one message with the agent's own tools, side by side.

Whatever a model asks for, it gets a result to read: what it asked wrongly, what a tool
refuses, and what fails in a tool are results too, and no failures of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from moltbot_gw.events import ToolEvent, ToolFinished, ToolStarted, ToolUpdated
from moltbot_gw.messages import Content, ImagePart, TextPart, ToolCall, ToolMessage
from moltbot_gw.messages import text_of as words_of
from moltbot_gw.tooling import Tool, ToolContext, ToolFailed

_log = Logger()

UPDATE_SECONDS = 0.25
"""How often watchers hear of a tool at work."""

MAX_EVENT_CHARS = 8000
"""What watchers are shown of arguments and results."""

LET_GO_SECONDS = 10.0
"""How long a cancelled tool may take to clean up before the run goes on without it."""

CUT_OFF = "The call was cut off before it was done."
_BROKEN = "{name}: the tool failed unexpectedly."


class ToolLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a run's tools.

    *rounds* is how often the model is called in one run, *calls* how many calls of one
    message are made, *result_bytes* what the model reads of one result, and
    *run_bytes* of all results of a run.
    """

    rounds: int = 50
    calls: int = 16
    result_bytes: int = 256 * 1024
    run_bytes: int = 8 * 1024 * 1024


ContextMaker = Callable[[str, Callable[[str], None]], ToolContext]
"""Makes a tool's context from the id of its call and the function for updates."""


@attrs.define(kw_only=True, eq=False)
class ToolRunner:
    """Makes the calls of one run; *tell* shows watchers what happens."""

    tools: Mapping[str, Tool]
    context: ContextMaker
    tell: Callable[[ToolEvent], None]
    clock: IReactorTime
    limits: ToolLimits
    _bytes: int = attrs.field(default=0, init=False)

    async def run(self, calls: tuple[ToolCall, ...]) -> tuple[ToolMessage, ...]:
        """Make *calls* and return their results, in the same order.

        Once this is cancelled it still returns, when all tools have let go, with what
        they have brought; the caller knows that it was cancelled.
        """
        works = [_Work(call, self.tell, self.clock) for call in calls]
        running = []
        for number, work in enumerate(works):
            if number < self.limits.calls:
                running.append(Deferred.fromCoroutine(self._make(work)))
            else:
                work.fail(f"At most {self.limits.calls} calls are made at once.")
        try:
            await _all_over(running)
        except CancelledError:
            await self._let_go(running)
        return tuple(self._bounded(work.result()) for work in works)

    async def _let_go(self, running: list[Deferred[None]]) -> None:
        over = _all_over(running)
        timer = self.clock.callLater(LET_GO_SECONDS, over.cancel)
        for each in running:
            each.cancel()
        try:
            await over
        except CancelledError:
            _log.critical("a tool does not let go of what was cancelled")
        finally:
            if timer.active():
                timer.cancel()

    async def _make(self, work: _Work) -> None:
        """Make one call; its outcome is in *work*, and nothing is raised."""
        call = work.call
        work.begin()
        try:
            tool = self.tools.get(call.name)
            if tool is None:
                raise ToolFailed(f"There is no tool {_short(call.name)}.")
            params = tool.parse(call.arguments)
            work.label = tool.label(params)
            result = await tool.run(params, self.context(call.id, work.update))
        except ToolFailed as failure:
            work.fail(failure.message)
        except CancelledError:
            work.fail(CUT_OFF)
        except Exception:
            _log.failure("the tool {name} failed", name=call.name)
            work.fail(_BROKEN.format(name=call.name))
        else:
            work.finish(result.content)

    def _bounded(self, message: ToolMessage) -> ToolMessage:
        left = min(self.limits.result_bytes, self.limits.run_bytes - self._bytes)
        content, size = _cut(message.content, max(left, 0))
        self._bytes += size
        return msgspec.structs.replace(message, content=content)


@attrs.define(eq=False)
class _Work:
    """One call under way."""

    call: ToolCall
    tell: Callable[[ToolEvent], None]
    clock: IReactorTime
    label: str | None = None
    _content: Content = CUT_OFF
    _is_error: bool = True
    _newest: str | None = None
    _timer: IDelayedCall | None = None
    _is_over: bool = False

    def begin(self) -> None:
        call = self.call
        self.tell(
            ToolStarted(
                call_id=call.id, name=call.name, arguments=_shown(call.arguments)
            )
        )

    def update(self, text: str) -> None:
        """Show *text*: at once, or when watchers have had time for the last one."""
        if self._is_over:
            return
        self._newest = text[-MAX_EVENT_CHARS:]
        if self._timer is None:
            self._ring()

    def finish(self, content: Content) -> None:
        self._end(content, is_error=False)

    def fail(self, why: str) -> None:
        self._end(why, is_error=True)

    def result(self) -> ToolMessage:
        self._is_over = True
        call = self.call
        return ToolMessage(self._content, call.id, call.name, self._is_error)

    def _end(self, content: Content, *, is_error: bool) -> None:
        if self._is_over:
            return  # given up already
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._content, self._is_error = content, is_error
        self.tell(
            ToolFinished(
                call_id=self.call.id,
                name=self.call.name,
                text=words_of(content)[:MAX_EVENT_CHARS],
                is_error=is_error,
                label=self.label,
            )
        )

    def _ring(self) -> None:
        self._timer = None
        text, self._newest = self._newest, None
        if text is None:
            return
        self.tell(ToolUpdated(call_id=self.call.id, name=self.call.name, text=text))
        self._timer = self.clock.callLater(UPDATE_SECONDS, self._ring)


def _all_over(running: list[Deferred[None]]) -> Deferred[None]:
    """Fire when all have ended; cancelling it leaves them alone."""
    over: Deferred[None] = Deferred()

    def fire(_: object) -> None:
        if not over.called:
            over.callback(None)

    DeferredList(running).addCallback(fire)
    return over


def _shown(arguments: str) -> str:
    """Return JSON *arguments* as watchers see them: an object with short values."""
    try:
        found: Any = msgspec.json.decode(arguments or "{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return msgspec.json.encode({"_invalid": _short(arguments)}).decode()
    if len(arguments) <= MAX_EVENT_CHARS:
        return arguments or "{}"
    cut = {_short(key): _short_value(value) for key, value in found.items()}
    text = msgspec.json.encode(cut).decode()
    return text if len(text) <= MAX_EVENT_CHARS else "{}"


def _short_value(value: Any) -> Any:
    if isinstance(value, str):
        return _short(value)
    return value if isinstance(value, (int, float, bool)) else None


def _short(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _cut(content: Content, max_bytes: int) -> tuple[Content, int]:
    """Return *content* cut to *max_bytes* of text, and how many bytes it has then.

    Pictures are bounded by who takes them up; they count for nothing here.
    """
    if isinstance(content, str):
        return _cut_text(content, max_bytes)
    parts: list[TextPart | ImagePart] = []
    used = 0
    for part in content:
        if isinstance(part, TextPart):
            text, size = _cut_text(part.text, max_bytes - used)
            used += size
            part = TextPart(text)
        parts.append(part)
    return tuple(parts), used


def _cut_text(text: str, max_bytes: int) -> tuple[str, int]:
    data = text.encode("utf-8", "replace")
    if len(data) <= max_bytes:
        return text, len(data)
    kept = data[:max_bytes].decode("utf-8", "ignore")
    note = f"\n[cut: {len(data) - max_bytes} bytes more]"
    return kept + note, max_bytes
