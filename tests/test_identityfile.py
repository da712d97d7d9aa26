from __future__ import annotations

import json
from pathlib import Path

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from moltbot_gw import privatefile
from moltbot_gw.identityfile import _Content, load_or_create
from tests.support.device import make_identity

NOW_MS = 1769700000000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "identity" / "device.json"


def write(path: Path, **changes: object) -> None:
    content = {"version": 1, "privateKeyPem": make_identity().private_pem(), **changes}
    path.parent.mkdir()
    path.write_text(json.dumps(content))


def test_new_identity_is_kept_in_the_originals_form(path: Path) -> None:
    identity = load_or_create(path, now_ms=NOW_MS)
    assert json.loads(path.read_text()) == {
        "version": 1,
        "deviceId": identity.id,
        "publicKeyPem": identity.public_pem,
        "privateKeyPem": identity.private_pem(),
        "createdAtMs": NOW_MS,
    }


def test_file_and_folder_are_the_owners_only(path: Path) -> None:
    load_or_create(path, now_ms=NOW_MS)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_identity_stays_the_same(path: Path) -> None:
    first = load_or_create(path, now_ms=NOW_MS)
    assert load_or_create(path, now_ms=NOW_MS + 1).id == first.id


def test_only_the_private_key_is_believed(path: Path) -> None:
    write(path, deviceId="other", publicKeyPem="other", unknown=1)
    assert load_or_create(path, now_ms=NOW_MS).id == make_identity().id


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "\udcff",
        "[" * 100_000,
        '{"version": 2, "privateKeyPem": "x"}',
        '{"version": 1, "privateKeyPem": "hidden words"}',
        '{"version": 1, "privateKeyPem": "\\ud83d\\ude00"}',
    ],
)
def test_file_without_a_key_is_moved_aside_and_told(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    told: list[str] = []

    def observe(event: LogEvent) -> None:
        told.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    try:
        identity = load_or_create(path, now_ms=NOW_MS)
    finally:
        globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]
    aside = path.with_name(f"device.json.corrupt-{NOW_MS}")
    assert aside.read_bytes() == content.encode("utf-8", "surrogateescape")
    assert load_or_create(path, now_ms=NOW_MS).id == identity.id
    [line] = told
    assert aside.name in line
    assert "hidden" not in line


def test_of_two_programs_that_start_at_once_the_file_decides(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_own = privatefile.write

    def overtaken(path: Path, data: bytes) -> None:
        write_own(path, data)
        path.unlink()
        path.parent.rmdir()
        write(path)  # the other program's

    monkeypatch.setattr(privatefile, "write", overtaken)
    assert load_or_create(path, now_ms=NOW_MS).id == make_identity().id


def test_unreadable_file_is_an_error_and_stays(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        load_or_create(path, now_ms=NOW_MS)
    assert path.is_dir()


def test_content_of_the_file_does_not_show() -> None:
    content = _Content(version=1, private_key_pem="hidden", device_id="d1")
    assert "hidden" not in repr(content)
    assert "d1" in repr(content)
