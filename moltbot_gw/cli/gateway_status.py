"""``moltbot gateway status`` and ``gateway probe``: is there a gateway, and which."""

from __future__ import annotations

import socket
import time
from typing import Any

import attrs
import click
from twisted.internet.defer import Deferred

from moltbot_gw.cli.calling import Probe, explain, in_reactor, probe
from moltbot_gw.cli.output import Failure, write, write_json
from moltbot_gw.cli.reach import (
    Flags,
    Reach,
    find_reach,
    flags_of,
    local_port,
    reach_options,
)
from moltbot_gw.cli.status import find_self
from moltbot_gw.cli.surroundings import Surroundings, pass_surroundings
from moltbot_gw.client import GatewayClosed
from moltbot_gw.config import ConfigError, Gateway

_SUMMARY = ("health", "status", "system-presence", "config.get")
_HINT_BUSY = "Something listens on the port, but it did not let us in."


@click.command()
@reach_options()
@click.option("--no-probe", is_flag=True, help="Do not ask the gateway itself.")
@click.option("--deep", is_flag=True, hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
@pass_surroundings
def status(
    surroundings: Surroundings,
    /,
    no_probe: bool,
    deep: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Show where the gateway should be, and whether it answers (else status 1)."""
    surroundings.warn_if_invalid()
    reach = find_reach(surroundings, flags_of(given), strict=False)
    page = _page(surroundings, reach)
    found = None
    if not no_probe:
        found = in_reactor(lambda reactor: probe(reactor, reach, "status"))
        page["rpc"] = {"ok": found.ok, "url": reach.url}
        if found.error is not None:
            page["rpc"]["error"] = explain(found.error, reach)
        if not found.reached and page["port"]["status"] == "busy":
            page["port"]["hints"].append(_HINT_BUSY)
    if as_json:
        write_json(page)
    else:
        _write_page(page)
    if found is not None and found.error is not None:
        raise Failure(explain(found.error, reach))


def _page(surroundings: Surroundings, reach: Reach) -> dict[str, Any]:
    loaded = surroundings.load_leniently()
    gateway = loaded.config.gateway
    port, source = local_port(surroundings, loaded)
    cli: dict[str, Any] = {
        "path": str(loaded.path),
        "exists": loaded.exists and loaded.path.exists(),
    }
    issues = _issues(surroundings)
    cli["valid"] = not issues
    if issues:
        cli["issues"] = issues
    return {
        "service": {
            "label": "moltbot-gateway",
            "loaded": False,
            "loadedText": "loaded",
            "notLoadedText": "not managed by this command",
        },
        "config": {"cli": cli},
        "gateway": {
            "bindMode": gateway.bind,
            "bindHost": _bind_host(gateway),
            "port": port,
            "portSource": "env/config" if source != "dev" else "dev mode",
            "probeUrl": reach.url,
        },
        "port": {
            "port": port,
            "status": "busy" if is_listening("127.0.0.1", port) else "free",
            "listeners": [],
            "hints": [],
        },
        "legacyServices": [],
        "extraServices": [],
    }


def _issues(surroundings: Surroundings) -> list[dict[str, str]]:
    try:
        surroundings.load()
    except ConfigError as error:
        return [{"path": one.path, "message": one.message} for one in error.issues]
    return []


def _bind_host(gateway: Gateway) -> str:
    if gateway.bind == "lan":
        return "0.0.0.0"  # noqa: S104  (what the mode is for)
    return gateway.custom_bind_host or "127.0.0.1"


def is_listening(host: str, port: int, seconds: float = 1.0) -> bool:
    """Whether somebody takes connections there."""
    try:
        with socket.create_connection((host, port), seconds):
            return True
    except OSError:
        return False


def _write_page(page: dict[str, Any]) -> None:
    gateway, cli = page["gateway"], page["config"]["cli"]
    shown = "valid" if cli["valid"] else "INVALID"
    write(f"Config (cli): {cli['path']} ({shown if cli['exists'] else 'no file'})")
    write(
        f"Gateway: bind={gateway['bindMode']} ({gateway['bindHost']}),"
        f" port={gateway['port']} ({gateway['portSource']})"
    )
    write(f"Probe target: {gateway['probeUrl']}")
    write(f"Listening: {'yes' if page['port']['status'] == 'busy' else 'no'}")
    if "rpc" in page:
        write(f"RPC probe: {'ok' if page['rpc']['ok'] else 'failed'}")
    for hint in page["port"]["hints"]:
        write(hint)


# -- probe


@attrs.frozen
class _Place:
    """One gateway that may be there."""

    id: str
    kind: str
    reach: Reach
    active: bool


@click.command("probe")
@reach_options(3000)
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
@pass_surroundings
def probe_gateways(surroundings: Surroundings, /, as_json: bool, **given: Any) -> None:
    """Try every gateway that is known here; status 1 if none can be reached."""
    surroundings.warn_if_invalid()
    flags = flags_of(given)
    places = _places(surroundings, flags)
    started = time.time()

    async def work(reactor: Any) -> list[Probe]:
        waiting = [
            Deferred.fromCoroutine(probe(reactor, place.reach, *_SUMMARY))
            for place in places
        ]
        return [await one for one in waiting]

    found = in_reactor(work)
    targets = [_target(place, one) for place, one in zip(places, found, strict=True)]
    reached = [target["id"] for target in targets if target["connect"]["ok"]]
    page = {
        "ok": bool(reached),
        "ts": int(started * 1000),
        "durationMs": round((time.time() - started) * 1000),
        "timeoutMs": round(flags.timeout * 1000),
        "primaryTargetId": reached[0] if reached else None,
        "warnings": _warnings(reached),
        "network": {},
        "discovery": {"timeoutMs": 0, "count": 0, "beacons": []},
        "targets": targets,
    }
    if as_json:
        write_json(page)
    else:
        _write_probe(page, places)
    if not reached:
        raise Failure("No gateway can be reached.")


def _places(surroundings: Surroundings, flags: Flags) -> list[_Place]:
    gateway = surroundings.load_leniently().config.gateway
    is_remote = gateway.mode == "remote"
    found = []
    if flags.url:
        reach = find_reach(surroundings, flags, strict=False)
        found.append(_Place("explicit", "explicit", reach, True))
    bare = attrs.evolve(flags, url=None)
    if gateway.remote.url:
        reach = find_reach(surroundings, bare, strict=False, remote=True)
        found.append(_Place("configRemote", "configRemote", reach, is_remote))
    reach = find_reach(surroundings, bare, strict=False, remote=False)
    found.append(_Place("localLoopback", "localLoopback", reach, not is_remote))
    return found


def _warnings(reached: list[str]) -> list[dict[str, Any]]:
    if len(reached) < 2:
        return []
    message = "More than one gateway answers; make sure which one is meant."
    return [
        {"code": "multiple_gateways", "message": message, "targetIds": list(reached)}
    ]


def _target(place: _Place, found: Probe) -> dict[str, Any]:
    error = found.error
    close = None
    if isinstance(error, GatewayClosed):
        close = {"code": error.code, "reason": error.reason}
    answers = found.answers
    return {
        "id": place.id,
        "kind": place.kind,
        "url": place.reach.url,
        "active": place.active,
        "tunnel": None,
        "connect": {
            "ok": found.reached,
            "latencyMs": found.latency_ms,
            "error": None if error is None else str(error),
            "close": close,
        },
        "self": find_self(answers.get("system-presence")),
        "config": _config_summary(answers.get("config.get")),
        "health": answers.get("health"),
        "summary": answers.get("status"),
        "presence": answers.get("system-presence"),
    }


def _config_summary(snapshot: Any) -> dict[str, Any] | None:
    if not isinstance(snapshot, dict):
        return None
    gateway = (snapshot.get("config") or {}).get("gateway") or {}
    auth = gateway.get("auth") or {}
    return {
        "path": snapshot.get("path"),
        "exists": snapshot.get("exists"),
        "valid": snapshot.get("valid"),
        "gateway": {name: gateway.get(name) for name in ("mode", "bind", "port")},
        "auth": {
            "mode": auth.get("mode"),
            "tokenConfigured": bool(auth.get("token")),
            "passwordConfigured": bool(auth.get("password")),
        },
    }


def _write_probe(page: dict[str, Any], places: list[_Place]) -> None:
    write("Gateway Status")
    write(f"Reachable: {'yes' if page['ok'] else 'no'}")
    write(f"Probe budget: {page['timeoutMs']}ms")
    for target, place in zip(page["targets"], places, strict=True):
        connected = target["connect"]
        state = (
            f"ok ({connected['latencyMs']}ms)"
            if connected["ok"]
            else connected["error"]
        )
        write(f"- {place.id} {target['url']}: {state}")
    for warning in page["warnings"]:
        write(f"Warning: {warning['message']}")
