"""From a configuration to the HTTP edge: who gets in, how long things may take.

A part of the composition root: what a reload replaces.
"""

from __future__ import annotations

import socket
from typing import Any

import attrs

from moltbot_gw.auth import AuthLimiter, SharedSecret
from moltbot_gw.config import Networks
from moltbot_gw.fetching.guard import GuardedFetch
from moltbot_gw.http.completions import CompletionOptions
from moltbot_gw.http.gate import CorsPolicy, Gate, Gatekeeper
from moltbot_gw.http.hosts import HostPolicy
from moltbot_gw.http.pictures import Pictures
from moltbot_gw.http.policy import SitePolicy
from moltbot_gw.http.request import GatewayRequest
from moltbot_gw.http.timeouts import Timeouts
from moltbot_gw.keyring import KeyRing
from moltbot_gw.metering import Meters
from moltbot_gw.settings import Settings


def build_gate(
    settings: Settings, limiter: AuthLimiter, keys: KeyRing, meters: Meters
) -> Gate:
    """Return who gets in at the gateway's port."""
    gateway = settings.config.gateway
    return Gate(
        secret=SharedSecret(settings.secret.reveal()),
        keys=keys,
        meters=meters,
        limiter=limiter,
        hosts=HostPolicy(_host_names(settings), gateway.control_ui.allowed_origins),
        enabled=settings.enabled,
        max_body_bytes=gateway.http.endpoints.chat_completions.max_body_bytes,
        cors=CorsPolicy(gateway.http.cors.allowed_origins),
        metrics=gateway.metrics.enabled,
        openapi=gateway.http.endpoints.openapi.enabled,
    )


def site_policy(settings: Settings, gate: Gatekeeper) -> SitePolicy:
    """Return what all connections of a port go by."""
    gateway = settings.config.gateway
    http = gateway.http
    return SitePolicy(
        gate=gate,
        timeouts=Timeouts(
            header=http.header_timeout_seconds,
            body=http.body_timeout_seconds,
            idle=http.idle_timeout_seconds,
            stall=http.stall_timeout_seconds,
        ),
        trusted_proxies=Networks(gateway.trusted_proxies),
        user_header=gateway.auth.trusted_proxy.user_header,
        max_connections_per_address=gateway.limits.max_connections_per_address,
    )


def completion_options(
    settings: Settings, fetch: GuardedFetch, reactor: Any
) -> CompletionOptions:
    """Return how completions are answered."""
    http = settings.config.gateway.http
    chat = http.endpoints.chat_completions
    return CompletionOptions(
        pictures=Pictures(
            fetch=fetch,
            config=chat.images,
            clock=reactor,
            max_bytes=chat.max_body_bytes,
        ),
        keep_alive=http.keep_alive_seconds,
    )


def _host_names(settings: Settings) -> list[str]:
    """Return the names that clients may call us by, beside addresses and loopback.

    This machine's own name is one that no stranger's DNS can point elsewhere, and
    Tailscale's names lead only into its own network.
    """
    names = list(settings.config.gateway.allowed_hosts)
    if settings.bind not in ("loopback", "auto") or settings.endpoints:
        own = socket.gethostname().lower()
        names += [own, f"{own}.local"]
    if settings.config.gateway.tailscale.mode != "off" or settings.bind == "tailnet":
        names.append("*.ts.net")
    return names


@attrs.define(eq=False)
class Front:
    """The gate in force, for who asks about secrets later than it does."""

    gate: Gate

    def brings_secret(self, request: GatewayRequest) -> bool:
        """Whether who sent *request* may know more."""
        return self.gate.brings_secret(request.requestHeaders, request.find_peer)
