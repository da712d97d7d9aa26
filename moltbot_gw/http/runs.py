"""``/v1/runs/{id}``: look at a run, read it from any place on, cut it off.

For runs of both edges, while they go on and for a while after.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IReactorTime

from moltbot_gw.agents.run import Run
from moltbot_gw.agents.service import AgentService
from moltbot_gw.errors import RunAborted, RunNotFound
from moltbot_gw.http.answers import prepare_json
from moltbot_gw.http.audience import Audience
from moltbot_gw.http.eventids import find_place
from moltbot_gw.http.request import GatewayRequest
from moltbot_gw.http.sse import Reading, SSEStream, prepare_stream
from moltbot_gw.wire.chat_response import ChunkRenderer, error_object, usage_object
from moltbot_gw.wire.run_view import RunState, RunView, render_run

MaySee = Callable[[GatewayRequest, Run], bool]
"""Whether who sends a request may know of a run, and cut it off."""


def is_his(request: GatewayRequest, run: Run) -> bool:
    """Let a named key see its own runs, and whoever has the gateway's secret all."""
    principal = request.principal
    return principal.is_owner or principal.name == run.principal


class RunsHandler:
    """Answers for runs by their id; one that *may_see* hides is as good as unknown.

    *keep_alive* returns the seconds between two signs of life.
    """

    def __init__(
        self,
        *,
        agents: AgentService,
        clock: IReactorTime,
        audience: Audience,
        keep_alive: Callable[[], float],
        may_see: MaySee,
    ) -> None:
        self._agents = agents
        self._clock = clock
        self._audience = audience
        self._keep_alive = keep_alive
        self._may_see = may_see

    def get(self, request: GatewayRequest, run_id: str) -> bytes:
        """Return how the run is doing."""
        return _show(request, self._find(request, run_id))

    def cancel(self, request: GatewayRequest, run_id: str) -> bytes:
        """Cut the run off; return how it is doing: 202 if it has yet to end."""
        run = self._find(request, run_id)
        run.cancel(RunAborted("The run was cancelled."))
        if run.outcome is None:
            request.setResponseCode(202)
        return _show(request, run)

    async def stream(self, request: GatewayRequest, run_id: str) -> bytes | None:
        """Stream the run as its own client gets it, from where *request* says on.

        An ``EventSource`` comes back after the end, too; 204 tells it to stay away.
        """
        run = self._find(request, run_id)
        start, had = find_place(request, run.log)
        _name(request, run)
        if run.outcome is not None and start == (len(run.log), 0):
            request.setResponseCode(204)
            return b""
        if request.method == b"HEAD":
            prepare_stream(request)
            return b""
        is_held = self._audience.attach(run)
        try:
            await self._serve(
                request,
                run,
                Reading(start=start, had=had, event_ids=True, opens_at_once=True),
            )
        finally:
            if is_held:
                self._audience.leave(run)
        return None

    async def _serve(self, request: GatewayRequest, run: Run, reading: Reading) -> None:
        renderer = ChunkRenderer(
            completion_id=run.run_id,
            created=run.created,
            model=f"moltbot:{run.agent_id}" if run.echo is None else run.echo,
            include_usage=run.wants_usage,
        )
        stream = SSEStream(request, renderer, self._clock, self._keep_alive(), reading)
        await stream.serve(run)

    def _find(self, request: GatewayRequest, run_id: str) -> Run:
        run = self._agents.recall_run(run_id)
        if run is None or not self._may_see(request, run):
            raise RunNotFound("There is no such run, or it ended too long ago.")
        request.run_id = run_id
        request.run_report = partial(self._agents.reporter.report, run)
        return run


def _name(request: GatewayRequest, run: Run) -> None:
    headers = request.responseHeaders
    headers.setRawHeaders(b"X-Moltbot-Agent-Id", [run.agent_id.encode("ascii")])
    # WebSocket clients may spell theirs in ways that no header can hold.
    if run.session_key.isascii() and run.session_key.isprintable():
        session = run.session_key.encode("ascii")
        headers.setRawHeaders(b"X-Moltbot-Session-Key", [session])


def _state(run: Run) -> RunState:
    if run.outcome is not None:
        return run.outcome.state
    if run.cancelled is not None:
        return "cancelling"
    return "waiting" if run.started_at_ms is None else "running"


def _show(request: GatewayRequest, run: Run) -> bytes:
    outcome = run.outcome
    error = None if outcome is None else outcome.error
    view = RunView(
        id=run.run_id,
        state=_state(run),
        agent=run.agent_id,
        session_key=run.session_key,
        key=run.principal or None,
        session_id=run.session_id,
        model=run.model,
        created=run.created,
        started_at_ms=run.started_at_ms,
        ended_at_ms=None if outcome is None else outcome.ended_at_ms,
        finish_reason=None if outcome is None else outcome.finish_reason,
        usage=None if outcome is None else usage_object(outcome.usage),
        error=None if error is None else error_object(error),
    )
    return prepare_json(request, render_run(view))
