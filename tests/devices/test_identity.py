from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_gw.devices.identity import (
    MAX_SKEW_MS,
    BadDevice,
    DeviceClaim,
    SignedContext,
    verify_device,
)
from moltbot_gw.wire.device import encode
from tests.support.device import context, make_identity

NOW_MS = 1769700000000
NONCE = "11111111-2222-4333-8444-555555555555"


def claim(nonce: str | None = NONCE, **changes: Any) -> DeviceClaim:
    """Return a fine claim, changed after it was signed."""
    signed = make_identity().sign(context(token="t"), NOW_MS, nonce)
    return msgspec.structs.replace(signed, **changes)


def verify(
    claim: DeviceClaim,
    signed: SignedContext | None = None,
    *,
    now_ms: int = NOW_MS,
    is_local: bool = False,
) -> str:
    return verify_device(
        claim,
        signed or context(token="t"),
        nonce=NONCE,
        now_ms=now_ms,
        is_local=is_local,
    )


def reason(claim: DeviceClaim, **options: Any) -> str:
    with pytest.raises(BadDevice) as caught:
        verify(claim, **options)
    return caught.value.reason


@pytest.mark.parametrize("is_local", [True, False])
def test_fine_claim_gives_the_public_key(is_local: bool) -> None:
    assert verify(claim(), is_local=is_local) == make_identity().public_key


def test_every_form_of_the_public_key_gives_the_same() -> None:
    identity = make_identity(3)
    standard = identity.public_key.replace("-", "+").replace("_", "/")
    assert standard != identity.public_key
    signed = identity.sign(context(token="t"), NOW_MS, NONCE)
    for text in (standard, standard + "=", identity.public_pem):
        told = msgspec.structs.replace(signed, public_key=text)
        assert verify(told) == identity.public_key


def test_signature_may_be_standard_base64() -> None:
    signature = claim().signature.replace("-", "+").replace("_", "/") + "=="
    assert verify(claim(signature=signature)) == make_identity().public_key


def test_nonce_is_read_without_the_spaces_around_it() -> None:
    assert verify(claim(nonce=NONCE), is_local=False)
    assert verify(claim(), is_local=False) == verify(
        msgspec.structs.replace(claim(), nonce=f" {NONCE}\n")
    )


@pytest.mark.parametrize("nonce", [None, "", "  "])
def test_local_client_may_sign_the_first_version(nonce: str | None) -> None:
    first = msgspec.structs.replace(claim(nonce=None), nonce=nonce)
    assert verify(first, is_local=True) == make_identity().public_key
    assert reason(first) == "nonce_required"


def test_signature_of_one_version_is_none_of_the_other() -> None:
    first, second = claim(nonce=None), claim()
    raised = msgspec.structs.replace(first, nonce=NONCE)
    lowered = msgspec.structs.replace(second, nonce=None)
    assert reason(raised, is_local=True) == "signature_invalid"
    assert reason(lowered, is_local=True) == "signature_invalid"


@pytest.mark.parametrize("skew_ms", [MAX_SKEW_MS, -MAX_SKEW_MS])
def test_clock_may_be_ten_minutes_off(skew_ms: int) -> None:
    assert verify(claim(), now_ms=NOW_MS + skew_ms)
    beyond = skew_ms + (1 if skew_ms > 0 else -1)
    assert reason(claim(), now_ms=NOW_MS + beyond) == "signature_expired"


@pytest.mark.parametrize(
    "signed",
    [
        context(token="other"),
        context(token=None),
        context(token="t", client_id="test"),
        context(token="t", client_mode="ui"),
        context(token="t", role="node"),
        context(token="t", scopes=()),
        context(token="t", scopes=("operator.admin", "operator.read")),
    ],
    ids=repr,
)
def test_every_part_of_the_context_is_signed(signed: SignedContext) -> None:
    with pytest.raises(BadDevice) as caught:
        verify(claim(), signed)
    assert caught.value.reason == "signature_invalid"


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("identity_mismatch", {"id": "0" * 64}),
    ("signature_expired", {"signed_at_ms": 0}),
    ("nonce_required", {"nonce": None}),
    ("nonce_mismatch", {"nonce": "another"}),
    ("signature_invalid", {"signature": "AAAA"}),
]


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_first_fault_in_the_protocols_order_is_told(first: int) -> None:
    changes: dict[str, Any] = {}
    for _, fault in reversed(FAULTS[first:]):
        changes.update(fault)
    assert reason(claim(**changes)) == FAULTS[first][0]


@pytest.mark.parametrize("size", [1, 31, 33, 64])
def test_key_of_another_size_is_told_when_all_before_it_is_fine(size: int) -> None:
    raw = b"\x07" * size
    changes = {"id": hashlib.sha256(raw).hexdigest(), "public_key": encode(raw)}
    assert reason(claim(**changes)) == "public_key_invalid"
    assert reason(claim(**changes, nonce="another")) == "nonce_mismatch"


@pytest.mark.parametrize("key", ["", "!", "BEGIN", "\ud800", "A" * 2000])
def test_key_that_says_nothing_has_no_id(key: str) -> None:
    assert reason(claim(public_key=key)) == "identity_mismatch"


def test_id_is_compared_exactly() -> None:
    assert reason(claim(id=make_identity().id.upper())) == "identity_mismatch"


def test_other_devices_signature_is_invalid() -> None:
    other = make_identity(2).sign(context(token="t"), NOW_MS, NONCE)
    assert reason(claim(signature=other.signature)) == "signature_invalid"


def test_text_is_the_protocols() -> None:
    texts = {
        "identity_mismatch": "device identity mismatch",
        "signature_expired": "device signature expired",
        "nonce_required": "device nonce required",
        "nonce_mismatch": "device nonce mismatch",
        "signature_invalid": "device signature invalid",
        "public_key_invalid": "device public key invalid",
    }
    for name, text in texts.items():
        assert str(BadDevice(name)) == text  # type: ignore[arg-type]


words = st.one_of(
    st.text(st.characters()),
    st.text("ABab01-_+/= \n"),
    st.sampled_from([NONCE, make_identity().public_key, make_identity().public_pem]),
)


@given(
    st.builds(
        DeviceClaim,
        id=words,
        public_key=words,
        signature=words,
        signed_at_ms=st.integers() | st.just(NOW_MS),
        nonce=st.none() | words,
    ),
    st.booleans(),
    st.booleans(),
)
def test_random_claim_is_a_bad_device(
    claim: DeviceClaim, is_local: bool, has_id: bool
) -> None:
    if has_id:
        claim = msgspec.structs.replace(
            claim, id=make_identity().id, public_key=make_identity().public_key
        )
    with pytest.raises(BadDevice):
        verify(claim, is_local=is_local)
