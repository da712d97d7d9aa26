"""The parameters of ``exec``, as models are told of them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from moltbot_gw.agents.allowlist import Ask, Security
from moltbot_gw.tooling import ToolParams
from moltbot_gw.tools.exec_settings import MAX_SECONDS


class ExecParams(ToolParams, frozen=True, kw_only=True):
    """The parameters of ``exec``."""

    command: Annotated[str, Meta(description="Shell command to run", min_length=1)]
    workdir: Annotated[
        str | None, Meta(description="Folder to run in (default: the workspace)")
    ] = None
    env: Annotated[dict[str, str], Meta(description="More environment variables")] = {}
    yield_ms: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="Milliseconds to wait before it goes to the background"),
    ] = None
    background: Annotated[
        bool, Meta(description="Do not wait for it; use process to follow it")
    ] = False
    timeout: Annotated[
        Annotated[float, Meta(gt=0, le=MAX_SECONDS)] | None,
        Meta(description="Seconds after which it is ended"),
    ] = None
    pty: Annotated[
        bool, Meta(description="Run it on a terminal, which also gives it input")
    ] = False
    host: Annotated[
        Literal["sandbox", "gateway", "node"] | None,
        Meta(description="Where to run it; only gateway is there"),
    ] = None
    security: Annotated[
        Security | None, Meta(description="Stricter rules than the configured ones")
    ] = None
    ask: Annotated[
        Ask | None, Meta(description="Stricter questions than the configured ones")
    ] = None
