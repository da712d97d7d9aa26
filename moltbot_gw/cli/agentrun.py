"""One run of an agent, watched from a terminal: its text as it comes, its signals."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from moltbot_gw.cli.answers import checked
from moltbot_gw.cli.reach import Reach
from moltbot_gw.client import Event, GatewayConnection, connect

ABORT_SECONDS = 3.0
"""How long an aborted run may take to say its end."""


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """The signal *number* came: the user pressed Ctrl-C, or the process shall end."""

    def __init__(self, words: str, number: int) -> None:
        super().__init__(words)
        self.number = number


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
        self._signal: int | None = None
        self._connection: GatewayConnection | None = None

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
        # A reactor sets its own handlers of signals when it starts.
        await deferLater(reactor, 0)
        work = Deferred.fromCoroutine(self._work(reactor))
        try:
            with _signals(reactor, lambda number: self._stop(reactor, work, number)):
                payload = await work
        except CancelledError:
            raise self._interruption() from None
        if self._signal is not None:
            raise Interrupted("The run was aborted.", self._signal)
        return payload

    async def _work(self, reactor: Any) -> Any:
        reach = self._reach
        connection = await connect(reactor, reach.target, timeout=reach.timeout)
        try:
            if self._session_key is None:
                self._session_key = self._likely_key(connection)
            connection.events(self._note)
            self._connection = connection
            answer = await connection.request(
                "agent", self._params, timeout=self._seconds, expect_final=True
            )
            return checked("agent", answer)
        finally:
            await connection.close()

    def _interruption(self) -> Interrupted:
        """Return the end of a run that was not heard to end."""
        assert self._signal is not None, "nothing else cancels"
        if self._connection is None:
            return Interrupted("The run was not begun.", self._signal)
        words = "The run was not heard to end; it may go on."
        return Interrupted(words, self._signal)

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

    def _stop(self, reactor: Any, work: Deferred[Any], number: int) -> None:
        """Abort the run; a second signal does not wait for that."""
        again, self._signal = self._signal is not None, number
        if again or self._connection is None:
            work.cancel()
            return
        params = {"sessionKey": self._session_key, "runId": self._run_id}
        asking = Deferred.fromCoroutine(
            self._connection.request("chat.abort", params, timeout=ABORT_SECONDS)
        )
        # Whatever it says: the run ends, or the time is up.
        asking.addErrback(lambda _: None)
        timer = reactor.callLater(ABORT_SECONDS, work.cancel)
        work.addBoth(_passing(lambda: timer.active() and timer.cancel()))


@contextmanager
def _signals(reactor: Any, handler: Callable[[int], None]) -> Iterator[None]:
    """Call *handler* in the reactor with each SIGINT and SIGTERM, not what was before.

    To be used while the reactor runs: it sets its own handlers when it starts.
    """

    def note(number: int, frame: object) -> None:
        reactor.callFromThread(handler, number)

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _passing(action: Callable[[], object]) -> Callable[[Any], Any]:
    def act(result: Any) -> Any:
        action()
        return result

    return act
