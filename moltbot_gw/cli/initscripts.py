"""Services for other init systems than systemd: OpenRC and launchd.

Sources: openrc-run(8) and supervise-daemon(8); launchd.plist(5).
"""

from __future__ import annotations

import plistlib
import shlex
from collections.abc import Mapping, Sequence

import attrs

from moltbot_gw.cli.units import MARK, STOP_SPARE_SECONDS, Unfit, system_state

OPENRC_USER = "moltbot"

_OPENRC = """\
#!/sbin/openrc-run
{mark}

name="Moltbot gateway"
description="AI agents behind one port"
supervisor=supervise-daemon
command={command}
command_args={args}
command_user={user}:{user}
directory={state}
umask=077
pidfile="/run/${{RC_SVCNAME}}.pid"
output_log="/var/log/${{RC_SVCNAME}}.log"
error_log="/var/log/${{RC_SVCNAME}}.log"
retry="TERM/{stop_seconds}/KILL/5"
respawn_delay=2
respawn_max=10
extra_started_commands="reload"

export HOME={state}
{environment}# Its files are secrets: gateway-token, and those named like variables.
export CREDENTIALS_DIRECTORY={secrets}

depend() {{
    use net dns logger
}}

start_pre() {{
    checkpath --directory --mode 0700 --owner {user}:{user} {state} {secrets}
    checkpath --file --mode 0600 --owner {user}:{user} "$error_log"
}}

reload() {{
    ebegin "Reloading ${{RC_SVCNAME}}"
    supervise-daemon "${{RC_SVCNAME}}" --signal HUP --pidfile "$pidfile"
    eend $?
}}
"""


@attrs.frozen(kw_only=True)
class Daemon:
    """What a script is made from; *drain* is in seconds."""

    name: str
    words: Sequence[str]
    environ: Mapping[str, str]
    drain: float


def openrc_script(daemon: Daemon, secrets: str) -> str:
    """Return a script for OpenRC; *secrets* is a folder.  Raise ``Unfit``."""
    command, *args = daemon.words
    if shlex.quote(command) != command:
        raise Unfit(f"OpenRC cannot start a program with this name: {command!r}")
    state = system_state(daemon.name)
    environ = {"MOLTBOT_STATE_DIR": state, **daemon.environ}
    return _OPENRC.format(
        mark=MARK,
        command=command,
        # OpenRC evaluates it once more.
        args=shlex.quote(shlex.join(args)),
        user=OPENRC_USER,
        state=shlex.quote(state),
        stop_seconds=_stop_seconds(daemon),
        environment="".join(
            f"export {name}={shlex.quote(value)}\n"
            for name, value in sorted(environ.items())
        ),
        secrets=shlex.quote(secrets),
    )


def launchd_plist(daemon: Daemon, *, home: str, log: str) -> str:
    """Return a property list for launchd, for one user."""
    text = plistlib.dumps(
        {
            "Label": daemon.name,
            "ProgramArguments": list(daemon.words),
            "EnvironmentVariables": dict(daemon.environ),
            "WorkingDirectory": home,
            "StandardOutPath": log,
            "StandardErrorPath": log,
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 10,
            "ExitTimeOut": _stop_seconds(daemon),
            "Umask": 0o077,
            "SoftResourceLimits": {"NumberOfFiles": 8192},
        },
        sort_keys=False,
    ).decode()
    mark = f"<!-- {MARK.removeprefix('# ')} -->"
    return text.replace("<plist ", f"{mark}\n<plist ", 1)


def _stop_seconds(daemon: Daemon) -> int:
    return int(daemon.drain) + STOP_SPARE_SECONDS
