"""``moltbot agent``: one message, one answer."""

from __future__ import annotations

import re
import sys
from typing import Any
from uuid import uuid4

import click

from moltbot_gw.cli.agentrun import AgentRun, Interrupted
from moltbot_gw.cli.calling import explain, in_reactor
from moltbot_gw.cli.output import Failure, printable, warn, write, write_json
from moltbot_gw.cli.reach import Flags, Reach, find_reach
from moltbot_gw.cli.surroundings import Surroundings, pass_surroundings
from moltbot_gw.client import ClientError
from moltbot_gw.config import Secret

_LEVELS = ("off", "minimal", "low", "medium", "high", "xhigh")
_MAX_STDIN_BYTES = 1_000_000
_DEFAULT_SECONDS = 600
_GRACE_SECONDS = 30
_UNKNOWN = re.compile('unknown agent id "(.*)"', re.DOTALL)
_WIRE_NAMES = {
    "agent_id": "agentId",
    "to": "to",
    "session_id": "sessionId",
    "session_key": "sessionKey",
    "thinking": "thinking",
    "channel": "channel",
    "reply_to": "replyTo",
    "reply_channel": "replyChannel",
    "reply_account": "replyAccountId",
}


@click.command()
@click.option("-m", "--message", help="What to say; without it stdin is read.")
@click.option("--agent", "agent_id", help="Agent to speak to.")
@click.option("--session-id", help="Go on with this session's id.")
@click.option("--session-key", help="Go on with this session.")
@click.option("-t", "--to", help="Who speaks; chooses the session.")
@click.option("--thinking", help="off, minimal, low, medium, high or xhigh.")
@click.option("--timeout", help="Seconds for the run (default: the agents' or 600).")
@click.option("--json", "as_json", is_flag=True, help="Write the answer as JSON.")
@click.option("--verbose", help="on, full or off; accepted and not used.", hidden=True)
@click.option("--deliver", is_flag=True, help="Deliver to a channel.", hidden=True)
@click.option("--channel", hidden=True)
@click.option("--reply-to", hidden=True)
@click.option("--reply-channel", hidden=True)
@click.option("--reply-account", hidden=True)
@click.option("--url", help="WebSocket URL instead of the configured one.")
@click.option("--token", help="Token (rather set CLAWDBOT_GATEWAY_TOKEN).")
@click.option("--password", help="Password of the gateway.")
@pass_surroundings
def agent(surroundings: Surroundings, /, as_json: bool, **given: Any) -> None:
    """Send a message to an agent and show its answer.

    On a terminal the answer is shown as it comes; Ctrl-C aborts the run (status 130),
    as SIGTERM does (143).
    """
    params = request_params(given)
    config = surroundings.load_or_refuse().config
    seconds = parse_seconds(given["timeout"]) or int(
        config.agents.defaults.timeout_seconds or _DEFAULT_SECONDS
    )
    flags = Flags(
        url=given["url"],
        token=Secret(given["token"]) if given["token"] else None,
        password=Secret(given["password"]) if given["password"] else None,
    )
    reach = find_reach(surroundings, flags, strict=True)
    run = AgentRun(
        reach,
        {**params, "timeout": seconds, "idempotencyKey": str(uuid4())},
        seconds=max(10, seconds + _GRACE_SECONDS),
        show=None if as_json or not sys.stdout.isatty() else _show,
    )
    try:
        payload = in_reactor(run.run)
    except ClientError as error:
        run.finish_line()
        raise Failure(explain_run(error, reach)) from None
    except Interrupted as end:
        run.finish_line()
        warn(str(end))
        raise click.exceptions.Exit(128 + end.number) from None
    if as_json:
        write_json(payload)
    else:
        run.finish_line()
        _write_payloads(payload, run.shown)


def request_params(given: dict[str, Any]) -> dict[str, Any]:
    """Return what is asked of the gateway; end the command if it makes no sense."""
    message = find_message(given["message"])
    if not message or not message.strip():
        raise Failure("Message (--message) is required")
    chosen = ("to", "session_id", "agent_id", "session_key")
    if not any(given[name] for name in chosen):
        raise Failure(
            "Pass --to <E.164>, --session-id, --session-key or --agent to choose a"
            " session"
        )
    if given["thinking"] and given["thinking"] not in _LEVELS:
        raise Failure(
            "Invalid thinking level. Use one of: off, minimal, low, medium, high."
        )
    if given["verbose"] and given["verbose"] not in ("on", "full", "off"):
        raise Failure('Invalid verbose level. Use "on", "full", or "off".')
    params = {"message": message, "deliver": given["deliver"]}
    named = {wire: given[name] for name, wire in _WIRE_NAMES.items() if given[name]}
    return {**params, **named}


def find_message(given: str | None) -> str | None:
    """Return the message that was *given*, or else what stdin has; None at a terminal.

    Ends the command if the message is not UTF-8, or too long.
    """
    if given is None and sys.stdin.isatty():
        return None
    if given is None:
        data = sys.stdin.buffer.read(_MAX_STDIN_BYTES + 1)
    else:
        # Python keeps bytes of the command line that are no text as surrogates.
        data = given.encode(errors="surrogateescape")
    if len(data) > _MAX_STDIN_BYTES:
        raise Failure(f"The message is longer than {_MAX_STDIN_BYTES} bytes")
    try:
        return data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Failure("The message is not UTF-8") from None


def parse_seconds(text: str | None) -> int | None:
    """Return the seconds of ``--timeout``; end the command if they are none."""
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or int(text) == 0:
        raise Failure("--timeout must be a positive integer (seconds)")
    return int(text)


def explain_run(error: ClientError, reach: Reach) -> str:
    """Return why there is no answer; for an unknown agent, where the known ones are."""
    unknown = _UNKNOWN.search(str(error))
    if unknown is not None:
        return (
            f'Unknown agent id "{unknown[1]}". Use "moltbot agents list" to see'
            " configured agents."
        )
    return explain(error, reach)


def _show(text: str) -> None:
    sys.stdout.write(printable(text))
    sys.stdout.flush()


def _write_payloads(payload: Any, shown: str) -> None:
    """Write what the run came to, save for the text that was shown as it came."""
    payloads = ((payload or {}).get("result") or {}).get("payloads") or []
    if not payloads:
        if not shown:
            write((payload or {}).get("summary") or "No reply from agent.")
        return
    for one in payloads:
        text = (one.get("text") or "").rstrip()
        if text and text.strip() not in shown:
            write(text)
        for url in one.get("mediaUrls") or [one.get("mediaUrl")]:
            if url:
                write(f"MEDIA:{url}")
