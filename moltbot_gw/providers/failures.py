"""What kind of failure a provider tells of, whatever words it uses.

Names decide first, because one status means many things (429 is a rate limit, or an
account without credit), then the status, and the text only where neither says enough:
it is written for people and changes without notice.

Source: the lists of errors of OpenAI, Anthropic, Google and OpenRouter, and what vLLM,
llama.cpp, Groq, Mistral and xAI answer.
"""

from __future__ import annotations

import re
from email.utils import mktime_tz, parsedate_tz

from twisted.web.iweb import IResponse

from moltbot_gw.errors import FailureReason
from moltbot_gw.wire.providererror import ProviderError

MAX_RETRY_AFTER = 24 * 60 * 60
"""Seconds; a provider that names a longer time is asked again after this one."""

_NAMES: dict[FailureReason, str] = {
    "context_overflow": "context_length_exceeded exceed_context_size_error"
    " string_above_max_length request_too_large context_window_exceeded",
    "rate_limit": "rate_limit_exceeded rate_limit_error rate_limit_reached rate_limited"
    " rate_limit too_many_requests usage_limit_reached resource_exhausted",
    "overloaded": "overloaded_error overloaded engine_overloaded server_overloaded"
    " slow_down unavailable service_unavailable",
    "billing": "insufficient_quota billing_error billing_hard_limit_reached"
    " billing_not_active insufficient_credits insufficient_balance payment_required",
    "auth": "authentication_error invalid_api_key incorrect_api_key permission_error"
    " invalid_authentication unauthorized unauthenticated permission_denied"
    " account_deactivated",
    "timeout": "timeout_error timeout deadline_exceeded request_timeout",
    "model_not_found": "model_not_found not_found_error model_not_available",
}
_BY_NAME: dict[str, FailureReason] = {
    name: reason for reason, names in _NAMES.items() for name in names.split()
}

# Names that stand for all that can go wrong on one side: a status says more.
_CALLERS_FAULTS = frozenset({"invalid_request_error", "invalid_argument"})
_SERVERS_FAULTS = frozenset(
    {"server_error", "internal_server_error", "api_error", "internal"}
)

_BY_STATUS: dict[int, FailureReason] = {
    401: "auth",
    402: "billing",
    403: "auth",
    404: "model_not_found",
    408: "timeout",
    413: "context_overflow",
    429: "rate_limit",
    503: "overloaded",
    504: "timeout",
    522: "timeout",
    524: "timeout",
    529: "overloaded",
}

_OVERFLOW = re.compile(
    r"maximum (?:context|prompt) length|context (?:length|window|size)\b.*\bexceed"
    r"|exceed\w*\b.*\bcontext (?:length|window|size)|prompt is too long"
    r"|input token count\b.*\bexceeds|too many input tokens"
    r"|reduce the length of the (?:messages|prompt|input)",
    re.IGNORECASE | re.DOTALL,
)
_BILLING = re.compile(
    r"credit balance|insufficient (?:credits?|balance|funds)|payment required"
    r"|plans? (?:&|and) billing|billing details",
    re.IGNORECASE,
)
_AUTH = re.compile(
    r"(?:invalid|incorrect|expired) api.?key|unauthorized|no api key found"
    r"|api.?key (?:is )?(?:not valid|invalid|expired)",
    re.IGNORECASE,
)
_BY_TEXT: tuple[tuple[FailureReason, re.Pattern[str]], ...] = (
    ("billing", _BILLING),
    (
        "rate_limit",
        re.compile(
            r"rate.?limit|too many requests|quota exceeded|exceeded your current quota"
            r"|resource.?exhausted|usage limit",
            re.IGNORECASE,
        ),
    ),
    ("overloaded", re.compile(r"overloaded|at capacity", re.IGNORECASE)),
    ("auth", _AUTH),
    ("timeout", re.compile(r"timed? ?out|deadline exceeded", re.IGNORECASE)),
)
_MAX_CHARS = 4096
"""How much of a text is looked at."""


def reason_of(status: int, error: ProviderError) -> FailureReason:
    """Return what an answer with *status*, not 200, and *error* in its body says."""
    reason = _by_name(error)
    if reason is not None:
        return reason
    text = error.message[:_MAX_CHARS]
    if status in (400, 413, 422, 429) and _BILLING.search(text):
        return "billing"
    if status in (400, 413, 422, 500) and _OVERFLOW.search(text):
        return "context_overflow"
    if status in (400, 422):
        return "auth" if _AUTH.search(text) else "format"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 300 <= status < 400:
        return "unreachable"
    return "server_error" if status >= 500 else "other"


def reason_in_stream(error: ProviderError) -> FailureReason:
    """Return what *error*, told in an answer that began well, says.

    Many servers put a status where others have a name.
    """
    code = error.code or ""
    if code.isascii() and code.isdigit() and len(code) == 3 and code[0] in "45":
        return reason_of(int(code), error)
    reason = _by_name(error)
    if reason is not None:
        return reason
    text = error.message[:_MAX_CHARS]
    if _OVERFLOW.search(text):
        return "context_overflow"
    for reason, pattern in _BY_TEXT:
        if pattern.search(text):
            return reason
    name = (error.kind or code).lower()
    if name in _CALLERS_FAULTS:
        return "format"
    # Without a name it is a server that fell over; a name that we do not know (of a
    # filter, say) may well be the request's own fault.
    return "server_error" if not name or name in _SERVERS_FAULTS else "other"


def retry_after_of(response: IResponse) -> int | None:
    """Return the whole seconds of ``Retry-After``: 1 to ``MAX_RETRY_AFTER``, or None.

    A date is measured against the answer's own ``Date``: the provider's clock is the
    one that it was written by.  Source: RFC 9110, section 10.2.3.
    """
    value = _header(response, b"Retry-After")
    if value.isdigit():
        seconds = float(value)
    else:
        until, now = _date(value), _date(_header(response, b"Date"))
        if until is None or now is None:
            return None
        seconds = until - now
    return int(min(max(seconds, 1), MAX_RETRY_AFTER))


def _by_name(error: ProviderError) -> FailureReason | None:
    for name in (error.code, error.kind):
        reason = _BY_NAME.get((name or "").lower())
        if reason is not None:
            return reason
    return None


def _header(response: IResponse, name: bytes) -> str:
    value: bytes = response.headers.getRawHeaders(name, [b""])[0]
    return value[:64].decode("ascii", "replace").strip()


def _date(text: str) -> float | None:
    """Return the Unix seconds of an HTTP date."""
    parts = parsedate_tz(text)
    if parts is None:
        return None
    try:
        return float(mktime_tz((*parts[:9], parts[9] or 0)))
    except (ValueError, OverflowError):
        return None
