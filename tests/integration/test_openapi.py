"""What ``/openapi.json`` says is true: schemathesis sends what it allows, and more."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.integration.conftest import StartDaemon
from tests.integration.gateway import TOKEN, configuration
from tests.support.daemon import environment

SCHEMATHESIS = Path(sys.executable).with_name("st")
SECONDS = 120.0

# A schema does not say what holds between fields (tool_choice names one of tools), nor
# which agents and models there are; so a request that it allows may be refused.
_LEFT_OUT = "positive_data_acceptance"

# A list that is longer than allowed is refused by the size of the body.
_SETTINGS = """
[checks]
negative_data_rejection.expected-statuses = ["400", "401", "404", "405", "409", "413"]
"""


def config() -> dict[str, object]:
    limits = {"maxAuthFailuresPerMinute": 100_000}
    endpoints = {"openapi": {"enabled": True}}
    echo = {"defaults": {"model": {"primary": "echo/echo"}}}
    gateway = {
        "limits": limits,
        "http": {"endpoints": endpoints},
        "metrics": {"enabled": True},
    }
    return configuration(None, gateway=gateway, agents=echo)


def test_the_gateway_does_what_its_document_says(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    path = tmp_path / "moltbot.json"
    path.write_text(json.dumps(config()))
    (tmp_path / "schemathesis.toml").write_text(_SETTINGS)
    daemon = start_daemon(f"--config={path}", "--port=0")
    port = daemon.listening()
    result = subprocess.run(
        [
            str(SCHEMATHESIS),
            "run",
            f"http://127.0.0.1:{port}/openapi.json",
            f"--header=Authorization: Bearer {TOKEN}",
            f"--exclude-checks={_LEFT_OUT}",
            "--phases=coverage,fuzzing",
            "--max-examples=20",
            "--generation-deterministic",
            "--no-color",
        ],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.output
    answered = set(re.findall(r"(POST chat\.\S+|GET \S+) (\d{3})", daemon.output))
    routes = ["POST chat.completions", "GET models", "GET model", "GET openapi"]
    routes += ["GET healthz", "GET readyz", "GET metrics"]
    assert {(route, "200") for route in routes} <= answered
    assert {("POST chat.completions", "400"), ("GET models", "401")} <= answered
    assert ("GET run", "404") in answered
