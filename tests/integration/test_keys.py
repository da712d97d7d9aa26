"""Named keys of a running daemon, made and taken back on the command line."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.cli.support import COMMAND
from tests.integration.conftest import StartDaemon
from tests.integration.gateway import configuration
from tests.support.daemon import PATIENCE, environment


def run(home: Path, *words: str) -> str:
    """Run the command; return its stdout."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        env=environment(home, CLAWDBOT_CONFIG_PATH=str(home / "moltbot.json")),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return done.stdout.strip()


def models(port: int, secret: str) -> tuple[int, list[str]]:
    """Return the status, and the models that a key sees."""
    headers = {"Authorization": f"Bearer {secret}"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as client:
        client.request("GET", "/v1/models", headers=headers)
        response = client.getresponse()
        answer = json.loads(response.read())
    return response.status, [model["id"] for model in answer.get("data", ())]


def test_a_running_daemon_takes_keys_in_and_lets_them_go(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    path = tmp_path / "moltbot.json"
    path.write_text(json.dumps(configuration(None)))
    daemon = start_daemon(f"--config={path}", "--dev", "--port=0")
    port = daemon.listening()
    secret = run(tmp_path, "keys", "create", "ci", "--agents", "beta")
    daemon.wait_for("the keys are now: ci")
    assert models(port, secret) == (200, ["moltbot:beta"])
    run(tmp_path, "keys", "revoke", "ci")
    daemon.wait_for("the keys are now: none")
    assert models(port, secret)[0] == 401
    assert daemon.stop() == 0
    assert secret not in daemon.output
