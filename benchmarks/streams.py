"""Streams that begin at a steady rate, and what becomes of each."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections import Counter

import attrs

from benchmarks import processes
from benchmarks.load import request

PATIENCE = 60.0
_CONTENT = re.compile(rb'"content":"([^"]*)"')
_ID = re.compile(rb'"id":"([^"]*)"')
_END = b"data: [DONE]\n\n"


@attrs.frozen
class Answer:
    """What a client got; *retry_after* is that header, *body* the whole stream."""

    status: int
    retry_after: str | None
    body: bytes

    @property
    def run_id(self) -> str:
        """The id that stands in each chunk; empty without any."""
        found = _ID.search(self.body)
        return found[1].decode() if found else ""

    @property
    def said(self) -> bytes:
        """The words of the model."""
        return b"".join(_CONTENT.findall(self.body))

    @property
    def outcome(self) -> str:
        """``whole``, ``told`` (a stream that ends with an error), ``sent away``.

        Everything else is ``broken``.
        """
        if self.status == 503 and self.retry_after:
            return "sent away"
        if self.status != 200 or not self.body.endswith(_END):
            return "broken"
        records = self.body[: -len(_END)].rstrip().split(b"\n\n")
        last = json.loads(records[-1].removeprefix(b"data: "))
        return "told" if "error" in last else "whole"


class Load:
    """Begins a stream so many times a second, each on a connection of its own.

    *outcomes* counts them, *broken* tells of what must not happen, *texts* are those
    of whole answers, *whole* and *told* the ids of such runs.
    """

    def __init__(self, port: int, rate: int) -> None:
        self._port, self._rate = port, rate
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.begun = 0
        self.outcomes: Counter[str] = Counter()
        self.texts: set[bytes] = set()
        self.whole: list[str] = []
        self.told: list[str] = []
        self.broken: list[str] = []

    def run(self) -> None:
        """Go on until ``stop``, then wait for what is under way."""
        started, threads = time.monotonic(), []
        while not self._stop.is_set():
            thread = threading.Thread(target=self._stream)
            thread.start()
            threads.append(thread)
            self.begun += 1
            due = started + self.begun / self._rate
            self._stop.wait(max(due - time.monotonic(), 0))
            threads = [one for one in threads if one.is_alive()]
        for thread in threads:
            thread.join(PATIENCE)

    def stop(self) -> None:
        """Begin no more."""
        self._stop.set()

    def _stream(self) -> None:
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            client.connect()
            client.sock.sendall(request(processes.TOKEN, stream=True))
            response = http.client.HTTPResponse(client.sock)
            response.begin()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._note("broken", repr(error))
            return
        finally:
            client.close()
        answer = Answer(response.status, response.headers["Retry-After"], body)
        tail = f"{answer.status} {body[-200:]!r}"
        self._note(answer.outcome, tail, answer)

    def _note(self, outcome: str, tail: str, answer: Answer | None = None) -> None:
        with self._lock:
            self.outcomes[outcome] += 1
            if outcome == "broken" or answer is None:
                self.broken.append(tail)
            elif outcome == "whole":
                self.whole.append(answer.run_id)
                self.texts.add(answer.said)
            elif outcome == "told":
                self.told.append(answer.run_id)
