"""Secrets in files: the configuration's own, and systemd's credentials."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moltbot_gw.config import BadSecretFile, ConfigError, load_environ, read_secret
from moltbot_gw.config.secretfile import MAX_SECRET_BYTES


def keep(folder: Path, name: str, data: bytes, mode: int = 0o600) -> Path:
    """Write a file as *mode* has it."""
    path = folder / name
    path.write_bytes(data)
    path.chmod(mode)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(BadSecretFile) as caught:
        read_secret(path, {})
    return str(caught.value)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_newline_at_the_end_does_not_count(tmp_path: Path, end: bytes) -> None:
    path = keep(tmp_path, "token", b"s3cret \xc3\xa9" + end)
    assert read_secret(path, {}).reveal() == "s3cret é"


def test_only_one_newline_is_dropped(tmp_path: Path) -> None:
    assert read_secret(keep(tmp_path, "t", b"a\n\n"), {}).reveal() == "a\n"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_file_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = keep(tmp_path, "token", b"secret", mode)
    assert refusal(path).startswith(f"{path} is open to others than its owner")


def test_systemds_own_folder_is_private_as_a_whole(tmp_path: Path) -> None:
    path = keep(tmp_path, "token", b"secret", 0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read_secret(path, environ).reveal() == "secret"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff", "is not UTF-8"),
        (b"x" * (MAX_SECRET_BYTES + 1), "is larger than"),
    ],
)
def test_content_that_is_no_secret(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in refusal(keep(tmp_path, "token", data))


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "Is a directory" in refusal(tmp_path)
    assert "No such file" in refusal(tmp_path / "none")
    assert "impossible" in refusal(tmp_path / "a\0b")
    assert "give the whole path" in refusal(Path("token"))
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "is not a file" in refusal(tmp_path / "pipe")


def test_credentials_fill_in_what_the_environment_lacks(tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    for name in ("KEY", "BLANK", "OTHER", "IN_DOTENV", "gateway-token"):
        keep(folder, name, b"credential\n", 0o440)
    keep(folder, "tls.key", b"\xff")
    keep(tmp_path, ".env", b"IN_DOTENV=dotenv\nONLY_DOTENV=dotenv\n")
    environ = {
        "KEY": "environment",
        "BLANK": " ",
        "CREDENTIALS_DIRECTORY": str(folder),
    }
    assert load_environ(environ, tmp_path) == {
        "KEY": "environment",
        "BLANK": "credential",
        "OTHER": "credential",
        "IN_DOTENV": "credential",
        "ONLY_DOTENV": "dotenv",
        "gateway-token": "credential",
        "CREDENTIALS_DIRECTORY": str(folder),
    }


def test_credentials_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "none")}
    with pytest.raises(ConfigError, match="CREDENTIALS_DIRECTORY cannot be read"):
        load_environ(environ, tmp_path)
    keep(tmp_path, "KEY", b"\xff")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    with pytest.raises(ConfigError, match="KEY is not UTF-8"):
        load_environ(environ, tmp_path)
