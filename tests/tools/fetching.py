"""``web_fetch`` in a small web on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.threads import deferToThread

from moltbot_gw.config import WebFetch
from moltbot_gw.tooling import Tool, ToolContext
from moltbot_gw.tools.webfetch import web_fetch_tool
from tests.fetching.support import Web

CONTEXT = ToolContext(
    run_id="run",
    agent_id="main",
    session_key="main",
    session_id="1",
    model="p/m",
    workspace=Path("/nonexistent"),
    call_id="call",
    update=lambda text: None,
)


def web_fetch(web: Web, **config: Any) -> Tool:
    """Return the tool in *web*; *config* is the section of the configuration."""
    return web_fetch_tool(
        fetch=web.fetcher(),
        config=msgspec.convert(config, WebFetch),
        clock=web.clock,
        run_in_thread=deferToThread,
    )
