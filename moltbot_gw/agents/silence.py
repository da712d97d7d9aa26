"""``NO_REPLY``: how a model says that there is nothing to say.

A message that begins with the token, as a whole word, is silent: nobody sees any of it.
At the end of a message, with at most ``MAX_BLANKS`` blanks behind it, the token alone
is kept back, because what stood before it was told when it came.

Source: upstream ``src/auto-reply/tokens.ts``; it shows pieces of the token in streams.
"""

from __future__ import annotations

import re
from typing import Literal

from moltbot_gw.agents.text import TextSegment

TOKEN = "NO_REPLY"  # noqa: S105  (not a secret)

NOTE = (
    f"When there is nothing to say, answer with {TOKEN} and nothing else: nobody is"
    f" shown such an answer. Never put {TOKEN} into an answer that is to be read."
)
"""What the prompt says of it."""

MAX_BLANKS = 16
"""White space around the token; where there is more, it is a word like others."""

# Every beginning of a match is a match: that is why words which were shown once can
# never turn out to belong to the token.
_TAIL = re.compile(
    rf"(?<!\w)N(?:O(?:_(?:R(?:E(?:P(?:L(?:Y\s{{0,{MAX_BLANKS}}})?)?)?)?)?)?)?\Z"
)
_MAX_TAIL = len(TOKEN) + MAX_BLANKS
_WORD = re.compile(r"\w")

_State = Literal["start", "open", "silent"]


class SilenceFilter:
    """Holds back the part of one message that may be, or is, the token.

    It is at the *start* until the first word is known not to be the token, then *open*,
    or *silent* to the end.  What must hold, however the message was cut: what came out
    and then ``withheld`` is the message, letter for letter; and a piece that cannot end
    in the token's beginning comes out at once.
    """

    def __init__(self) -> None:
        self._state: _State = "start"
        self._held = ""
        self._passes = False  # open, and nothing is held
        self._shown = ""  # the last piece that came out
        self._rest: TextSegment | None = None  # of a silent message

    def feed(self, text: str) -> str:
        """Take the next piece; return what may be shown, which may be nothing."""
        if self._passes and text[-1:] not in TOKEN and TOKEN not in text:
            self._shown = text
            return text
        return self._weigh(text)

    def finish(self) -> str:
        """The message is whole: return what was held back without need."""
        if TOKEN in self._held:
            return ""
        held, self._held = self._held, ""
        return held

    def withheld(self) -> str:
        """Return what has not come out: the end of the message, or all of it."""
        rest = self._rest.whole() if self._rest is not None else ""
        return rest + self._held

    def _weigh(self, text: str) -> str:
        text = self._held + text
        if self._state == "start":
            self._state = _judge(text)
        if self._state == "silent":
            if self._rest is None:
                self._rest = TextSegment()
            self._rest.append(text)
            self._held = ""
            return ""
        start = 0 if self._state == "start" else self._tail_of(text)
        self._held = text[start:]
        self._shown = text[:start] or self._shown
        self._passes = self._state == "open" and not self._held
        return text[:start]

    def _tail_of(self, text: str) -> int:
        """Return where in *text* its end begins that may be the token's; else its end.

        The word before it may lie in what was shown.
        """
        before = self._shown[-1:]
        whole = before + text
        match = _TAIL.search(whole, max(len(whole) - _MAX_TAIL, len(before)))
        return len(text) if match is None else match.start() - len(before)


def _judge(text: str) -> _State:
    """Return what a message is that has begun with *text*."""
    word = text.lstrip()
    if len(text) - len(word) > MAX_BLANKS:
        return "open"
    if len(word) <= len(TOKEN):
        return "start" if TOKEN.startswith(word) else "open"
    is_token = word.startswith(TOKEN) and not _WORD.match(word, len(TOKEN))
    return "silent" if is_token else "open"
