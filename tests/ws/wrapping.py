"""Client frames read again: to put JSON around the messages of a conformance case.

An echo answers any payload; the gateway answers requests.  A wrapped case sends the
same frames, cut at the same places, but its messages are JSON with the words inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from tests.support.ws_frames import BINARY, CONTINUATION, TEXT, frame, masked
from tests.ws.conformance import Case

Envelope = Callable[[bytes], tuple[bytes, bytes]]
"""From a message to what stands before and behind it."""


@attrs.frozen(kw_only=True)
class Sent:
    """One whole frame of a client, between *start* and *end* in its bytes.

    *words* is where the payload starts; *has_usual_length* says that the length is
    written in as few bytes as it can be.
    """

    start: int
    words: int
    end: int
    first: int
    mask: bytes | None
    has_usual_length: bool
    payload: bytes

    @property
    def opcode(self) -> int:
        return self.first & 0x0F

    @property
    def fin(self) -> bool:
        return bool(self.first & 0x80)

    def rebuilt(self, before: bytes, after: bytes) -> bytes:
        """Return the frame with more payload."""
        return frame(
            self.opcode,
            before + self.payload + after,
            fin=self.fin,
            rsv=self.first >> 4 & 7,
            mask=self.mask,
        )


def read_sent(data: bytes) -> Iterator[Sent]:
    """Yield the frames in *data*, up to the first that is not whole."""
    at = 0
    while len(data) - at >= 2:
        short, has_mask = data[at + 1] & 0x7F, data[at + 1] >> 7
        width = {126: 2, 127: 8}.get(short, 0)
        words = at + 2 + width + 4 * has_mask
        size = int.from_bytes(data[at + 2 : at + 2 + width], "big") if width else short
        if len(data) < words + size:
            return
        mask = data[words - 4 : words] if has_mask else None
        payload = data[words : words + size]
        usual = 0 if size < 126 else 2 if size < 0x10000 else 8
        yield Sent(
            start=at,
            words=words,
            end=words + size,
            first=data[at],
            mask=mask,
            has_usual_length=width == usual,
            payload=payload if mask is None else masked(payload, mask),
        )
        at = words + size


def read_messages(frames: list[Sent]) -> Iterator[list[Sent]]:
    """Yield the frames of each whole message."""
    parts: list[Sent] = []
    for sent in frames:
        if not sent.has_usual_length:
            return  # a fault; nothing behind it counts
        is_first = sent.opcode in (TEXT, BINARY) and not parts
        if is_first or (sent.opcode == CONTINUATION and parts):
            parts.append(sent)
            if sent.fin:
                yield parts
                parts = []


def wrapped(case: Case, envelope: Envelope) -> Case:
    """Return *case* with each of its whole messages in an envelope.

    Of one that ends inside a character the end is left as it is.
    """
    whole = case.sound + case.fault + case.rest
    frames = list(read_sent(whole))
    more = _additions(frames, envelope)
    cuts = [len(case.sound), len(case.sound) + len(case.fault)]
    places = list(cuts)
    out = []
    grown = 0
    for sent in frames:
        data = whole[sent.start : sent.end]
        if sent.start in more:
            before, after = more[sent.start]
            data = sent.rebuilt(before, after)
            added = len(data) - (sent.end - sent.start)
            for number, cut in enumerate(cuts):
                if sent.words <= cut < sent.end:
                    places[number] += added - len(after)
            grown += added
        places = [
            cut + grown if cut >= sent.end else place
            for cut, place in zip(cuts, places, strict=True)
        ]
        out.append(data)
    data = b"".join(out) + whole[frames[-1].end if frames else 0 :]
    first, second = places
    return attrs.evolve(
        case, sound=data[:first], fault=data[first:second], rest=data[second:]
    )


def _additions(
    frames: list[Sent], envelope: Envelope
) -> dict[int, tuple[bytes, bytes]]:
    """Return what goes before and behind the words of each frame, by its start."""
    found: dict[int, tuple[bytes, bytes]] = {}
    for parts in read_messages(frames):
        message = b"".join(one.payload for one in parts)
        before, after = envelope(message)
        if _ends_inside(message):
            after = b""
        first, last = parts[0].start, parts[-1].start
        found[first] = before, b""
        found[last] = found.get(last, (b"", b""))[0], after
    return found


def _ends_inside(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError as error:
        return error.end == len(message) and error.reason.startswith("unexpected end")
    return False
