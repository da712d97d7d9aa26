"""A request's pictures: checked by what they are, fetched where that is allowed."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection

import attrs
from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime

from moltbot_gw.config import Images
from moltbot_gw.errors import InvalidRequest
from moltbot_gw.fetching.guard import GuardedFetch
from moltbot_gw.fetching.values import FetchError, FetchLimits
from moltbot_gw.messages import AssistantMessage, ImagePart, Message
from moltbot_gw.wire.chat_request import ChatRequest
from moltbot_gw.wire.pictures import picture_type, picture_url

MAX_REMOTE = 16
"""Addresses in one request; each is fetched once."""

MAX_BYTES = 10 * 1024 * 1024
MAX_REDIRECTS = 3
MOST_REDIRECTS = 10
TIMEOUT_MS = 10_000
"""For all pictures of a request together."""

TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")

_DATA = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_NO_TYPES = ("", "application/octet-stream", "binary/octet-stream")


class Pictures:
    """Makes all pictures of a request ``data:`` URLs of what they really are.

    *max_bytes* bounds what is fetched for one request, as though the client had sent
    it along.
    """

    def __init__(
        self,
        *,
        fetch: GuardedFetch,
        config: Images,
        clock: IReactorTime,
        max_bytes: int,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._most = max_bytes
        self._max_bytes = config.max_bytes or MAX_BYTES
        self._timeout = (config.timeout_ms or TIMEOUT_MS) / 1000
        redirects = config.max_redirects
        self._redirects = min(
            MAX_REDIRECTS if redirects is None else redirects, MOST_REDIRECTS
        )
        allowed: Collection[str] = TYPES
        if config.allowed_mimes is not None:
            allowed = {mime.strip().lower() for mime in config.allowed_mimes}
        self._types = [mime for mime in TYPES if mime in allowed]
        self.allow_remote = bool(config.allow_url)

    async def settle(self, chat: ChatRequest) -> tuple[Message, ...]:
        """Return the messages of *chat* with their pictures at hand.

        Raises ``InvalidRequest`` that names the first one that cannot be had.
        Cancelling closes the connection of a fetch.
        """
        if not chat.pictures:
            return chat.messages
        basket = _Basket(self._clock.seconds() + self._timeout, self._most)
        messages = list(chat.messages)
        for place in chat.pictures:
            message = messages[place.message]
            assert not isinstance(message, AssistantMessage)
            parts = list(message.content)
            part = parts[place.part]
            assert isinstance(part, ImagePart)
            if part.url.startswith("data:"):
                url = self._checked(part.url, place.path)
            else:
                url = await self._fetched(part.url, place.path, basket)
            if url != part.url:
                parts[place.part] = replace(part, url=url)
                messages[place.message] = replace(message, content=tuple(parts))
        return tuple(messages)

    def _checked(self, url: str, path: str) -> str:
        start = _DATA.match(url)
        if start is None:
            raise _bad(path, "a data: URL must be base64")
        text = "".join(url[start.end() :].split())
        if len(text) * 3 // 4 > self._max_bytes + 2:
            raise _bad(path, f"the picture is larger than {self._max_bytes} bytes")
        try:
            data = base64.b64decode(text, validate=True)
        except ValueError:
            raise _bad(path, "the base64 is damaged") from None
        mime = self._type_of(data, path)
        return f"data:{mime};base64,{text}"

    async def _fetched(self, url: str, path: str, basket: _Basket) -> str:
        known = basket.fetched.get(url)
        if known is not None:
            return known
        if len(basket.fetched) == MAX_REMOTE:
            raise _bad(path, f"at most {MAX_REMOTE} pictures are fetched for a request")
        try:
            found = await self._fetch.fetch(url, self._limits(basket))
        except FetchError as error:
            raise _bad(path, error.message.removesuffix(".")) from None
        mime = self._type_of(found.body, path)
        basket.left -= len(found.body)
        basket.fetched[url] = picture_url(mime, found.body)
        return basket.fetched[url]

    def _limits(self, basket: _Basket) -> FetchLimits:
        return FetchLimits(
            max_bytes=min(self._max_bytes, basket.left),
            timeout=max(basket.deadline - self._clock.seconds(), 0.0),
            max_redirects=self._redirects,
            accept=", ".join(self._types),
            takes=lambda kind: kind.startswith("image/") or kind in _NO_TYPES,
        )

    def _type_of(self, data: bytes, path: str) -> str:
        mime = picture_type(data)
        if mime is None or mime not in self._types:
            taken = ", ".join(self._types) or "none"
            raise _bad(path, f"this is no picture of a type that is taken ({taken})")
        return mime


@attrs.define
class _Basket:
    """What one request may still take, and what it has got already, by URL."""

    deadline: float
    left: int
    fetched: dict[str, str] = attrs.Factory(dict)


def _bad(path: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{path}: {problem}.", param=path)
