"""Where the gateway listens: bind modes, endpoint descriptions, TLS."""

from __future__ import annotations

import array
import fcntl
import re
import socket
import struct
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any

import attrs
from twisted.internet.endpoints import (
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    serverFromString,
)
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.ssl import CertificateOptions

from moltbot_gw.inherited import PREFIX, find_inherited
from moltbot_gw.refusal import StartRefused
from moltbot_gw.settings import Settings, weakness_of
from moltbot_gw.tlsfiles import server_tls_options

_TAILNET = ip_network("100.64.0.0/10")
_SIOCGIFADDR = 0x8915
_INTERFACE = re.compile(r"(?:^|:)interface=((?:\\.|[^:\\])*)")
BACKLOG = 512


@attrs.frozen(kw_only=True)
class Listener:
    """One place to listen: *address* for people, *local* if only this machine gets in.

    *probe* is host and port of a TCP listener that no description made, to find out
    early that it is in use; *chosen_by* names the setting to change then.  *key* tells
    whether a listener is the one of another configuration.
    """

    endpoint: IStreamServerEndpoint
    address: str
    local: bool
    key: object
    probe: tuple[str, int] | None = None
    chosen_by: str = "--port"

    def address_of(self, port: IListeningPort) -> str:
        """Return the address with the number that a free *port* has got."""
        if not self.address.endswith(":0"):
            return self.address
        host: Any = port.getHost()
        return f"{self.address[:-1]}{host.port}"


def build_listeners(
    settings: Settings, reactor: Any, before: Sequence[Listener] = ()
) -> list[Listener]:
    """Return where to listen; raise ``StartRefused`` for what would not be safe.

    Endpoints, of the command line or the configuration, replace the bind mode.  Those
    that were there *before* are taken from there: some can be made only once.
    """
    if settings.endpoints:
        known = {listener.key: listener for listener in before}
        listeners = []
        for place, text in enumerate(settings.endpoints):
            key = (text, settings.endpoints[:place].count(text))
            listeners.append(known.get(key) or _described(text, key, reactor))
    else:
        custom = settings.config.gateway.custom_bind_host
        hosts = find_hosts(settings.bind, settings.port, custom)
        listeners = [_tcp(settings, host, reactor) for host in hosts]
    weakness = weakness_of(settings)
    exposed = [listener for listener in listeners if not listener.local]
    if exposed and weakness:
        raise StartRefused(
            f"refusing to bind gateway to {exposed[0].address}: {weakness}; set one of"
            " at least 16 random characters (openssl rand -hex 32)"
        )
    return listeners


def build_metrics_listener(settings: Settings, reactor: Any) -> Listener | None:
    """Return where metrics have a listener of their own; None if they have none."""
    metrics = settings.config.gateway.metrics
    if metrics.endpoint is not None:
        said = "gateway.metrics.endpoint"
        listener = _described(metrics.endpoint, "metrics", reactor, said)
        return attrs.evolve(listener, chosen_by=said)
    if metrics.port is None:
        return None
    host, port = metrics.bind, metrics.port
    kind = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
    return Listener(
        endpoint=kind(reactor, port, BACKLOG, host),
        address=f"http://{_shown(host)}:{port}",
        local=_is_loopback(host),
        key="metrics",
        probe=(host, port),
        chosen_by="gateway.metrics.port",
    )


def find_certificate(settings: Settings) -> CertificateOptions | None:
    """Return what the listeners of the bind mode speak TLS with, if they shall.

    Raises ``StartRefused``.  Descriptions of endpoints say themselves how they do.
    """
    tls = settings.config.gateway.tls
    if settings.endpoints or not tls.enabled:
        return None
    return server_tls_options(tls, settings.state)


def probe_ports(listeners: Sequence[Listener]) -> None:
    """Raise ``StartRefused`` if a port is in use.

    Done before twistd goes into the background, where a failure would only be logged.
    """
    for listener in listeners:
        if listener.probe is None or listener.probe[1] == 0:
            continue
        host, port = listener.probe
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen(1)
            except OSError as error:
                raise StartRefused(in_use(listener, error)) from None


def in_use(listener: Listener, error: OSError) -> str:
    """Return the line for a listener that cannot be opened."""
    reason = error.strerror or "cannot be opened"
    return (
        f"cannot listen on {listener.address}: {reason}; another gateway instance may"
        f" be listening there already (choose another with {listener.chosen_by})"
    )


def _described(
    text: str, key: object, reactor: Any, said: str = "endpoint"
) -> Listener:
    if text.startswith(PREFIX):
        found = find_inherited(text, reactor)
        return Listener(
            endpoint=found.endpoint,
            address=found.address,
            local=found.local,
            key=key,
        )
    try:
        endpoint = serverFromString(reactor, text)
    except Exception as error:
        # Parsers of endpoint plugins raise whatever they like.
        raise StartRefused(f"{said} {text.split(':')[0]}: {error}") from None
    return Listener(
        endpoint=endpoint,
        address=_without_options(text),
        local=_is_local(text),
        key=key,
    )


def _without_options(text: str) -> str:
    """Return the kind and first argument of an endpoint description, for the log."""
    return ":".join(text.split(":")[:2])


def _is_local(description: str) -> bool:
    if description.startswith("unix:"):
        return True
    # The last one counts when it is given twice.
    host = "".join(_INTERFACE.findall(description)[-1:]).replace("\\", "")
    return host == "localhost" or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _tcp(settings: Settings, host: str, reactor: Any) -> Listener:
    port = settings.port
    scheme = "https" if settings.config.gateway.tls.enabled else "http"
    endpoint: IStreamServerEndpoint
    if ":" in host:
        endpoint = TCP6ServerEndpoint(reactor, port, BACKLOG, host)
    else:
        endpoint = TCP4ServerEndpoint(reactor, port, BACKLOG, host)
    return Listener(
        endpoint=endpoint,
        address=f"{scheme}://{_shown(host)}:{port}",
        local=_is_loopback(host),
        key=(host, port),
        probe=(host, port),
    )


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def find_hosts(mode: str, port: int, custom: str | None) -> list[str]:
    """Return the addresses of a bind mode; raise ``StartRefused``.

    *custom* is the one of the mode ``custom``, *port* 0 a free one.
    """
    if mode in ("loopback", "auto"):
        # With a free port each address would get its own; one is enough then.
        if port and _can_bind("::1"):
            return ["127.0.0.1", "::1"]
        return ["127.0.0.1"]
    if mode == "lan":
        return ["0.0.0.0"]  # noqa: S104  (what the mode is for)
    if mode == "tailnet":
        return [tailnet_address() or "127.0.0.1"]
    if not custom:
        raise StartRefused("gateway.bind is custom, but customBindHost is not set")
    try:
        return [str(ip_address(custom))]
    except ValueError:
        raise StartRefused("gateway.customBindHost is not an IP address") from None


def _can_bind(host: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def tailnet_address() -> str | None:
    """Return this machine's address in Tailscale's range (100.64.0.0/10), if any."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = array.array("B", struct.pack("256s", name[:15].encode()))
            try:
                fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request, True)
            except OSError:
                continue
            address = ip_address(bytes(request[20:24]))
            if address in _TAILNET:
                return str(address)
    return None
