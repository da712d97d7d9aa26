"""What the handshake's values show of themselves."""

from __future__ import annotations

import msgspec

from moltbot_gw.wire.connect import CLIENT_IDS, AuthParams, ConnectParams, DeviceGrant

SECRET = "hunter2-hunter2"


def test_no_secret_shows_in_a_repr() -> None:
    auth = AuthParams(token=SECRET, password=SECRET)
    grant = DeviceGrant(device_token=SECRET, role="operator", scopes=(), issued_at_ms=1)
    client = {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}
    raw = {"minProtocol": 3, "maxProtocol": 3, "client": client}
    params = msgspec.convert({**raw, "auth": {"token": SECRET}}, ConnectParams)
    assert SECRET not in f"{auth!r} {grant!r} {params!r}"


def test_the_apps_are_known_by_all_names_of_the_product() -> None:
    for app in ("control-ui", "macos", "ios", "android", "probe"):
        for product in ("moltbot", "clawdbot", "openclaw"):
            assert f"{product}-{app}" in CLIENT_IDS
