"""What the tests of reading and editing share: a file with comments and secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.config.edit import Mode
from moltbot_gw.config.file import ConfigFile
from moltbot_gw.config.refusal import EditRefused
from moltbot_gw.config.snapshot import Snapshot

from .support import write

HIDDEN = "__MOLTBOT_REDACTED__"

SAMPLE = """\
// the office gateway, old token: sk-old-0123456789abcdef
{
  gateway: {
    mode: 'local',  // started by hand
    auth: { token: "${GW_TOKEN}", password: 'pw-of-the-gateway' },
  },
  models: {
    providers: {
      local: {
        baseUrl: "http://127.0.0.1:8000/v1",
        apiKey: "key-of-the-server", // "key-of-the-server" again
        headers: { "X-Team": 'header-of-the-team' },
        models: [ { id: "m1", name: "Local M1", headers: { x: "header-of-m1" } } ],
      },
    },
  },
  agents: {
    list: [
      { id: "main", default: true, tools: { exec: { security: "deny" } } },
      { id: "beta", model: "local/m1" },
    ],
  },
  channels: { telegram: { botToken: "bot-of-the-office" } },
}
"""
SECRETS = (
    "token-of-the-gateway",
    "pw-of-the-gateway",
    "sk-old-0123456789abcdef",
    "key-of-the-server",
    "header-of-the-team",
    "header-of-m1",
    "bot-of-the-office",
)
ENVIRON = {"GW_TOKEN": "token-of-the-gateway"}


def config_file(
    folder: Path, content: Any = SAMPLE, environ: Mapping[str, str] = ENVIRON
) -> ConfigFile:
    """Return the file with *content*, None for no file, in the home *folder*."""
    path = folder / ".moltbot" / "moltbot.json"
    if content is not None:
        write(path.parent, content)
    return ConfigFile(environ, folder, path)


def edit(file: ConfigFile, mode: Mode, content: Any) -> Snapshot:
    """Make the edit *content* (text or tree) with the hash that the file has."""
    raw = content if isinstance(content, str) else json.dumps(content)
    return file.edit(mode, raw, file.snapshot().hash)


def refuse(file: ConfigFile, mode: Mode, content: Any) -> str:
    """Return why the edit is refused; the file stays as it was."""
    before = file.path.read_text() if file.path.exists() else None
    with pytest.raises(EditRefused) as caught:
        edit(file, mode, content)
    assert (file.path.read_text() if file.path.exists() else None) == before
    return caught.value.message
