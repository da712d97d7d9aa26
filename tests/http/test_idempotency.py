"""``Idempotency-Key``: repeats that join a run, that replay it, that are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.agents.keyed import KEPT_SECONDS
from moltbot_gw.errors import ProviderFailed, StoreFailed
from moltbot_gw.events import Usage
from moltbot_gw.sessions import SqliteSessionStore
from tests.agents.support import GatedStore, SteppingPump
from tests.support.gateway import Connection, Gateway
from tests.support.http_client import Answer, chat_body, chat_request, http_request
from tests.support.memory_store import MemorySessionStore

MakeGateway = Callable[..., Gateway]
PATH = "/v1/chat/completions"
REPLAYED = "idempotent-replayed"
SESSION = "x-moltbot-session-key"
USAGE = Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3)


def keyed(
    key: str = "k-1", headers: dict[str, str] | None = None, **fields: Any
) -> bytes:
    """Return a completion request with a key."""
    return chat_request({"Idempotency-Key": key, **(headers or {})}, **fields)


def play(gateway: Gateway, *words: str) -> None:
    """Let the model answer its last call."""
    call = gateway.model.calls[-1]
    call.say(*words)
    call.finish("length", USAGE)


def error_of(answer: Answer) -> tuple[int, str, str | None]:
    return answer.status, answer.error["code"], answer.error["param"]


REUSED = (409, "idempotency_key_reused")


# -- joining


def test_repeat_waits_for_the_same_answer(gateway: Gateway) -> None:
    first = gateway.send(keyed())
    gateway.model.calls[0].say("hel")
    second = gateway.send(keyed())
    play(gateway, "lo")
    assert first.answer().json == second.answer().json
    assert second.answer().json["choices"][0]["message"]["content"] == "hello"
    assert len(gateway.model.calls) == 1


def test_repeated_stream_begins_with_the_first_word(gateway: Gateway) -> None:
    first = gateway.send(keyed(stream=True))
    gateway.model.calls[0].say("hel")
    second = gateway.send(keyed(stream=True))
    assert second.stream().text == "hel"
    play(gateway, "lo")
    answers = [first.answer(), second.answer()]
    assert [answer.text for answer in answers] == ["hello", "hello"]
    assert answers[0].chunks[0]["id"] == answers[1].chunks[0]["id"]
    assert answers[1].chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert len(gateway.model.calls) == 1


def test_joined_answer_names_the_session_of_the_run(gateway: Gateway) -> None:
    first, second = gateway.send(keyed()), gateway.send(keyed())
    play(gateway)
    names = {one.answer().header(SESSION) for one in (first, second)}
    assert names == set(gateway.sessions())


def test_whoever_joins_has_not_got_a_replay(gateway: Gateway) -> None:
    first, second = gateway.send(keyed()), gateway.send(keyed())
    play(gateway)
    assert [one.answer().header(REPLAYED) for one in (first, second)] == [None, None]


def test_slow_reader_of_a_joined_stream_delays_nobody(gateway: Gateway) -> None:
    slow, fast = gateway.send(keyed(stream=True)), gateway.send(keyed(stream=True))
    slow.socket.fill()
    gateway.model.calls[0].say("hello")
    assert not gateway.model.calls[0].paused
    assert fast.stream().text == "hello"
    fast.socket.fill()
    assert gateway.model.calls[0].paused
    slow.socket.drain()
    assert not gateway.model.calls[0].paused
    assert slow.stream().text == "hello"
    fast.socket.drain()
    play(gateway)
    assert slow.answer().text == fast.answer().text


def test_equal_requests_of_one_instant_make_one_run(make_gateway: MakeGateway) -> None:
    store = GatedStore("find")
    gateway = make_gateway(store=store)
    connections = [gateway.send(keyed()) for _ in range(3)]
    assert gateway.model.calls == []
    store.open_gate()
    play(gateway, "hello")
    assert len({one.answer().json["id"] for one in connections}) == 1
    assert (len(gateway.model.calls), store.looked_up) == (1, ["k-1"])


# -- replaying


def test_repeat_after_the_end_gets_the_same_answer(gateway: Gateway) -> None:
    first = gateway.send(keyed(user="alice"))
    gateway.model.calls[0].think("hm")
    play(gateway, "hello")
    repeated = gateway.ask(keyed(user="alice"))
    assert repeated.status == 200
    assert repeated.json == first.answer().json
    assert first.answer().header(REPLAYED) is None
    assert repeated.header(REPLAYED) == "true"
    assert repeated.header(SESSION) == "agent:main:openai-user:alice"
    assert len(gateway.model.calls) == 1


def test_repeated_stream_after_the_end_has_the_same_words(gateway: Gateway) -> None:
    options = {"include_usage": True}
    first = gateway.send(keyed(stream=True, stream_options=options))
    gateway.model.calls[0].think("hm")
    play(gateway, "hel", "lo")
    repeated = gateway.ask(keyed(stream=True, stream_options=options))
    assert repeated.text == first.answer().text == "hello"
    assert repeated.chunks[-2:] == first.answer().chunks[-2:]
    assert repeated.chunks[0]["id"] == first.answer().chunks[0]["id"]
    assert repeated.header(REPLAYED) == "true"
    assert repeated.records[-1] == "[DONE]"


def test_replay_names_the_anonymous_session_of_the_run(gateway: Gateway) -> None:
    first = gateway.send(keyed())
    play(gateway)
    repeated = gateway.ask(keyed())
    assert repeated.header(SESSION) == first.answer().header(SESSION)
    assert list(gateway.sessions()) == [repeated.header(SESSION)]


def test_replay_spells_the_session_as_the_client_does(gateway: Gateway) -> None:
    request = keyed(headers={"X-Moltbot-Session-Key": "Mine"})
    gateway.send(request)
    play(gateway)
    assert gateway.ask(request).header(SESSION) == "Mine"


def test_repeat_adds_nothing_to_the_session(gateway: Gateway) -> None:
    gateway.send(keyed(user="alice"))
    play(gateway, "hello")
    gateway.ask(keyed(user="alice"))
    assert len(gateway.history("agent:main:openai-user:alice")) == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("words", [(), ("half",)])
def test_failure_is_repeated_with_its_status(
    gateway: Gateway, stream: bool, words: tuple[str, ...]
) -> None:
    gateway.send(keyed(stream=stream))
    gateway.model.calls[0].say(*words)
    gateway.model.calls[0].fail(ProviderFailed("It broke.", code="odd_code"))
    repeated = gateway.ask(keyed(stream=stream))
    assert repeated.status == 502
    assert repeated.error == {
        "message": "It broke.",
        "type": "api_error",
        "param": None,
        "code": "odd_code",
    }
    assert repeated.header("x-should-retry") == "false"
    assert repeated.header(REPLAYED) == "true"
    assert len(gateway.model.calls) == 1


def test_first_failure_is_no_replay(gateway: Gateway) -> None:
    gateway.model.error = ProviderFailed("It broke.")
    for request in (chat_request(), keyed()):
        answer = gateway.ask(request)
        assert (answer.status, answer.header(REPLAYED)) == (502, None)


def test_answer_is_kept_for_a_day(gateway: Gateway) -> None:
    gateway.send(keyed())
    play(gateway, "hello")
    gateway.advance(KEPT_SECONDS)
    assert gateway.ask(keyed()).header(REPLAYED) == "true"
    gateway.advance(1)
    again = gateway.send(keyed())
    play(gateway, "again")
    assert again.answer().json["choices"][0]["message"]["content"] == "again"


def test_request_without_a_key_is_never_looked_up(make_gateway: MakeGateway) -> None:
    store = GatedStore()
    gateway = make_gateway(store=store)
    ids = {gateway.complete().json["id"] for _ in range(2)}
    assert (len(ids), store.looked_up) == (2, [])


# -- across a restart


def test_answer_outlives_a_restart(make_gateway: MakeGateway) -> None:
    store = MemorySessionStore()
    before = make_gateway(store=store)
    first = before.send(keyed())
    play(before, "hello")
    after = make_gateway(store=store)
    assert after.ask(keyed()).json == first.answer().json
    assert error_of(after.ask(keyed(user="other")))[:2] == REUSED
    assert after.model.calls == []


class Disk:
    """A file of sessions, and the gateways that use it one after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pump = SteppingPump()
        self._store = SqliteSessionStore(path, self._pump)
        self._gateways: list[Gateway] = []

    def boot(self) -> Gateway:
        """Return a gateway; the one before has lost the file."""
        self.close()
        self._store = SqliteSessionStore(self._path, self._pump)
        self._pump.wait(self._store.open())
        self._gateways.append(Gateway(store=self._store))
        return self._gateways[-1]

    def wait(self, gateway: Gateway, condition: Callable[[], object]) -> None:
        """Let the disk work until *condition* holds."""

        def holds() -> object:
            gateway.advance(0)
            return condition()

        self._pump.until(holds)

    def close(self) -> None:
        self._pump.wait(self._store.close())

    def bury(self) -> None:
        """End what the gateways left; else the collector would, in another test."""
        for gateway in self._gateways:
            gateway.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "sessions.sqlite")
    yield disk
    disk.close()
    disk.bury()


def test_answer_on_the_disk_outlives_a_restart(disk: Disk) -> None:
    before = disk.boot()
    first, second = before.send(keyed()), before.send(keyed())
    disk.wait(before, lambda: before.model.calls)
    play(before, "hello")
    disk.wait(before, lambda: first.received and second.received)
    before.close()
    after = disk.boot()
    repeated, other = after.send(keyed()), after.send(keyed(user="other"))
    disk.wait(after, lambda: repeated.received and other.received)
    answers = [one.answer().json for one in (first, second, repeated)]
    assert answers == [answers[0]] * 3
    assert error_of(other.answer())[:2] == REUSED
    assert after.model.calls == []
    after.close()


def test_run_that_a_crash_cut_off_runs_anew(disk: Disk) -> None:
    before = disk.boot()
    before.send(keyed())
    disk.wait(before, lambda: before.model.calls)
    after = disk.boot()
    again = after.send(keyed())
    disk.wait(after, lambda: after.model.calls)
    play(after, "hello")
    disk.wait(after, lambda: again.received)
    assert again.answer().json["choices"][0]["message"]["content"] == "hello"
    after.close()


# -- other requests under the same key


@pytest.mark.parametrize("moment", ["running", "ended"])
@pytest.mark.parametrize(
    "other",
    [
        keyed(user="bob"),
        keyed(user="alice", stream=True),
        keyed(user="alice", headers={"X-Moltbot-Agent-Id": "beta"}),
        keyed(user="alice", headers={"X-OpenClaw-Agent": "beta"}),
        keyed(user="alice", headers={"x-clawdbot-session-key": "main"}),
    ],
)
def test_key_of_another_request_is_refused(
    gateway: Gateway, moment: str, other: bytes
) -> None:
    gateway.send(keyed(user="alice"))
    if moment == "ended":
        play(gateway)
    answer = gateway.ask(other)
    assert error_of(answer)[:2] == REUSED
    assert answer.header(REPLAYED) is None
    assert len(gateway.model.calls) == 1


def test_body_is_compared_byte_by_byte(gateway: Gateway) -> None:
    body = chat_body()
    gateway.send(http_request("POST", PATH, body, Idempotency_Key="k-1"))
    spaced = http_request("POST", PATH, body + b" ", Idempotency_Key="k-1")
    assert error_of(gateway.ask(spaced))[:2] == REUSED


def test_other_headers_make_no_other_request(gateway: Gateway) -> None:
    first = gateway.send(keyed(headers={"User-Agent": "one"}))
    second = gateway.send(keyed(headers={"User-Agent": "two", "X-Retry": "1"}))
    play(gateway)
    assert first.answer().json == second.answer().json


def test_other_keys_are_other_requests(gateway: Gateway) -> None:
    for key in ("k-1", "K-1", "k-1 x", "~" * 255):
        gateway.send(keyed(key))
    assert len(gateway.model.calls) == 4


@pytest.mark.parametrize(
    "lines",
    [
        ["Idempotency-Key:"],
        ["Idempotency-Key:  "],
        ["Idempotency-Key: " + "k" * 256],
        ["Idempotency-Key: ké"],
        ["Idempotency-Key: k\tx"],
        ["Idempotency-Key: k", "Idempotency-Key: k"],
        ["Idempotency-Key: k", "idempotency-key: x"],
    ],
)
def test_key_that_is_none_is_refused(gateway: Gateway, lines: list[str]) -> None:
    added = "".join(f"{line}\r\n" for line in lines).encode("utf-8")
    request = chat_request().replace(b"\r\n\r\n", b"\r\n" + added + b"\r\n", 1)
    answer = gateway.ask(request)
    assert error_of(answer) == (400, "invalid_value", "idempotency-key")
    assert gateway.model.calls == []


@pytest.mark.parametrize("name", ["idempotency-key", "IDEMPOTENCY-KEY"])
def test_name_of_the_header_has_any_case(gateway: Gateway, name: str) -> None:
    gateway.send(keyed())
    play(gateway)
    assert gateway.ask(chat_request({name: "k-1"})).header(REPLAYED) == "true"


# -- what is not remembered


def test_refused_request_leaves_its_key_free(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(max_concurrent=1, max_waiting=0)
    missing = http_request("POST", PATH, b"{}", Idempotency_Key="k-1")
    broken = http_request("POST", PATH, b"{", Idempotency_Key="k-1")
    nobody = keyed(model="moltbot:nobody")
    assert [gateway.ask(one).status for one in (missing, broken, nobody)] == [
        400,
        400,
        404,
    ]
    gateway.send(chat_request())
    assert error_of(gateway.ask(keyed(user="bob")))[:2] == (429, "queue_full")
    gateway.model.calls[0].finish()
    second = gateway.send(keyed())
    play(gateway, "hello")
    assert second.answer().status == 200


def test_draining_gateway_refuses_a_repeat_it_cannot_join(gateway: Gateway) -> None:
    going = gateway.send(keyed("going"))
    gateway.send(keyed("ended"))
    play(gateway)
    gateway.drain()
    joined = gateway.send(keyed("going"))
    assert gateway.ask(keyed("ended")).status == 200
    assert error_of(gateway.ask(keyed("fresh")))[:2] == (503, "draining")
    gateway.model.calls[0].finish()
    assert joined.answer().json == going.answer().json


def test_failing_look_is_told_to_all_and_not_remembered(
    make_gateway: MakeGateway,
) -> None:
    store = GatedStore("find")
    gateway = make_gateway(store=store)
    connections = [gateway.send(keyed()), gateway.send(keyed())]
    while store.held:
        store.break_gate()
    for connection in connections:
        assert error_of(connection.answer())[:2] == (500, "session_store_error")
    store.gates = set()
    again = gateway.send(keyed(user="bob"))
    play(gateway)
    assert again.answer().status == 200


def test_failing_store_is_told(gateway: Gateway) -> None:
    gateway.store.failure = StoreFailed("The disk is full.")
    assert error_of(gateway.ask(keyed()))[:2] == (500, "session_store_error")
    gateway.store.failure = None
    again = gateway.send(keyed())
    play(gateway)
    assert again.answer().status == 200


# -- clients that go


def joined(gateway: Gateway, stream: bool) -> list[Connection]:
    return [gateway.send(keyed(stream=stream)) for _ in range(2)]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_run_is_cancelled_when_its_last_client_has_gone(
    gateway: Gateway, stream: bool, order: tuple[int, int]
) -> None:
    clients = joined(gateway, stream)
    clients[order[0]].hang_up()
    assert not gateway.model.calls[0].cancelled
    clients[order[1]].hang_up()
    assert gateway.model.calls[0].cancelled
    assert list(gateway.sessions().values()) == [True]


@pytest.mark.parametrize("stream", [False, True])
def test_client_that_stays_gets_everything(gateway: Gateway, stream: bool) -> None:
    first, second = joined(gateway, stream)
    first.hang_up()
    play(gateway, "hello")
    assert b"hello" in second.answer().body


@pytest.mark.parametrize("fields", [{}, {"user": "bob"}])
def test_repeat_after_all_have_gone_runs_anew(
    gateway: Gateway, fields: dict[str, Any]
) -> None:
    for client in joined(gateway, False):
        client.hang_up()
    again = gateway.send(keyed(**fields))
    play(gateway, "hello")
    assert again.answer().header(REPLAYED) is None
    assert len(gateway.model.calls) == 2
    assert gateway.ask(keyed(**fields)).header(REPLAYED) == "true"


def test_repeat_while_the_cancelled_run_is_stored_runs_anew(
    make_gateway: MakeGateway,
) -> None:
    store = GatedStore("end")
    gateway = make_gateway(store=store)
    gateway.send(keyed()).hang_up()
    again = gateway.send(keyed())
    assert again.received == b""
    store.gates = set()
    store.open_gate()
    play(gateway, "hello")
    assert again.answer().status == 200
    assert len(gateway.model.calls) == 2


def test_client_that_goes_during_the_look_starts_nothing(
    make_gateway: MakeGateway,
) -> None:
    store = GatedStore("find")
    gateway = make_gateway(store=store)
    gateway.send(keyed()).hang_up()
    store.open_gate()
    assert gateway.model.calls == []
    store.gates = set()
    again = gateway.send(keyed())
    play(gateway)
    assert again.answer().status == 200


def test_run_that_goes_on_without_clients_can_be_joined_and_replayed(
    make_gateway: MakeGateway,
) -> None:
    gateway = make_gateway(on_disconnect="finish")
    for client in joined(gateway, True):
        client.hang_up()
    assert not gateway.model.calls[0].cancelled
    third = gateway.send(keyed(stream=True))
    play(gateway, "hello")
    assert third.answer().text == "hello"
    assert gateway.ask(keyed(stream=True)).header(REPLAYED) == "true"
