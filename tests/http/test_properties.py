"""Whatever bytes come, however they are cut: no defect shows, no answer is lost."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.vectors import VECTORS
from tests.support.gateway import Gateway, LogTape
from tests.support.http_client import (
    chat_body,
    chat_request,
    chunked,
    http_request,
    read_answers,
)

PATH = "/v1/chat/completions"
VALID: list[tuple[bytes, int]] = [
    (http_request(), 200),
    (http_request(token=None), 401),
    (http_request("GET", "/nothing"), 404),
    (http_request("GET", PATH), 405),
    (http_request("GET", "/models", b"ignored"), 200),
    (http_request("POST", PATH, b"{}"), 400),
    (http_request("POST", PATH, chat_body(model="agent:echo")), 200),
    (chat_request(model="agent:echo", stream=True), 200),
    (
        http_request("POST", PATH, Transfer_Encoding="chunked")
        + chunked(b'{"messages":[{"role":"user",', b'"content":"x"}],"n":2}'),
        400,
    ),
]
PIECES = st.sampled_from(
    [v.raw[:3000] for v in VECTORS]
    + [raw for raw, _ in VALID]
    + [b"\r\n", b"\n", b"\r", b" ", b":", b"0\r\n\r\n", b"5;", b"HTTP/1.1", b"GET /"]
)


def send_in_parts(gateway: Gateway, data: bytes, cuts: list[int]) -> bytes:
    """Send *data* cut at *cuts*; return what the client has got in the end."""
    connection = gateway.connect()
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(places):
        connection.send(data[start:end])
    gateway.advance(1)
    return connection.received


@settings(max_examples=150, deadline=None)
@given(
    st.lists(PIECES | st.binary(max_size=200), max_size=6),
    st.lists(st.integers(0, 10**6), max_size=8),
)
def test_random_bytes_cause_no_defect(parts: list[bytes], cuts: list[int]) -> None:
    with LogTape() as log:
        gateway = Gateway()
        received = send_in_parts(gateway, b"".join(parts), cuts)
        answers = read_answers(received)
        gateway.close()
    assert all(answer.status < 500 for answer in answers)
    assert log.problems == []


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(VALID), min_size=1, max_size=5),
    st.lists(st.integers(0, 10**6), max_size=12),
)
def test_each_valid_request_has_its_one_answer_however_it_is_cut(
    requests: list[tuple[bytes, int]], cuts: list[int]
) -> None:
    with LogTape() as log:
        gateway = Gateway()
        received = send_in_parts(gateway, b"".join(r for r, _ in requests), cuts)
        gateway.close()
    answers = read_answers(received)
    assert [answer.status for answer in answers] == [status for _, status in requests]
    assert all(answer.complete for answer in answers)
    assert log.problems == []
