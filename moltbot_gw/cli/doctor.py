"""``moltbot doctor``: look for what is wrong, and say how to mend it."""

from __future__ import annotations

from typing import Any

import attrs
import click

from moltbot_gw.cli.calling import in_reactor, probe
from moltbot_gw.cli.checks import (
    Finding,
    check_config,
    check_secret,
    check_state,
    check_transport,
)
from moltbot_gw.cli.checks_models import check_models
from moltbot_gw.cli.checks_network import check_gateway, check_providers
from moltbot_gw.cli.checks_tools import check_tools
from moltbot_gw.cli.output import Failure, counted, write, write_json
from moltbot_gw.cli.reach import find_reach, flags_of, reach_options
from moltbot_gw.cli.surroundings import Surroundings, pass_surroundings

_MARKS = {"ok": "[ok]", "note": "[--]", "wrong": "[!!]"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Write the findings as JSON.")
@click.option("--offline", is_flag=True, help="Knock nowhere: look at this disk only.")
@reach_options(3000)
@pass_surroundings
def doctor(
    surroundings: Surroundings, /, as_json: bool, offline: bool, **given: Any
) -> None:
    """Look for what is wrong; status 1 if anything is.

    Nothing is changed, and no provider is sent a key.
    """
    findings = examine(surroundings, offline, given)
    wrong = [one for one in findings if one.level == "wrong"]
    if as_json:
        write_json({"ok": not wrong, "findings": [_plain(one) for one in findings]})
    else:
        for one in findings:
            write(f"{_MARKS[one.level]} {one.check}: {one.message}")
            if one.fix:
                write(f"     Fix: {one.fix}")
    if wrong:
        raise Failure(f"{counted(len(wrong), 'thing')} to mend.")


def examine(
    surroundings: Surroundings, offline: bool, given: dict[str, Any]
) -> list[Finding]:
    """Return everything that was found, in the order in which to mend it."""
    loaded, findings = check_config(surroundings)
    findings += check_state(surroundings, loaded)
    try:
        reach = find_reach(surroundings, flags_of(given), strict=False)
    except Failure as error:
        why = Finding(check="gateway", level="wrong", message=error.message)
        return [*findings, attrs.evolve(why, fix="correct the configuration")]
    if loaded is not None:
        findings += check_secret(reach)
        findings += check_models(loaded.config, surroundings.home)
        findings += check_tools(loaded.config, surroundings.home)
    findings += check_transport(reach)
    if offline:
        return findings
    if loaded is not None:
        findings += check_providers(loaded.config.models.providers)
    found = in_reactor(lambda reactor: probe(reactor, reach, "status"))
    return [*findings, *check_gateway(reach, found)]


def _plain(finding: Finding) -> dict[str, Any]:
    return {k: v for k, v in attrs.asdict(finding).items() if v is not None}
