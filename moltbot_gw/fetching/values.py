"""What a fetch is asked for, what it brings, and how it fails."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from moltbot_gw import __version__

USER_AGENT = f"moltbot-gateway/{__version__}"


class FetchError(Exception):
    """Nothing was fetched; *message* is for whoever has named the address."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class FetchRefused(FetchError):
    """The address is none that we go to; nobody was connected to for it."""


class FetchFailed(FetchError):
    """The address was asked, and brought nothing that can be used."""


@attrs.frozen(kw_only=True, eq=False)
class FetchLimits:
    """How much one fetch may take.

    *max_bytes* counts what is sent and also what it unpacks to.  *timeout* is in
    seconds, for everything together: the wait for a place, names, redirects, the body.
    *takes* is asked about a media type in lower case, without parameters and empty if
    there is none, before the body is read.
    """

    max_bytes: int
    timeout: float
    max_redirects: int = 3
    accept: str = "*/*"
    takes: Callable[[str], bool] = lambda media_type: True
    user_agent: str = USER_AGENT


@attrs.frozen(kw_only=True)
class Fetched:
    """An answer with its whole body, unpacked.

    *url* is where it came from after redirects, *status* is 200 to 299, and
    *content_type* the header as it came.
    """

    url: str
    status: int
    content_type: str
    body: bytes

    @property
    def media_type(self) -> str:
        """The type alone, in lower case; empty if none was told."""
        return media_type_of(self.content_type)


def media_type_of(content_type: str) -> str:
    """Return the type in a ``Content-Type`` without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()
