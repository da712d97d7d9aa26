"""TLS towards a gateway whose certificate is known by its fingerprint."""

from __future__ import annotations

from hashlib import sha256

from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    CertificateOptions,
    TLSVersion,
    optionsForClientTLS,
    platformTrust,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from moltbot_gw.client.target import parse_fingerprint


def client_tls(host: str, fingerprint: str | None) -> IOpenSSLClientConnectionCreator:
    """Return how to verify the gateway at *host*; TLS 1.2 or later.

    Without a fingerprint the system's authorities vouch for the host name.
    """
    if fingerprint is not None:
        return PinnedCertificate(parse_fingerprint(fingerprint))
    return optionsForClientTLS(
        host,
        trustRoot=platformTrust(),
        extraCertificateOptions={"raiseMinimumTo": TLSVersion.TLSv1_2},
    )


@implementer(IOpenSSLClientConnectionCreator)
class PinnedCertificate:
    """Believe one certificate, whatever its name, age and issuer.

    The fingerprint says it all: a self-signed certificate is as good as any other.
    """

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        options = CertificateOptions(raiseMinimumTo=TLSVersion.TLSv1_2)
        self._context: SSL.Context = options.getContext()

    def clientConnectionForTLS(
        self, tlsProtocol: TLSMemoryBIOProtocol
    ) -> SSL.Connection:
        """Return a connection that verifies the fingerprint and nothing else."""
        connection = SSL.Connection(self._context, None)
        mode = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        connection.set_verify(mode, self._verify)
        return connection

    def _verify(
        self, _: SSL.Connection, certificate: X509, error: int, depth: int, ok: int
    ) -> bool:
        # OpenSSL asks for the issuers too, when it gets some; only the leaf counts.
        return depth > 0 or fingerprint_of(certificate) == self._fingerprint


def fingerprint_of(certificate: X509) -> str:
    """Return the SHA-256 of *certificate* as 64 lower-case hex digits."""
    from OpenSSL.crypto import FILETYPE_ASN1, dump_certificate

    return sha256(dump_certificate(FILETYPE_ASN1, certificate)).hexdigest()
