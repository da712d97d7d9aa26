"""One run of an agent, watched from a terminal: its text as it comes, Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from moltbot_gw.cli.reach import Reach
from moltbot_gw.client import Event, GatewayConnection, connect

ABORT_SECONDS = 3.0
"""How long an aborted run may take to say its end."""


class Interrupted(Exception):
    """The user pressed Ctrl-C."""


class AgentRun:
    """Ask for a run and watch it.

    *params* are those of the method ``agent``; *seconds* bound the wait for its end.
    *show* gets the pieces of the answer as they come; None shows nothing.
    """

    def __init__(
        self,
        reach: Reach,
        params: dict[str, Any],
        *,
        seconds: float,
        show: Callable[[str], None] | None,
    ) -> None:
        self._reach = reach
        self._params = params
        self._run_id: str = params["idempotencyKey"]
        self._seconds = seconds
        self._show = show
        self._pieces: list[str] = []
        self._session_key: str | None = params.get("sessionKey")
        self._interrupted = False

    @property
    def shown(self) -> str:
        """The text that was shown so far."""
        return "".join(self._pieces)

    def finish_line(self) -> None:
        """End the line of the text that was shown, if it is not ended."""
        if self._show is not None and self._pieces and self._pieces[-1][-1:] != "\n":
            self._show("\n")

    async def run(self, reactor: Any) -> Any:
        """Return the final answer; raise ``Interrupted`` or a ``ClientError``."""
        reach = self._reach
        connection = await connect(reactor, reach.target, timeout=reach.timeout)
        try:
            if self._session_key is None:
                self._session_key = self._likely_key(connection)
            connection.events(self._note)
            answer: Deferred[Any] = Deferred.fromCoroutine(
                connection.request(
                    "agent", self._params, timeout=self._seconds, expect_final=True
                )
            )
            with _interrupts(reactor, lambda: self._abort(reactor, connection, answer)):
                payload = await answer
        except CancelledError:
            raise Interrupted("The run was not heard to end; it may go on.") from None
        finally:
            await connection.close()
        if self._interrupted:
            raise Interrupted("The run was aborted.")
        return payload

    def _note(self, event: Event) -> None:
        payload = event.payload
        if event.event != "agent" or not isinstance(payload, dict):
            return
        if payload.get("runId") != self._run_id:
            return
        key, data = payload.get("sessionKey"), payload.get("data")
        if isinstance(key, str) and key:
            self._session_key = key
        if payload.get("stream") == "assistant" and isinstance(data, dict):
            self._take(data.get("delta"), data.get("text"))

    def _take(self, delta: Any, text: Any) -> None:
        if self._show is None or not isinstance(delta, str) or not delta:
            return
        # The text begins again with each message of the run.
        if self._pieces and text == delta:
            delta = f"\n\n{delta}"
        self._pieces.append(delta)
        self._show(delta)

    def _likely_key(self, connection: GatewayConnection) -> str:
        """Return the key of the session that the gateway will choose."""
        defaults = connection.hello.snapshot.session_defaults
        agent_id = self._params.get("agentId")
        if agent_id is None or defaults.scope == "global":
            return defaults.main_session_key
        return f"agent:{agent_id}:{defaults.main_key}"

    def _abort(
        self, reactor: Any, connection: GatewayConnection, answer: Deferred[Any]
    ) -> None:
        """Abort the run; a second Ctrl-C does not wait for that."""
        if self._interrupted:
            answer.cancel()
            return
        self._interrupted = True
        params = {"sessionKey": self._session_key, "runId": self._run_id}
        asking = Deferred.fromCoroutine(
            connection.request("chat.abort", params, timeout=ABORT_SECONDS)
        )
        # Whatever it says: the run ends, or the time is up.
        asking.addErrback(lambda _: None)
        timer = reactor.callLater(ABORT_SECONDS, answer.cancel)
        answer.addBoth(_passing(lambda: timer.active() and timer.cancel()))


@contextmanager
def _interrupts(reactor: Any, handler: Callable[[], None]) -> Iterator[None]:
    """Call *handler* in the reactor for each SIGINT, instead of what was before.

    To be used while the reactor runs: it sets its own handlers when it starts.
    """

    def interrupt(number: int, frame: object) -> None:
        reactor.callFromThread(handler)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _passing(action: Callable[[], object]) -> Callable[[Any], Any]:
    def act(result: Any) -> Any:
        action()
        return result

    return act
