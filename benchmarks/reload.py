"""Reloads under load: who is refused, whose turn is cut, and what is left in memory."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.load import request

STREAMS_A_SECOND = 50
RELOADS, BAD_EVERY = 100, 5
CHUNKS, PACE = 32, 0.02
RELOAD_SECONDS = 0.6
WARM_UP_SECONDS = 10.0
PATIENCE = 60.0
_CONTENT = re.compile(rb'"content":"([^"]*)"')


class Load:
    """Begins a stream so many times a second, each on a connection of its own."""

    def __init__(self, port: int, rate: int) -> None:
        self._port, self._rate = port, rate
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.begun = self.whole = 0
        self.texts: set[bytes] = set()
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
            self._note(repr(error), b"")
            return
        finally:
            client.close()
        is_whole = response.status == 200 and body.endswith(b"data: [DONE]\n\n")
        is_whole = is_whole and b'"error"' not in body
        said = b"".join(_CONTENT.findall(body))
        self._note("" if is_whole else f"{response.status} {body[-200:]!r}", said)

    def _note(self, problem: str, said: bytes) -> None:
        with self._lock:
            if problem:
                self.broken.append(problem)
            else:
                self.whole += 1
                self.texts.add(said)


def measure(
    rate: int = STREAMS_A_SECOND, reloads: int = RELOADS
) -> Iterator[dict[str, Any]]:
    """Give the results: the load without a reload, to compare with, and with them."""
    for is_changing in (False, True):
        yield _measure(rate, reloads, is_changing=is_changing)


def _measure(rate: int, reloads: int, *, is_changing: bool) -> dict[str, Any]:
    with (
        processes.provider(CHUNKS, PACE) as provider_port,
        processes.gateway(provider_port) as (pid, port),
    ):
        folder = _folder_of(pid)
        load = Load(port, rate)
        thread = threading.Thread(target=load.run)
        thread.start()
        time.sleep(WARM_UP_SECONDS)
        before = processes.resident_kib(pid), _descriptors(pid)
        memory = [before[0]]
        for number in range(1, reloads + 1):
            if is_changing:
                _change(folder, number, bad=number % BAD_EVERY == 0)
                os.kill(pid, signal.SIGHUP)
            time.sleep(RELOAD_SECONDS)
            memory.append(processes.resident_kib(pid))
        load.stop()
        thread.join()
        # twistd begins another file when one is large.
        files = [folder / "log", *folder.glob("log.[0-9]*")]
        log = "".join(file.read_text() for file in files)
        return {
            "name": f"{rate} streams a second, {reloads * is_changing} reloads",
            "streams": load.begun,
            "whole": load.whole,
            "broken": len(load.broken),
            "first_broken": load.broken[:3],
            "different_texts": len(load.texts),
            "taken": log.count("the configuration was reloaded"),
            "refused": log.count("the configuration was not reloaded"),
            "failures": log.count("Traceback"),
            "mib": [round(kib / 1024, 1) for kib in _quarters(memory)],
            "descriptors": [before[1], _descriptors(pid)],
        }


def _change(folder: Path, number: int, *, bad: bool) -> None:
    path = folder / "moltbot.json"
    if bad:
        path.rename(folder / "good.json")
        path.write_text(f'{{"gateway": {{"port": "none", "x{number}": ')
        return
    good = folder / "good.json"
    if good.exists():
        good.replace(path)
    config = json.loads(path.read_text())
    config["gateway"]["limits"]["maxQueuedRuns"] = 5000 + number
    provider = config["models"]["providers"]["bench"]
    provider["apiKey"] = f"key-{number}"  # another provider, whose pool is another
    config["agents"]["list"] = [{"id": "main"}, {"id": f"agent-{number}"}]
    fresh = folder / "fresh.json"
    fresh.write_text(json.dumps(config))
    fresh.replace(path)


def _quarters(memory: list[int]) -> list[int]:
    last = len(memory) - 1
    return [memory[last * part // 4] for part in range(5)]


def _folder_of(pid: int) -> Path:
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    (home,) = [v[5:].decode() for v in variables if v.startswith(b"HOME=")]
    return Path(home)


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
