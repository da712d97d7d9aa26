"""Files of any size, which no message of a client could bring whole."""

from __future__ import annotations

import base64

import pytest

from moltbot_gw.ws.attachments import MAX_BYTES, Attachment, images_of
from moltbot_gw.ws.calls import MethodError

PNG = b"\x89PNG\r\n\x1a\n"


def picture(size: int) -> Attachment:
    data = PNG + bytes(size - len(PNG))
    return Attachment(content=base64.b64encode(data).decode(), file_name="big.png")


def test_a_picture_may_have_five_million_bytes() -> None:
    assert len(images_of([picture(MAX_BYTES)])) == 1


@pytest.mark.parametrize("more", [1, 2, 3, 1000])
def test_a_larger_one_is_refused(more: int) -> None:
    with pytest.raises(MethodError) as caught:
        images_of([picture(MAX_BYTES + more)])
    message = str(caught.value)
    assert message.startswith("Error: attachment big.png: exceeds size limit (500")
    assert message.endswith(f" > {MAX_BYTES} bytes)")


def test_a_label_is_cut() -> None:
    with pytest.raises(MethodError) as caught:
        images_of([Attachment(content="A", file_name="n" * 1000)])
    assert len(str(caught.value)) < 150
