"""The gateway's own certificate: read it, or make a self-signed one at first start."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    KeyPair,
    PrivateCertificate,
    TLSVersion,
)

from moltbot_gw.config import GatewayTls
from moltbot_gw.refusal import StartRefused

VALID_DAYS = 3650
_BEGIN = b"-----BEGIN CERTIFICATE-----"


def tls_files(tls: GatewayTls, state: Path) -> tuple[Path, Path]:
    """Return where the certificate and its key are, or will be."""
    folder = state / "gateway" / "tls"
    certificate = Path(tls.cert_path or folder / "gateway-cert.pem")
    return certificate, Path(tls.key_path or folder / "gateway-key.pem")


def server_tls_options(tls: GatewayTls, state: Path) -> CertificateOptions:
    """Return the TLS settings for ``gateway.tls``: TLS 1.2 or later, chain included.

    Raises ``StartRefused`` when the files are missing or unreadable.
    """
    certificate, key = tls_files(tls, state)
    if not certificate.exists() and not key.exists() and tls.auto_generate:
        try:
            _generate(certificate, key)
        except OSError as error:
            raise StartRefused(
                f"gateway tls: cannot write the certificate: {error.strerror}"
            ) from None
    try:
        blocks = certificate.read_bytes().split(_BEGIN)[1:]
        chain = [Certificate.loadPEM(_BEGIN + block).original for block in blocks]
        private = PrivateCertificate.fromCertificateAndKeyPair(
            Certificate(chain[0]), KeyPair.load(key.read_bytes(), _pem())
        )
    except FileNotFoundError:
        raise StartRefused("gateway tls: cert/key missing") from None
    except Exception as error:
        # OpenSSL's errors and an empty list of blocks mean the same to the operator.
        raise StartRefused(
            "gateway tls: certificate and key cannot be read as PEM, or do not belong"
            f" together ({type(error).__name__})"
        ) from None
    return CertificateOptions(
        privateKey=private.privateKey.original,
        certificate=private.original,
        extraCertChain=chain[1:],
        raiseMinimumTo=TLSVersion.TLSv1_2,
    )


def _pem() -> int:
    from OpenSSL.crypto import FILETYPE_PEM

    return FILETYPE_PEM


def _generate(certificate: Path, key: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "moltbot-gateway")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.DNSName("localhost"),
                    x509.DNSName("moltbot-gateway"),
                    x509.IPAddress(ip_address("127.0.0.1")),
                    x509.IPAddress(ip_address("::1")),
                ]
            ),
            critical=False,
        )
        # Clients that are given this file to trust verify strictly (Python 3.13 does).
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(private.public_key()),
            critical=False,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key()),
            critical=False,
        )
        .sign(private, hashes.SHA256())
    )
    _write(
        key,
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    _write(certificate, made.public_bytes(serialization.Encoding.PEM))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
