"""Which paths there are.  The gate decides by this table, before a body is read."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import msgspec

from moltbot_gw.principals import CHAT, READ

_PREFIX = b"/v1"
# WebSocket clients choose the ids of their runs; no slash, so that none is a path, and
# no blank, so that none is two words of a log's line.
_RUN_ID = re.compile(rb"[!-.0-~]{1,255}")


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One route: *name* for logs, *segments* the canonical path that Klein is shown.

    Where it *takes_body*, a request has a body that is kept.
    A named key needs *scope* for it.  Requests that start runs are *metered*.
    """

    name: str
    segments: tuple[bytes, ...]
    methods: tuple[str, ...]
    takes_body: bool = False
    scope: str = CHAT
    metered: bool = False


COMPLETIONS = Route(
    name="chat.completions",
    segments=(b"v1", b"chat", b"completions"),
    methods=("POST",),
    takes_body=True,
    metered=True,
)
WEBSOCKET = Route(name="websocket", segments=(), methods=("GET",))
"""Any path whose request asks to become a WebSocket."""

MODELS = Route(name="models", segments=(b"v1", b"models"), methods=("GET", "HEAD"))
OPENAPI = Route(name="openapi", segments=(b"openapi.json",), methods=("GET", "HEAD"))

HEALTHZ = Route(name="healthz", segments=(b"healthz",), methods=("GET", "HEAD"))
READYZ = Route(name="readyz", segments=(b"readyz",), methods=("GET", "HEAD"))
METRICS = Route(
    name="metrics", segments=(b"metrics",), methods=("GET", "HEAD"), scope=READ
)

PROBES = (HEALTHZ, READYZ)
"""What anybody may ask, under one spelling: init systems and load balancers do."""

_BY_PATH = {
    b"/healthz": HEALTHZ,
    b"/readyz": READYZ,
    b"/metrics": METRICS,
    b"/openapi.json": OPENAPI,
}


def find_route(path: bytes) -> Route | None:
    """Return the route for the raw *path* (percent-encoded, no query), or None.

    Of completions and models the prefix ``/v1`` may be missing or doubled, as several
    clients do, and one slash may trail; nothing else is tolerated, so that no spelling
    slips past the gate.
    """
    route = _BY_PATH.get(path)
    if route is not None:
        return route
    for _ in range(2):
        if path.startswith(_PREFIX + b"/"):
            path = path[len(_PREFIX) :]
    if len(path) > 1:
        path = path.removesuffix(b"/")
    if path == b"/chat/completions":
        return COMPLETIONS
    if path == b"/models":
        return MODELS
    if path.startswith(b"/models/"):
        return _model_route(path.removeprefix(b"/models/"))
    if path.startswith(b"/runs/"):
        return _run_route(*path.removeprefix(b"/runs/").split(b"/"))
    return None


def _model_route(encoded: bytes) -> Route | None:
    name = unquote_to_bytes(encoded)
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not text or not text.isprintable() or b"//" in name or name.endswith(b"/"):
        return None
    return Route(
        name="model", segments=(b"v1", b"models", name), methods=MODELS.methods
    )


def _run_route(encoded: bytes, *rest: bytes) -> Route | None:
    run_id = unquote_to_bytes(encoded)
    if not _RUN_ID.fullmatch(run_id):
        return None
    segments = (b"v1", b"runs", run_id, *rest)
    if not rest:
        return Route(name="run", segments=segments, methods=("GET", "HEAD"))
    if rest == (b"stream",):
        return Route(name="run.stream", segments=segments, methods=("GET", "HEAD"))
    if rest == (b"cancel",):
        return Route(name="run.cancel", segments=segments, methods=("POST",))
    return None
