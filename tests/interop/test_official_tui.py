"""The original's terminal UI, in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.interop.machine import PATIENCE, Machine
from tests.interop.terminal import Terminal

CTRL_D = "\x04"


@contextmanager
def _opened(machine: Machine, session: str) -> Iterator[Terminal]:
    """The UI once it is connected; it leaves with status 0."""
    terminal = machine.open("tui", "--session", session)
    try:
        terminal.wait_for(_any("gateway connected"), PATIENCE)
        yield terminal
        terminal.type(CTRL_D)
        assert terminal.wait(PATIENCE) == 0
    finally:
        terminal.close()


def _any(text: str) -> Callable[[list[str]], bool]:
    return lambda lines: any(text in line for line in lines)


def _said_and_answered(text: str) -> Callable[[list[str]], bool]:
    """Whether *text* stands there as the user's words and as the agent's."""
    return lambda lines: lines.count(text) == 2


def _idle(lines: list[str]) -> bool:
    return any(line.endswith("| idle") for line in lines)


def test_message_is_answered_and_found_again(machine: Machine) -> None:
    said = "seven words that come back to me"
    with _opened(machine, "interop-tui") as terminal:
        terminal.type(said + "\r")
        terminal.wait_for(_said_and_answered(said), PATIENCE)
        terminal.wait_for(_idle, PATIENCE)
    with _opened(machine, "interop-tui") as terminal:
        terminal.wait_for(_said_and_answered(said), PATIENCE)


def test_command_of_the_ui_shows_the_gateways_status(machine: Machine) -> None:
    with _opened(machine, "interop-status") as terminal:
        terminal.type("/status\r")
        terminal.wait_for(_any("Gateway status"), PATIENCE)
