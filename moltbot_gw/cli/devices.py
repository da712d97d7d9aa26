"""``moltbot devices``: pairing, and the tokens of devices."""

from __future__ import annotations

import time
from typing import Any

import click

from moltbot_gw.cli.calling import call
from moltbot_gw.cli.output import age, warn, write, write_json
from moltbot_gw.cli.reach import find_reach, flags_of, reach_options
from moltbot_gw.cli.surroundings import Surroundings, pass_surroundings

_HIDDEN = (
    "The token is not shown. The device is given it when it connects next with the"
    " shared secret; to see it here, rotate with --show-token."
)


@click.group()
def devices() -> None:
    """Let devices in, or send them away."""


@devices.command("list")
@reach_options()
@click.option("--json", "as_json", is_flag=True, help="Write both lists as JSON.")
@pass_surroundings
def list_devices(surroundings: Surroundings, /, as_json: bool, **given: Any) -> None:
    """List who waits for approval, and who was let in."""
    reach = find_reach(surroundings, flags_of(given), strict=True)
    answer = call(reach, "device.pair.list")
    if as_json:
        write_json(answer)
        return
    now_ms = time.time() * 1000
    for heading, rows in (("Pending", answer["pending"]), ("Paired", answer["paired"])):
        write(f"{heading} ({len(rows)})")
        for row in rows:
            write(f"- {_device_line(row, now_ms)}")
            if row.get("requestId") and row.get("scopes"):
                write(f"  asks for {', '.join(row['scopes'])}")


def _device_line(row: dict[str, Any], now_ms: float) -> str:
    since = row.get("ts") or row.get("approvedAtMs")
    parts = [
        row.get("requestId"),
        row["deviceId"],
        row.get("displayName"),
        row.get("platform"),
        row.get("remoteIp"),
        ", ".join(row.get("roles") or [row.get("role") or "operator"]),
        age(since, now_ms),
    ]
    return " · ".join(part for part in parts if part)


@devices.command()
@click.argument("request_id")
@reach_options()
@click.option("--json", "as_json", is_flag=True, help="Write the answer as JSON.")
@pass_surroundings
def approve(
    surroundings: Surroundings, /, request_id: str, as_json: bool, **given: Any
) -> None:
    """Let the device of REQUEST_ID in."""
    _decide(surroundings, "approve", request_id, as_json, given)


@devices.command()
@click.argument("request_id")
@reach_options()
@click.option("--json", "as_json", is_flag=True, help="Write the answer as JSON.")
@pass_surroundings
def reject(
    surroundings: Surroundings, /, request_id: str, as_json: bool, **given: Any
) -> None:
    """Turn the device of REQUEST_ID away."""
    _decide(surroundings, "reject", request_id, as_json, given)


def _decide(
    surroundings: Surroundings,
    verb: str,
    request_id: str,
    as_json: bool,
    given: dict[str, Any],
) -> None:
    reach = find_reach(surroundings, flags_of(given), strict=True)
    answer = call(reach, f"device.pair.{verb}", {"requestId": request_id})
    if as_json:
        write_json(_without_tokens(answer))
        return
    device = (answer.get("device") or answer)["deviceId"]
    write(f"{'Approved' if verb == 'approve' else 'Rejected'} {device}")


@devices.command()
@click.option("--device", "device_id", required=True, help="Id of the device.")
@click.option("--role", required=True, help="Role of the token: operator or node.")
@click.option(
    "--scope", "scopes", multiple=True, help="Scope of the token; repeatable."
)
@click.option("--show-token", is_flag=True, help="Write the token itself, too.")
@reach_options()
@pass_surroundings
def rotate(
    surroundings: Surroundings,
    /,
    device_id: str,
    role: str,
    scopes: tuple[str, ...],
    show_token: bool,
    **given: Any,
) -> None:
    """Give a device another token; the old one is worth nothing from then on."""
    reach = find_reach(surroundings, flags_of(given), strict=True)
    params: dict[str, Any] = {"deviceId": device_id, "role": role}
    if scopes:
        params["scopes"] = list(scopes)
    answer = call(reach, "device.token.rotate", params)
    write_json(answer if show_token else _without_tokens(answer))
    if not show_token:
        warn(_HIDDEN)


@devices.command()
@click.option("--device", "device_id", required=True, help="Id of the device.")
@click.option("--role", required=True, help="Role of the token: operator or node.")
@reach_options()
@pass_surroundings
def revoke(
    surroundings: Surroundings, /, device_id: str, role: str, **given: Any
) -> None:
    """Make a device's token worth nothing."""
    reach = find_reach(surroundings, flags_of(given), strict=True)
    params = {"deviceId": device_id, "role": role}
    write_json(call(reach, "device.token.revoke", params))


def _without_tokens(answer: Any) -> Any:
    """Return *answer* with every token hidden."""
    if isinstance(answer, dict):
        return {
            name: "***" if name == "token" else _without_tokens(value)
            for name, value in answer.items()
        }
    if isinstance(answer, list):
        return [_without_tokens(item) for item in answer]
    return answer
