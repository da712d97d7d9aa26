"""``moltbot logs``: the gateway's log, read through the gateway."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
from twisted.internet.task import deferLater

from moltbot_gw.cli.answers import checked
from moltbot_gw.cli.calling import explain, in_reactor
from moltbot_gw.cli.loglines import LogLine, parse_line
from moltbot_gw.cli.output import Failure, for_stdout, warn
from moltbot_gw.cli.reach import Reach, find_reach, flags_of, reach_options
from moltbot_gw.cli.surroundings import Surroundings, pass_surroundings
from moltbot_gw.client import (
    ClientError,
    ConnectFailed,
    GatewayClosed,
    GatewayConnection,
    TimedOut,
    connect,
)

MAX_PAUSE = 30.0
"""Seconds between two tries to reach a gateway that has gone."""

_DOWN = "Gateway not reachable. Is it running and accessible?"
_HINT = "Run: moltbot doctor"


@click.command()
@click.option("--follow", is_flag=True, help="Go on with what is written later.")
@click.option(
    "--limit",
    type=click.IntRange(1, 5000),
    default=200,
    show_default=True,
    help="Lines.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(1, 1_000_000),
    default=250_000,
    show_default=True,
    help="Bytes of the log's end to read.",
)
@click.option(
    "--interval",
    type=click.IntRange(min=10),
    default=1000,
    show_default=True,
    metavar="MS",
    help="Between two looks, with --follow.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line.")
@click.option("--plain", is_flag=True, help="Write whole times, and no colours.")
@click.option("--expect-final", is_flag=True, hidden=True)
@reach_options()
@pass_surroundings
def logs(
    surroundings: Surroundings,
    /,
    follow: bool,
    limit: int,
    max_bytes: int,
    interval: int,
    as_json: bool,
    plain: bool,
    expect_final: bool,
    **given: Any,
) -> None:
    """Show the end of the gateway's log."""
    surroundings.warn_if_invalid()
    reach = find_reach(surroundings, flags_of(given), strict=False)
    pretty = not plain and sys.stdout.isatty()
    printer = JsonPrinter() if as_json else TextPrinter(pretty)
    tail = Tail(reach, printer, {"limit": limit, "maxBytes": max_bytes})
    try:
        in_reactor(
            lambda reactor: tail.run(reactor, interval / 1000 if follow else None)
        )
    except ClientError as error:
        raise printer.failure(str(error), reach, error) from None


class Tail:
    """Asks for what was written since the last time."""

    def __init__(
        self, reach: Reach, printer: TextPrinter, bounds: dict[str, int]
    ) -> None:
        self._reach = reach
        self._printer = printer
        self._bounds = bounds
        self._cursor: int | None = None
        self._file: str | None = None
        self._pause = 0.0

    async def run(self, reactor: Any, interval: float | None) -> None:
        """Look once, or every *interval* seconds until a signal comes.

        A gateway that was reached once may go and come again: it is tried after
        *interval*, then after ever longer times up to ``MAX_PAUSE``.
        """
        while True:
            try:
                return await self._watch(reactor, interval)
            except ClientError as error:
                if interval is None or self._cursor is None or not _may_pass(error):
                    raise
                why = str(error)
            self._pause = min(max(2 * self._pause, interval), MAX_PAUSE)
            warn(f"{why}; trying again in {self._pause:g} s")
            await deferLater(reactor, self._pause)

    async def _watch(self, reactor: Any, interval: float | None) -> None:
        """Look over one connection."""
        timeout = self._reach.timeout
        connection = await connect(reactor, self._reach.target, timeout=timeout)
        try:
            await self._look(connection)
            if self._pause:
                warn("Connected again.")
            self._pause = 0.0
            while interval is not None:
                await deferLater(reactor, interval)
                await self._look(connection)
        finally:
            await connection.close()

    async def _look(self, connection: GatewayConnection) -> None:
        params: dict[str, int] = dict(self._bounds)
        if self._cursor is not None:
            params["cursor"] = self._cursor
        answer = checked(
            "logs.tail",
            await connection.request("logs.tail", params, timeout=self._reach.timeout),
        )
        first, self._cursor = self._cursor is None, answer["cursor"]
        if first or answer["file"] != self._file:
            self._file = answer["file"]
            self._printer.meta(answer)
            if not self._file:
                self._printer.notice("The gateway keeps no log file.")
        if answer.get("reset") and not first:
            self._printer.notice("Log cursor reset (file rotated).")
        elif answer.get("truncated"):
            self._printer.notice("Log tail truncated (increase --max-bytes).")
        for line in answer["lines"]:
            self._printer.line(parse_line(line))
        sys.stdout.flush()


def _may_pass(error: ClientError) -> bool:
    """Whether a gateway that restarts may be all that is behind *error*."""
    if isinstance(error, ConnectFailed):
        return not error.is_unauthorized
    return isinstance(error, (GatewayClosed, TimedOut))


class TextPrinter:
    """Lines for people; *pretty* ones have the time of day only."""

    def __init__(self, pretty: bool) -> None:
        self._pretty = pretty

    def meta(self, answer: dict[str, Any]) -> None:
        """Say which file it is."""
        click.echo(for_stdout(f"Log file: {answer['file'] or 'none'}"))

    def notice(self, message: str) -> None:
        """Say something about the log itself."""
        warn(message)

    def line(self, line: LogLine) -> None:
        """Write one line of the log."""
        click.echo(for_stdout(line.text(self._pretty)))

    def failure(self, why: str, reach: Reach, error: ClientError) -> Failure:
        """Return what ends the command."""
        words = explain(error, reach)
        if words == why:
            return Failure(why)
        return Failure(f"{_DOWN}\n{words}\n{_HINT}")


class JsonPrinter(TextPrinter):
    """Objects for scripts, one a line."""

    def __init__(self) -> None:
        super().__init__(pretty=False)

    def meta(self, answer: dict[str, Any]) -> None:
        """Say which file it is, and how far it goes."""
        names = ("file", "cursor", "size")
        self._write({"type": "meta", **{name: answer.get(name) for name in names}})

    def notice(self, message: str) -> None:
        """Say something about the log itself."""
        self._write({"type": "notice", "message": message})

    def line(self, line: LogLine) -> None:
        """Write one line of the log."""
        self._write(line.to_json())

    def failure(self, why: str, reach: Reach, error: ClientError) -> Failure:
        """Return what ends the command: one object on stderr."""
        words = {
            "type": "error",
            "message": _DOWN,
            "error": why,
            "details": reach.block(),
            "hint": _HINT,
        }
        return Failure(json.dumps(words, ensure_ascii=False))

    def _write(self, value: dict[str, Any]) -> None:
        click.echo(json.dumps(value, ensure_ascii=False))
