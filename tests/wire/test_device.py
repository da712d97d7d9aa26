from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode, urlsafe_b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from hypothesis import given
from hypothesis import strategies as st

from moltbot_gw.wire.device import (
    DeviceIdentity,
    device_id_of,
    encode,
    find_bytes,
    find_public_key,
    is_signed,
    signed_text,
)
from tests.support.device import context, make_identity

NONCE = "11111111-2222-4333-8444-555555555555"
SIGNED_AT_MS = 1769700000000


def test_text_with_a_nonce_is_the_second_version() -> None:
    signed = context(token="s3cret", scopes=("operator.admin", "operator.read"))
    assert signed_text("ab12", signed, SIGNED_AT_MS, NONCE) == (
        "v2|ab12|cli|cli|operator|operator.admin,operator.read|1769700000000|s3cret|"
        "11111111-2222-4333-8444-555555555555"
    )


def test_text_without_a_nonce_is_the_first_version() -> None:
    signed = context(token="s3cret")
    text = "v1|ab12|cli|cli|operator|operator.admin|1769700000000|s3cret"
    assert signed_text("ab12", signed, SIGNED_AT_MS, None) == text
    assert signed_text("ab12", signed, SIGNED_AT_MS, "") == text


def test_absent_scopes_and_token_are_empty_fields() -> None:
    signed = context(client_id="test", client_mode="node", role="node", scopes=())
    assert signed_text("ab12", signed, 7, "n") == "v2|ab12|test|node|node||7||n"


def test_key_of_the_standard_gives_the_known_public_key_and_id() -> None:
    # RFC 8032, section 7.1, test 1.
    public = bytes.fromhex(
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    )
    text = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert encode(public) == text
    assert find_public_key(text) == public
    assert device_id_of(public) == (
        "21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9"
    )


def test_signature_of_the_standard_is_accepted() -> None:
    # RFC 8032, section 7.1, test 2: the message is one byte, "r".
    public = bytes.fromhex(
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    )
    signature = encode(
        bytes.fromhex(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        )
    )
    assert is_signed(public, signature, "r")
    assert not is_signed(public, signature, "s")


@pytest.mark.parametrize("nonce", [NONCE, None])
def test_identity_signs_the_text(nonce: str | None) -> None:
    identity = make_identity()
    claim = identity.sign(context(token="t"), SIGNED_AT_MS, nonce)
    text = signed_text(identity.id, context(token="t"), SIGNED_AT_MS, nonce)
    raw = urlsafe_b64decode(claim.public_key + "=")
    signature = urlsafe_b64decode(claim.signature + "==")
    Ed25519PublicKey.from_public_bytes(raw).verify(signature, text.encode())
    assert claim.id == hashlib.sha256(raw).hexdigest()
    assert (claim.signed_at_ms, claim.nonce) == (SIGNED_AT_MS, nonce)


# The signatures of Node's own crypto, with the key of 32 bytes 0x01.
VECTORS = {
    None: "IgHvx-EyxMEG-WYMhmOw7CoAygOrlhk8ETNyIxRZED6c"
    "31y-wxiSa-IMcd3RP6hbBV9JSdFJS5t1VwgzVXFkAg",
    NONCE: "oyvDfN1Gd6Mx__wV7qIsDFM-o5j0s2WbZrGHnlXmwzNk"
    "uVVQfcoNkNWfMMfF-Fx1D9HwPV1tupzjK8WS0ahHBA",
}


@pytest.mark.parametrize("nonce", VECTORS)
def test_signature_is_that_of_other_clients(nonce: str | None) -> None:
    claim = make_identity(1).sign(context(token="s3cret"), SIGNED_AT_MS, nonce)
    assert claim.signature == VECTORS[nonce]
    assert claim.public_key == "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w"
    assert claim.id == (
        "34750f98bd59fcfc946da45aaabe933be154a4b5094e1c4abf42866505f3c97e"
    )


def test_generated_identities_differ() -> None:
    assert DeviceIdentity.generate().id != DeviceIdentity.generate().id


def test_identity_is_the_same_after_a_way_through_its_private_key() -> None:
    identity = DeviceIdentity.generate()
    again = DeviceIdentity.from_pem(identity.private_pem())
    assert (again.id, again.public_key) == (identity.id, identity.public_key)
    key = load_pem_public_key(again.public_pem.encode())
    assert isinstance(key, Ed25519PublicKey)
    assert encode(key.public_bytes_raw()) == identity.public_key


def test_private_keys_of_other_kinds_are_refused() -> None:
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    own = load_pem_private_key(make_identity().private_pem().encode(), None)
    locked = own.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass")
    )
    for pem in (other, locked, b"", b"-----BEGIN PRIVATE KEY-----"):
        with pytest.raises(ValueError, match=r"."):
            DeviceIdentity.from_pem(pem.decode())


@pytest.mark.parametrize("data", [b"\xfb\xff\xfe", b"\xfb\xff", b"\xfb"])
def test_both_alphabets_and_padding_are_read(data: bytes) -> None:
    standard = b64encode(data).decode()
    bare = standard.rstrip("=")
    for text in (standard, bare, encode(data), encode(data) + "=="):
        assert find_bytes(text) == data


@pytest.mark.parametrize("text", ["", "=", "a", "a b=", "aé", "\ud800", "a" * 1001])
def test_what_is_not_base64_says_nothing(text: str) -> None:
    assert find_bytes(text) is None


def test_public_key_may_be_a_pem() -> None:
    identity = make_identity()
    raw = b64decode(identity.public_key.replace("-", "+").replace("_", "/") + "=")
    assert find_public_key(identity.public_pem) == raw
    assert find_public_key(identity.public_pem.replace("\n", "\r\n")) == raw


def test_pem_of_anything_else_is_no_public_key() -> None:
    elliptic = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = elliptic.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    identity = make_identity()
    padded = identity.public_pem + " " * 1000
    for text in (pem.decode(), identity.private_pem(), "BEGIN", "BEGIN\ud800", padded):
        assert find_public_key(text) is None


@given(st.text(), st.text())
def test_no_text_breaks_the_check_of_a_signature(signature: str, text: str) -> None:
    raw = find_bytes(make_identity().public_key)
    assert raw is not None
    assert not is_signed(raw, signature, text)


def test_half_a_surrogate_pair_is_signed_by_nobody() -> None:
    identity = make_identity()
    raw = find_bytes(identity.public_key)
    claim = identity.sign(context(), 1, None)
    assert raw is not None
    assert not is_signed(raw, claim.signature, "\ud800")


def test_secrets_do_not_show() -> None:
    identity = make_identity()
    secret = identity.private_pem().splitlines()[1]
    assert secret not in repr(identity)
    assert identity.id in repr(identity)
    assert "s3cret" not in repr(context(token="s3cret"))
