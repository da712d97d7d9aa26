"""The ``gateway`` section: port, secret, HTTP, limits."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .fields import (
    Count,
    Flag,
    NotEmpty,
    Positive,
    Seconds,
    Section,
    Strings,
    Text,
    doc,
    ours,
)
from .hostnames import parse_hosts, parse_origins
from .issues import BadField
from .model_keys import AuthKey, TrustedProxy, check_keys
from .networks import check_networks
from .secret import Secret


class GatewayAuth(Section, frozen=True, kw_only=True):
    """The secret of the owner, which is full trust, and named keys beside it."""

    mode: Annotated[
        Literal["token", "password"] | None,
        doc("default: password if one is known, else token"),
    ] = None
    token: Annotated[Secret | None, doc("the secret of mode token")] = None
    password: Annotated[Secret | None, doc("the secret of mode password")] = None
    token_file: Annotated[
        Text, ours("the token is in this file, which only its owner can read")
    ] = None
    password_file: Annotated[Text, ours("the same of the password")] = None
    allow_tailscale: Annotated[
        Flag, doc("accepted, without effect: Tailscale's users need the secret, too")
    ] = None
    keys: Annotated[
        tuple[AuthKey, ...], ours("who else may come in, to do what, and how much")
    ] = ()
    trusted_proxy: Annotated[
        TrustedProxy, ours("proxies that name their users, for keys with users")
    ] = TrustedProxy()

    def __post_init__(self) -> None:
        check_keys(self.keys, self.trusted_proxy.user_header)
        for name in ("token", "password"):
            both = getattr(self, name) is not None
            if both and getattr(self, f"{name}_file") is not None:
                raise BadField((f"{name}File",), f"cannot be set beside {name}")


class GatewayTls(Section, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """HTTPS on the same port; unknown keys in here are dropped, as in the original."""

    enabled: Annotated[bool, doc("serve HTTPS and secure WebSockets only")] = False
    auto_generate: Annotated[
        bool, doc("make a self-signed certificate when there is none")
    ] = True
    cert_path: Annotated[Text, doc("PEM; default in the state directory")] = None
    key_path: Annotated[Text, doc("PEM; default in the state directory")] = None
    ca_path: Annotated[Text, doc("PEM of authorities for client certificates")] = None


class ControlUi(Section, frozen=True, kw_only=True):
    """The original's browser pages."""

    enabled: bool = True
    base_path: str = ""
    allow_insecure_auth: Annotated[
        bool, doc("let its pages in without a device where there is no HTTPS")
    ] = False
    dangerously_disable_device_auth: Annotated[
        bool, doc("let its pages in without a device anywhere")
    ] = False
    allowed_origins: Annotated[
        Strings, ours("pages that may open a WebSocket; scheme://host[:port] each")
    ] = ()

    def __post_init__(self) -> None:
        origins = parse_origins(self.allowed_origins)
        msgspec.structs.force_setattr(self, "allowed_origins", origins)


class Tailscale(Section, frozen=True, kw_only=True):
    """Publishing the port with Tailscale."""

    mode: Literal["off", "serve", "funnel"] = "off"
    reset_on_exit: bool = False


class Remote(Section, frozen=True, kw_only=True):
    """Where a client in remote mode finds its gateway."""

    url: Annotated[Text, doc("its WebSocket, as wss://host:18789")] = None
    transport: Annotated[
        Literal["ssh", "direct"] | None, doc("accepted; only direct is served")
    ] = None
    token: Annotated[Secret | None, doc("its token")] = None
    password: Annotated[Secret | None, doc("its password")] = None
    tls_fingerprint: Annotated[
        Text, doc("SHA-256 of its certificate, which then needs no authority")
    ] = None
    ssh_target: Annotated[Text, doc("accepted, without effect")] = None
    ssh_identity: Annotated[Text, doc("accepted, without effect")] = None


class Reload(Section, frozen=True, kw_only=True):
    """What a changed file does to a running gateway."""

    mode: Annotated[
        Literal["off", "restart", "hot", "hybrid"],
        doc("hot and hybrid: take it over; restart: only tell of it; off: do not look"),
    ] = "hybrid"
    debounce_ms: Annotated[
        Count, doc("how long the files must stay as they are first")
    ] = 300


class NodesBrowser(Section, frozen=True, kw_only=True):
    """Browsers on nodes."""

    mode: Literal["auto", "manual", "off"] | None = None
    node: Text = None


class Nodes(Section, frozen=True, kw_only=True):
    """Devices that lend the gateway their abilities."""

    browser: NodesBrowser | None = None
    allow_commands: Strings | None = None
    deny_commands: Strings | None = None


class Images(Section, frozen=True, kw_only=True):
    """Limits on images that a request brings."""

    allow_url: Annotated[
        Flag, doc("may be named by the address of a page of the web")
    ] = None
    allowed_mimes: Annotated[Strings | None, doc("media types")] = None
    max_bytes: Annotated[Positive | None, doc("of one image")] = None
    max_redirects: Annotated[Count | None, doc("to follow for one image")] = None
    timeout_ms: Annotated[Positive | None, doc("for one image")] = None


class ChatCompletions(Section, frozen=True, kw_only=True):
    """``POST /v1/chat/completions``."""

    enabled: Annotated[bool, doc("serve it, and the list of models")] = False
    max_body_bytes: Annotated[
        int, Meta(ge=1024, le=2**40), ours("largest request body")
    ] = 20_971_520
    on_disconnect: Annotated[
        Literal["cancel", "grace", "finish"],
        ours("what happens to a run whose client has gone"),
    ] = "cancel"
    disconnect_grace_seconds: Annotated[
        Seconds, ours('how long a run waits for its client with onDisconnect: "grace"')
    ] = 30.0
    images: Annotated[
        Images,
        ours(
            "pictures in messages; without allowUrl only those that come as data: URLs"
        ),
    ] = Images()


class Pdf(Section, frozen=True, kw_only=True):
    """Limits on PDF files."""

    max_pages: Positive | None = None
    max_pixels: Positive | None = None
    min_text_chars: Count | None = None


class Files(Images, frozen=True, kw_only=True):
    """Limits on files that a request brings."""

    max_chars: Positive | None = None
    pdf: Pdf | None = None


class Responses(Section, frozen=True, kw_only=True):
    """``POST /v1/responses``."""

    enabled: bool = False
    max_body_bytes: Positive | None = None
    files: Files | None = None
    images: Images | None = None


class OpenApi(Section, frozen=True, kw_only=True):
    """ours: ``GET /openapi.json``."""

    enabled: Annotated[bool, ours("serve the description of the HTTP endpoints")] = (
        False
    )


class Endpoints(Section, frozen=True, kw_only=True):
    """The OpenAI-compatible paths, each off until it is enabled."""

    chat_completions: ChatCompletions = ChatCompletions()
    responses: Responses = Responses()
    openapi: Annotated[OpenApi, ours("the OpenAPI document of what is served")] = (
        OpenApi()
    )


class Cors(Section, frozen=True, kw_only=True):
    """ours: which web pages may call the gateway from a browser."""

    allowed_origins: Annotated[
        Strings, ours("scheme://host[:port] each, compared as a whole")
    ] = ()

    def __post_init__(self) -> None:
        origins = parse_origins(self.allowed_origins)
        msgspec.structs.force_setattr(self, "allowed_origins", origins)


class Http(Section, frozen=True, kw_only=True):
    """HTTP on the gateway's port."""

    endpoints: Endpoints = Endpoints()
    cors: Annotated[Cors, ours("cross-origin requests")] = Cors()
    header_timeout_seconds: Annotated[
        Seconds, ours("from the first byte of a request to the end of its headers")
    ] = 10.0
    body_timeout_seconds: Annotated[
        Seconds, ours("from the end of the headers to the end of the body")
    ] = 30.0
    idle_timeout_seconds: Annotated[
        Seconds, ours("without a request on a kept connection")
    ] = 75.0
    stall_timeout_seconds: Annotated[
        Seconds, ours("with a full socket that the client does not read")
    ] = 60.0
    keep_alive_seconds: Annotated[
        Seconds, ours("between two signs of life on a silent stream")
    ] = 10.0


class Limits(Section, frozen=True, kw_only=True):
    """ours: bounds on what the gateway takes in."""

    max_queued_runs: Annotated[Positive, ours("waiting runs, all sessions")] = 256
    max_queued_per_session: Annotated[Positive, ours("waiting runs, each session")] = 20
    max_run_bytes: Annotated[Positive, ours("the log of one run")] = 67_108_864
    max_requests_in_flight: Annotated[
        Positive, ours("unanswered requests, each WebSocket connection")
    ] = 128
    max_connections_per_address: Annotated[
        Positive,
        ours("open connections of one address, but for loopback and trusted proxies"),
    ] = 256
    max_auth_failures_per_minute: Annotated[
        Positive, ours("wrong secrets from one address before it has to wait")
    ] = 10


class Metrics(Section, frozen=True, kw_only=True):
    """ours: figures for Prometheus, at ``/metrics``."""

    enabled: Annotated[
        bool, ours("on the gateway's port, for who brings the secret")
    ] = False
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None,
        ours("of a listener for metrics and probes alone, which asks for no secret"),
    ] = None
    bind: Annotated[str, ours("the IP address of that listener")] = "127.0.0.1"
    endpoint: Annotated[
        NotEmpty | None, ours("its Twisted endpoint, instead of port and bind")
    ] = None

    def __post_init__(self) -> None:
        try:
            ip_address(self.bind)
        except ValueError:
            raise BadField(("bind",), "expected an IP address") from None
        if self.port is not None and self.endpoint is not None:
            message = "the listener has a port already; use one of the two"
            raise BadField(("endpoint",), message)


class Gateway(Section, frozen=True, kw_only=True):
    """The listener and everything on it."""

    mode: Annotated[
        Literal["local", "remote"] | None, doc("only a local gateway can be run")
    ] = None
    port: Annotated[int, Meta(ge=1, le=65535), doc("HTTP and WebSocket")] = 18789
    bind: Annotated[
        Literal["auto", "lan", "loopback", "custom", "tailnet"],
        doc("which of the machine's addresses"),
    ] = "loopback"
    custom_bind_host: Annotated[Text, ours("the IP address for bind: custom")] = None
    endpoints: Annotated[
        tuple[NotEmpty, ...],
        ours("Twisted endpoints to listen at, instead of port and bind"),
    ] = ()
    auth: GatewayAuth = GatewayAuth()
    trusted_proxies: Annotated[
        Strings,
        doc("IP addresses, and networks (ours), whose forwarded headers are believed"),
    ] = ()
    allowed_hosts: Annotated[
        Strings, ours("further names that may stand in Host; *.name for all below it")
    ] = ()
    tls: GatewayTls = GatewayTls()
    control_ui: ControlUi = ControlUi()
    tailscale: Tailscale = Tailscale()
    remote: Remote = Remote()
    reload: Reload = Reload()
    nodes: Nodes = Nodes()
    http: Http = Http()
    limits: Annotated[Limits, ours("bounds")] = Limits()
    metrics: Annotated[Metrics, ours("what Prometheus reads")] = Metrics()
    drain_seconds: Annotated[
        float, Meta(ge=0), ours("how long a stopping gateway waits for its runs")
    ] = 30.0

    def __post_init__(self) -> None:
        hosts = parse_hosts(self.allowed_hosts)
        msgspec.structs.force_setattr(self, "allowed_hosts", hosts)
        check_networks(self.trusted_proxies)
        if self.auth.trusted_proxy.user_header and not self.trusted_proxies:
            place = ("auth", "trustedProxy", "userHeader")
            raise BadField(place, "needs the proxies in gateway.trustedProxies")
