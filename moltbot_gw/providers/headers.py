"""The headers of all requests to one provider, made once."""

from __future__ import annotations

from twisted.web.http_headers import Headers


class FixedHeaders(Headers):
    """Headers that stay as they were given, with ``Accept-Encoding: identity``.

    treq's layers copy the headers of each request, to ask for gzip beside what they
    were given; it would inflate that without a bound.  These are their own copy and
    take nothing more, so that nothing is overruled, copied or written out twice.
    *lines* is how they look on the wire, each with its CRLF.
    """

    def __init__(self, headers: Headers) -> None:
        super().__init__(dict(headers.getAllRawHeaders()))
        self.setRawHeaders(b"Accept-Encoding", [b"identity"])
        self.lines = b"".join(
            b"%s: %s\r\n" % (name, value)
            for name, values in self.getAllRawHeaders()
            for value in values
        )

    def __repr__(self) -> str:
        """Leave out the values: one of them is the key."""
        return "FixedHeaders()"

    def copy(self) -> FixedHeaders:
        """Return these, as nothing changes them."""
        return self

    def addRawHeader(self, name: str | bytes, value: str | bytes) -> None:
        """Take no header beside those that are here."""
