"""What ``moltbot doctor`` finds by knocking: the gateway's port, the providers."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from moltbot_gw import __version__
from moltbot_gw.cli.calling import Probe
from moltbot_gw.cli.checks import Finding
from moltbot_gw.cli.gateway_status import is_listening
from moltbot_gw.cli.reach import Reach
from moltbot_gw.client import ConnectFailed
from moltbot_gw.client.target import parse_address
from moltbot_gw.config import ProviderEntry

KNOCK_SECONDS = 5.0
_MAX_PROVIDERS = 32
_THREADS = 8


def check_gateway(reach: Reach, found: Probe) -> list[Finding]:
    """Judge what a probe of the gateway gave."""
    if found.ok:
        message = f"{reach.url} answers ({found.latency_ms}ms)"
        return [Finding(check="gateway", level="ok", message=message)]
    error = found.error
    if found.reached:
        return [
            Finding(
                check="gateway",
                level="wrong",
                message=f"{reach.url} runs, but could not say its status: {error}",
                fix="read the gateway's log: moltbot logs",
            )
        ]
    if isinstance(error, ConnectFailed) and error.refusal is not None:
        return [
            Finding(
                check="gateway",
                level="wrong",
                message=f"{reach.url} runs, but does not let us in: {error.reason}",
                fix=_fix_of(error),
            )
        ]
    address = parse_address(reach.target.url)
    if address.socket is None and is_listening(address.host, address.port):
        return [
            Finding(
                check="port",
                level="wrong",
                message=f"port {address.port} is taken by something that is no gateway"
                f" ({error})",
                fix=f"find it with: ss -ltnp 'sport = :{address.port}'; stop it, or set"
                " gateway.port",
            )
        ]
    return [
        Finding(
            check="gateway",
            level="wrong",
            message=f"{reach.url} cannot be reached ({error})",
            fix="moltbot gateway run",
        )
    ]


def _fix_of(error: ConnectFailed) -> str:
    if error.is_unauthorized:
        return "give this command the gateway's token (CLAWDBOT_GATEWAY_TOKEN)"
    if error.refusal is not None and error.refusal.code == "NOT_PAIRED":
        return "on the gateway's machine: moltbot devices list; moltbot devices approve"
    return "read the gateway's log: moltbot logs"


def check_providers(providers: Mapping[str, ProviderEntry]) -> list[Finding]:
    """Ask each model service for any HTTP answer; no key is ever sent."""
    chosen = list(providers.items())[:_MAX_PROVIDERS]
    if not chosen:
        return []
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda pair: _knock(*pair), chosen))


def _knock(name: str, entry: ProviderEntry) -> Finding:
    url = entry.base_url
    shown = url.partition("?")[0].rpartition("@")[2]
    try:
        status = _ask(url, entry.ca_file)
    except (OSError, HTTPException, ValueError) as error:
        return Finding(
            check="provider",
            level="wrong",
            message=f"{name}: no HTTP answer from {shown} ({_words(error)})",
            fix=f"check models.providers.{name}.baseUrl, and that the service runs",
        )
    message = f"{name}: {shown} answers (HTTP {status})"
    return Finding(check="provider", level="ok", message=message)


def _ask(url: str, ca_file: str | None) -> int:
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise ValueError("no http address")
    connection: HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=ca_file)
        connection = HTTPSConnection(
            parts.hostname, parts.port, timeout=KNOCK_SECONDS, context=context
        )
    else:
        connection = HTTPConnection(parts.hostname, parts.port, timeout=KNOCK_SECONDS)
    try:
        agent = {"User-Agent": f"moltbot-doctor/{__version__}"}
        connection.request("GET", parts.path or "/", headers=agent)
        return connection.getresponse().status
    finally:
        connection.close()


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
