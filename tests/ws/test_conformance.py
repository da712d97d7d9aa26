"""The table of RFC 6455 against an echoing server on fake sockets and a fake clock."""

from __future__ import annotations

from typing import get_args

import pytest

from tests.ws import conformance
from tests.ws.conformance import Case, EchoTarget, Segments
from tests.ws.echo import EchoGateway

CASES = list(conformance.all_cases())


def test_each_case_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_echo_conforms(echo_gateway: EchoGateway, case: Case) -> None:
    for segments in get_args(Segments):
        client = echo_gateway.open(Sec_WebSocket_Extensions=case.offer)
        conformance.run(case, EchoTarget(), client, echo_gateway.advance, segments)
        assert len(client.handler.ends) == 1
        assert echo_gateway.clock.getDelayedCalls() == []
