"""Unit files of systemd, as text.

Sources: systemd.syntax(7) for the quoting, systemd.exec(5) and systemd.service(5) for
the settings.  ``systemd-analyze verify`` and ``security`` look at the result in the
tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from moltbot_gw.refusal import EXIT_CONFIG

MARK = "# Written by: moltbot gateway install"
"""The first line, by which we know our own files again."""

SOCKET_NAME = "gateway"
STOP_SPARE_SECONDS = 60
"""How much longer than the drain systemd waits before it kills."""

_SERVICE = """\
{mark}
# Changes belong into a drop-in, which survives: {edit}
[Unit]
Description=Moltbot gateway
Wants=network-online.target
After=network-online.target{socket}

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
{environment}{place}
UMask=0077
# Status {exit_config} is for what would fail again: a wrong configuration, no secret.
Restart=on-failure
RestartSec=2
RestartPreventExitStatus={exit_config}
WatchdogSec=60
TimeoutStartSec=120
TimeoutStopSec={stop_seconds}
# The gateway alone is asked to stop; what tools have left is killed at the end.
KillMode=mixed
LimitNOFILE=65536
LimitCORE=0
{credentials}
# The sandbox.  Commands that agents run (tools.exec) are inside it as well.  Where they
# need more, widen it in a drop-in, as: {edit}
#   [Service]
#   ReadWritePaths=/srv/project
#   RestrictNamespaces=no
{sandbox}
[Install]
WantedBy={target}
"""

_SANDBOX_OF_ANY = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""
_SANDBOX_OF_SYSTEM = f"""\
{_SANDBOX_OF_ANY}\
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateDevices=yes
PrivateTmp=yes
PrivateUsers=yes
RemoveIPC=yes
KeyringMode=private
DevicePolicy=closed
# Not MemoryDenyWriteExecute: it stops programs with a JIT (node), and TLS callbacks.
"""
_PLACE_OF_SYSTEM = """\
DynamicUser=yes
StateDirectory={name}
StateDirectoryMode=0700
WorkingDirectory=%S/{name}"""

_SOCKET = """\
{mark}
[Unit]
Description=Moltbot gateway (socket)

[Socket]
{listen}
FileDescriptorName={name}
Backlog=512
NoDelay=yes

[Install]
WantedBy=sockets.target
"""


_UNQUOTABLE = frozenset("\"'\\")


class Unfit(ValueError):
    """A text that no unit file can hold."""


@attrs.frozen(kw_only=True)
class Service:
    """What a service is made from.

    *words* is the daemon's command line, *environ* what it needs of the environment;
    *credentials* are names and the files that hold them; *drain* is in seconds.
    """

    name: str
    system: bool
    words: Sequence[str]
    environ: Mapping[str, str]
    credentials: Mapping[str, str]
    drain: float
    socket: bool


def system_state(name: str) -> str:
    """Return the state folder of a system's service."""
    return f"/var/lib/{name}"


def service_unit(service: Service) -> str:
    """Return the text of the service unit; raise ``Unfit``."""
    edit = "systemctl edit" if service.system else "systemctl --user edit"
    environ = dict(service.environ)
    if service.system:
        state = system_state(service.name)
        environ = {"HOME": state, "MOLTBOT_STATE_DIR": state, **environ}
    place = _PLACE_OF_SYSTEM.format(name=service.name)
    socket = f"{service.name}.socket"
    return _SERVICE.format(
        mark=MARK,
        edit=f"{edit} {service.name}",
        socket=f" {socket}\nRequires={socket}" if service.socket else "",
        command=_command(service.words),
        environment="".join(
            f"Environment={_quoted(f'{name}={value}')}\n"
            for name, value in sorted(environ.items())
        ),
        place=place if service.system else "WorkingDirectory=%h",
        exit_config=EXIT_CONFIG,
        stop_seconds=int(service.drain) + STOP_SPARE_SECONDS,
        credentials=_credentials(service.credentials),
        sandbox=_SANDBOX_OF_SYSTEM if service.system else _SANDBOX_OF_ANY,
        target="multi-user.target" if service.system else "default.target",
    )


def socket_unit(addresses: Sequence[tuple[str, int]]) -> str:
    """Return the text of the socket unit for these hosts and ports."""
    lines = [f"ListenStream={_address(host)}:{port}" for host, port in addresses]
    if any(":" in host for host, _ in addresses):
        lines.append("BindIPv6Only=ipv6-only")
    return _SOCKET.format(mark=MARK, listen="\n".join(lines), name=SOCKET_NAME)


def socket_endpoints(addresses: Sequence[tuple[str, int]]) -> list[str]:
    """Return the daemon's endpoints for the sockets of ``socket_unit``, in order."""
    domains = ("INET6" if ":" in host else "INET" for host, _ in addresses)
    return [f"systemd:domain={kind}:index={n}" for n, kind in enumerate(domains)]


def _address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _command(words: Sequence[str]) -> str:
    if not _UNQUOTABLE.isdisjoint(words[0]):
        raise Unfit(f"systemd cannot start a program with this name: {words[0]!r}")
    # The colon turns the expansion of $NAME off.
    return " ".join([_quoted(f":{words[0]}"), *(_quoted(word) for word in words[1:])])


def _credentials(credentials: Mapping[str, str]) -> str:
    lines = [
        "# Secrets stand neither here nor in the environment; more of them, as for",
        "# ${ANTHROPIC_API_KEY} in the configuration, in the same way in a drop-in.",
    ]
    for name, path in credentials.items():
        lines.append(f"LoadCredential={name}:{_checked(path)}")
    return "\n".join(lines) + "\n" if credentials else ""


def _quoted(text: str) -> str:
    escaped = _checked(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _checked(text: str) -> str:
    """Return *text* with each percent sign standing for itself."""
    if not text.isprintable():
        raise Unfit(f"a unit file cannot hold this: {text!r}")
    return text.replace("%", "%%")
