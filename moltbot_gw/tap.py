"""``twistd moltbot-gateway``: its options, and the service that twistd runs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from twisted.application.service import IService
from twisted.internet.error import ReactorNotRunning
from twisted.python import usage

from moltbot_gw.config import Secret
from moltbot_gw.logtarget import find_log_target
from moltbot_gw.ownmemory import hide_memory
from moltbot_gw.refusal import EXIT_CONFIG, StartRefused
from moltbot_gw.settings import CommandLine, Settings, load_settings
from moltbot_gw.steadytime import keep_steady

if TYPE_CHECKING:
    from moltbot_gw.service import GatewayService

_BIND_MODES = ("loopback", "lan", "tailnet", "auto", "custom")
_AUTH_MODES = ("token", "password")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ValueError("--port: use a number from 0 to 65535 (0: any free one)")
    return int(text)


class Options(usage.Options):
    """The command line; what is not said here comes from the configuration."""

    synopsis = "[options]"
    longdesc = (
        "Serve AI agents on one port, in the manner of the OpenAI API. Without --dev"
        " nothing is enabled that the configuration does not enable. Prefer the"
        " environment (CLAWDBOT_GATEWAY_TOKEN) to --token: other users of this machine"
        " can read command lines."
    )
    optFlags = [
        ["dev", None, "Try it out: own state folder, echo agent, generated token."],
    ]
    optParameters = [
        ["config", "c", None, "Configuration file (JSON5) instead of the usual one."],
        ["port", "p", None, "Port to listen on.", _port],
        ["bind", "b", None, f"Addresses to listen on: {', '.join(_BIND_MODES)}."],
        ["auth", None, None, "What secret is asked for: token or password."],
        ["token", None, None, "The shared token."],
        ["password", None, None, "The shared password."],
    ]
    compData = usage.Completions(
        optActions={"config": usage.CompleteFiles("*.json*")},
        multiUse=["endpoint"],
    )

    def __init__(self) -> None:
        super().__init__()
        self["endpoints"] = []

    def parseOptions(self, options: Any = None) -> None:
        """Read the command line; end with one line and status 78 if it is wrong."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            # Twisted's own words before ours say nothing.
            why = str(error).removeprefix("Parameter type enforcement failed: ")
            _refuse(f"{why} (see twistd moltbot-gateway --help)")

    def opt_endpoint(self, description: str) -> None:
        """Listen at this Twisted endpoint instead, as unix:gw.sock (repeatable)."""
        self["endpoints"].append(description)

    def postOptions(self) -> None:
        """Refuse words that are not among the known ones."""
        for name, allowed in (("bind", _BIND_MODES), ("auth", _AUTH_MODES)):
            if self[name] is not None and self[name] not in allowed:
                raise usage.UsageError(f"--{name}: use {', '.join(allowed)}")
        for name in ("token", "password"):
            if self[name] is not None:
                self[name] = Secret(self[name])


def makeService(options: Options) -> IService:
    """Build the gateway, or end the process with one clear line and status 78.

    twistd calls this before it goes into the background, so the line reaches the
    terminal and the status the init system.
    """
    # Everything that is written is for its owner only; twistd -n leaves 022.
    os.umask(0o077)
    hide_memory()
    from twisted.internet import reactor

    from moltbot_gw.building import build_gateway, build_log_rules

    keep_steady(reactor)
    try:
        reread = _reader_of(options)
        settings = reread()
        rules = build_log_rules(settings)
        service = build_gateway(
            settings,
            reactor,
            reread,
            log_rules=rules,
            log_target=find_log_target(
                options.parent or {},
                rules,
                settings.config.logging.console_style,
                os.environ,
            ),
        )
    except StartRefused as refusal:
        _refuse(str(refusal))
    _catch_signals(reactor, service)
    # The reactor sets its own handlers when it starts.
    reactor.callWhenRunning(_catch_signals, reactor, service)
    return service


def _refuse(why: str) -> NoReturn:
    sys.stderr.write(f"moltbot-gateway: {why}\n")
    raise SystemExit(EXIT_CONFIG) from None


def _catch_signals(reactor: Any, service: GatewayService) -> None:
    """Make SIGTERM and SIGINT stop the reactor, and twistd end with 0; SIGHUP reload.

    The first one drains, the second does not wait any longer.  A SIGHUP because our
    terminal was closed stops, too: nobody is left to see us.

    By itself twistd kills itself again by the same signal at the end, which looks like
    a crash; before the reactor runs, a Deferred may swallow KeyboardInterrupt; and
    SIGHUP would end the process without any of our steps.
    """
    had_terminal = _has_terminal()

    def stop(number: int, _: object) -> None:
        reactor.callFromThread(_stop, reactor, service)

    def hang_up(number: int, _: object) -> None:
        if had_terminal and not _has_terminal():
            stop(number, None)
        else:
            reactor.callFromThread(service.reload)

    handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: hang_up}
    for number, handler in handlers.items():
        # An ignored one (nohup) stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _stop(reactor: Any, service: GatewayService) -> None:
    try:
        reactor.stop()
    except ReactorNotRunning:
        service.hurry()


def _reader_of(options: Options) -> Callable[[], Settings]:
    given = CommandLine(
        config=options["config"],
        port=options["port"],
        bind=options["bind"],
        auth=options["auth"],
        token=options["token"],
        password=options["password"],
        endpoints=options["endpoints"],
        dev=bool(options["dev"]),
    )
    environ, home = dict(os.environ), Path.home()
    return lambda: load_settings(given, environ, home)
