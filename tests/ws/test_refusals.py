from __future__ import annotations

from tests.support.control import Control, connect_params
from tests.support.gateway import LogTape
from tests.ws.connecting import connect


def test_words_of_a_stranger_bring_nothing_for_terminals_into_the_log(
    control: Control, log: LogTape
) -> None:
    client = control.client()
    params = {**connect_params(), "\x1b[2J\nroot": 1}
    message = connect(control, client, params)["error"]["message"]
    assert message.startswith("invalid connect params: ")
    assert "?[2J?root" in message
    assert all(line.isprintable() for line in log.lines)
