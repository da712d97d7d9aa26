"""What strangers may send: one answer each, never two, and never a traceback."""

from __future__ import annotations

import pytest

from moltbot_gw.http.channel import LINGER_SECONDS
from tests.http.vectors import FOLLOWER, VECTORS, Vector
from tests.http.vectors_more import LATE, MORE
from tests.support.gateway import Connection, Gateway
from tests.support.http_client import Answer

ALL = [*VECTORS, *MORE]

every_vector = pytest.mark.parametrize("vector", ALL, ids=lambda v: v.name)
late_vectors = pytest.mark.parametrize(
    ("vector", "seconds"), LATE, ids=[vector.name for vector, _ in LATE]
)
whole_and_in_bytes = pytest.mark.parametrize("by", [None, 1], ids=["whole", "bytes"])


def check_answer(vector: Vector, answer: Answer) -> None:
    assert answer.status == vector.status
    assert answer.header("server") is None
    assert answer.header("content-length") == str(len(answer.body))
    assert answer.header("x-request-id")
    if vector.code is None:
        assert answer.json["object"] == "list"
    else:
        assert answer.error["code"] == vector.code


def check_connection(vector: Vector, connection: Connection, gateway: Gateway) -> None:
    """Whatever comes behind a refused request is never read as another one."""
    answers = len(connection.answers())
    connection.send(FOLLOWER)
    if vector.closes:
        gateway.advance(LINGER_SECONDS)
        assert len(connection.answers()) == answers
        assert connection.socket.closed is not None
    else:
        assert [a.status for a in connection.answers()[answers:]] == [200]
        assert not connection.closed


@every_vector
@whole_and_in_bytes
def test_each_vector_has_its_one_answer(
    vector: Vector, by: int | None, gateway: Gateway
) -> None:
    connection = gateway.send(vector.raw, by=by)
    check_answer(vector, connection.answer())
    assert connection.closed == vector.closes
    check_connection(vector, connection, gateway)
    assert gateway.model.calls == []
    assert gateway.sessions() == {}


@every_vector
def test_what_follows_in_the_same_segment_does_not_slip_in(
    vector: Vector, gateway: Gateway
) -> None:
    connection = gateway.send(vector.raw + FOLLOWER)
    statuses = [answer.status for answer in connection.answers()]
    assert statuses == [vector.status, *([] if vector.closes else [200])]


@every_vector
def test_the_second_request_is_judged_like_the_first(
    vector: Vector, gateway: Gateway
) -> None:
    connection = gateway.send(FOLLOWER + vector.raw)
    first, second = connection.answers()
    assert first.status == 200
    check_answer(vector, second)
    assert connection.closed == vector.closes


@late_vectors
@whole_and_in_bytes
def test_what_lacks_something_is_answered_at_its_deadline(
    vector: Vector, seconds: float, by: int | None, gateway: Gateway
) -> None:
    connection = gateway.send(vector.raw, by=by)
    gateway.advance(seconds - 0.01)
    assert connection.received == b""
    gateway.advance(0.02)
    check_answer(vector, connection.answer())
    check_connection(vector, connection, gateway)
    assert gateway.model.calls == []
    assert gateway.sessions() == {}


def test_there_are_enough_vectors() -> None:
    names = [vector.name for vector in (*ALL, *(late for late, _ in LATE))]
    assert len(names) >= 300
    assert len(set(names)) == len(names)
