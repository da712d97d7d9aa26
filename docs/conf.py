"""The manual: ``docs/build`` makes the site and the man pages, and forgives nothing."""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = Path(__file__).parent
# The generators, and the tree that they read rather than an installed copy of it.
sys.path[:0] = [str(_HERE / "_ext"), str(_HERE.parent)]

from moltbot_gw import __version__  # noqa: E402  (the path comes first)

project = "Moltbot gateway for Python"
author = "its authors"
copyright = "MIT licence"
version = release = __version__
extensions = ["generated"]
exclude_patterns = ["_build", "_ext"]
nitpicky = True
smartquotes = False
html_theme = "furo"
html_title = f"Moltbot gateway {release}"
html_show_copyright = html_show_sphinx = False
man_pages = [
    ("man/moltbot", "moltbot", "talk to AI agents, look after the gateway", [], 1),
    (
        "man/moltbot-gateway",
        "moltbot-gateway",
        "serve AI agents on one port",
        [],
        8,
    ),
]
man_show_urls = False
