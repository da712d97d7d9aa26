from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from OpenSSL.SSL import OP_NO_TLSv1, OP_NO_TLSv1_1
from twisted.internet.ssl import CertificateOptions

from moltbot_gw.config import GatewayTls
from moltbot_gw.refusal import StartRefused
from moltbot_gw.tlsfiles import VALID_DAYS, server_tls_options

OWN = GatewayTls(enabled=True)


def made_in(state: Path) -> tuple[Path, Path]:
    """Return certificate and key that the gateway made for itself in *state*."""
    server_tls_options(OWN, state)
    folder = state / "gateway" / "tls"
    return folder / "gateway-cert.pem", folder / "gateway-key.pem"


def refusal(state: Path, tls: GatewayTls = OWN) -> str:
    with pytest.raises(StartRefused) as caught:
        server_tls_options(tls, state)
    return str(caught.value)


def test_certificate_is_made_once_and_used_again(tmp_path: Path) -> None:
    certificate, key = made_in(tmp_path)
    before = certificate.read_bytes(), key.read_bytes()
    assert isinstance(server_tls_options(OWN, tmp_path), CertificateOptions)
    assert (certificate.read_bytes(), key.read_bytes()) == before


def test_what_was_made_is_for_its_owner_only(tmp_path: Path) -> None:
    certificate, key = made_in(tmp_path)
    assert certificate.stat().st_mode & 0o777 == 0o600
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700


def test_made_certificate_names_localhost_and_lasts(tmp_path: Path) -> None:
    certificate, _ = made_in(tmp_path)
    made = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    lasts = made.not_valid_after_utc - datetime.now(timezone.utc)
    assert timedelta(days=VALID_DAYS - 1) < lasts


def test_files_may_be_elsewhere(tmp_path: Path) -> None:
    certificate, key = made_in(tmp_path / "a")
    tls = GatewayTls(enabled=True, cert_path=str(certificate), key_path=str(key))
    server_tls_options(tls, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_whole_chain_is_presented(tmp_path: Path) -> None:
    certificate, _ = made_in(tmp_path / "a")
    other, _ = made_in(tmp_path / "b")
    certificate.write_bytes(
        b"a comment\n" + certificate.read_bytes() + other.read_bytes()
    )
    options = server_tls_options(OWN, tmp_path / "a")
    assert len(options.extraCertChain) == 1


# Twisted hands pyOpenSSL its own certificates.
@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
def test_old_versions_of_tls_are_off(tmp_path: Path) -> None:
    made_in(tmp_path)
    context = server_tls_options(OWN, tmp_path).getContext()
    disabled = context.set_options(0)
    assert disabled & OP_NO_TLSv1
    assert disabled & OP_NO_TLSv1_1


def test_nothing_is_made_unasked(tmp_path: Path) -> None:
    tls = GatewayTls(enabled=True, auto_generate=False)
    assert refusal(tmp_path, tls) == "gateway tls: cert/key missing"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("gone", [0, 1])
def test_half_a_pair_is_refused_and_not_replaced(tmp_path: Path, gone: int) -> None:
    pair = made_in(tmp_path)
    pair[gone].unlink()
    assert refusal(tmp_path) == "gateway tls: cert/key missing"
    assert not pair[gone].exists()


def test_mismatched_pair_is_refused(tmp_path: Path) -> None:
    _, key = made_in(tmp_path / "a")
    _, other = made_in(tmp_path / "b")
    key.write_bytes(other.read_bytes())
    assert "do not belong together" in refusal(tmp_path / "a")


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("content", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----"])
def test_garbage_is_refused(tmp_path: Path, number: int, content: bytes) -> None:
    made_in(tmp_path)[number].write_bytes(content)
    assert "cannot be read as PEM" in refusal(tmp_path)


def test_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gateway").touch()
    assert "cannot write the certificate" in refusal(tmp_path)
