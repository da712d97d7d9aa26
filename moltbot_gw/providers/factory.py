"""Build providers from their configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.web.client import BrowserLikePolicyForHTTPS
from twisted.web.http_headers import Headers
from twisted.web.iweb import IPolicyForHTTPS

from moltbot_gw.config import ModelEntry, ProviderEntry, Secret
from moltbot_gw.interfaces import IModelProvider
from moltbot_gw.providers.anthropic import AnthropicProvider
from moltbot_gw.providers.apikeys import find_api_key
from moltbot_gw.providers.client import ProviderClient
from moltbot_gw.providers.headers import FixedHeaders
from moltbot_gw.providers.httpmodel import ServerSettings
from moltbot_gw.providers.openai import OpenAIProvider
from moltbot_gw.providers.responses import ResponsesProvider
from moltbot_gw.wire.anthropic import API as ANTHROPIC_API
from moltbot_gw.wire.anthropic_request import ModelLimits
from moltbot_gw.wire.openai_request import Dialect
from moltbot_gw.wire.responses_request import API as RESPONSES_API
from moltbot_gw.wire.responses_request import ResponsesDialect

DEFAULT_API = "openai-completions"
ANTHROPIC_VERSION = b"2023-06-01"

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")


class BadProvider(ValueError):
    """A provider's configuration cannot work; the text says which key and why."""


def is_served(entry: ProviderEntry) -> bool:
    """Whether this gateway speaks the provider's API; Chat Completions by default."""
    return entry.api in (None, DEFAULT_API, ANTHROPIC_API, RESPONSES_API)


def build_provider(
    name: str, entry: ProviderEntry, environ: Mapping[str, str], reactor: Any
) -> IModelProvider:
    """Return the adapter for the provider *name*; raise ``BadProvider``."""
    where = f"models.providers.{name}"
    url = _url(entry)
    host = _check_url(url, where)
    key = find_api_key(name, entry, environ)
    headers = _headers(entry, key, where)
    client = ProviderClient(
        reactor,
        url.encode("ascii"),
        connect_timeout=entry.connect_timeout_seconds,
        tls_policy=_tls_policy(entry, where),
    )
    settings = ServerSettings(
        name=name,
        url=url,
        headers=FixedHeaders(headers),
        model_headers={
            model.id: FixedHeaders(_with_headers(headers, model.headers, where))
            for model in entry.models
            if model.headers
        },
        secrets=_secrets(entry, key),
        idle_timeout=entry.idle_timeout_seconds,
    )
    if entry.api == ANTHROPIC_API:
        limits = {model.id: _limits(model) for model in entry.models}
        return AnthropicProvider(settings, limits, client, reactor)
    if entry.api == RESPONSES_API:
        known = {model.id: _responses_dialect(model) for model in entry.models}
        return ResponsesProvider(settings, known, client, reactor)
    dialects = {model.id: _dialect(model, host) for model in entry.models}
    default = _dialect(ModelEntry(id="any", name="any"), host)
    return OpenAIProvider(settings, dialects, default, client, reactor)


def _url(entry: ProviderEntry) -> str:
    """Return where requests go; people write Anthropic's address with or without v1."""
    base = entry.base_url.strip().rstrip("/")
    if entry.api == RESPONSES_API:
        return f"{base}/responses"
    if entry.api != ANTHROPIC_API:
        return f"{base}/chat/completions"
    return f"{base.removesuffix('/v1')}/v1/messages"


def _check_url(url: str, where: str) -> str:
    """Return the host in *url*; raise ``BadProvider`` if *url* cannot work."""
    if not url.isascii():
        raise BadProvider(f"{where}.baseUrl: use ASCII; write a host name in punycode")
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise BadProvider(
            f"{where}.baseUrl: use http:// or https:// and a host, without a user"
        )
    _check_address(parts, where)
    if not url.isprintable() or " " in url:
        raise BadProvider(f"{where}.baseUrl: remove its blanks and control characters")
    return parts.hostname


def _check_address(parts: SplitResult, where: str) -> None:
    """Raise ``BadProvider`` for what would only fail later, at every request."""
    host = parts.hostname or ""
    if ":" not in host and _HOST_NAME.fullmatch(host) is None:
        raise BadProvider(
            f"{where}.baseUrl: a host name has letters, digits, hyphens and dots only"
        )
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise BadProvider(f"{where}.baseUrl: the port is not a number from 1 to 65535")


def _secrets(entry: ProviderEntry, key: str | None) -> list[str]:
    """Return every text that must not leave in a message of the provider."""
    tables = [entry.headers, *(model.headers for model in entry.models)]
    values = [value.reveal() for table in tables for value in table.values()]
    # ``Basic`` and the like: the credential alone is a secret too.
    parts = [word for value in values for word in value.split() if len(word) > 7]
    return [*([key] if key else []), *values, *parts]


def _headers(entry: ProviderEntry, key: str | None, where: str) -> Headers:
    headers = Headers(
        {
            b"Content-Type": [b"application/json"],
            b"Accept": [b"text/event-stream, application/json"],
            b"User-Agent": [b"moltbot-gw"],
        }
    )
    is_anthropic = entry.api == ANTHROPIC_API
    if is_anthropic:
        headers.setRawHeaders(b"anthropic-version", [ANTHROPIC_VERSION])
    if key is not None and is_anthropic and not entry.auth_header:
        headers.setRawHeaders(b"x-api-key", [_value(key, where)])
    elif key is not None and entry.auth_header is not False:
        headers.setRawHeaders(b"Authorization", [_value(f"Bearer {key}", where)])
    return _with_headers(headers, entry.headers, where)


def _with_headers(base: Headers, more: Mapping[str, Secret], where: str) -> Headers:
    headers = base.copy()
    for name, value in more.items():
        try:
            headers.setRawHeaders(name.encode("ascii"), [_value(value.reveal(), where)])
        except ValueError:
            raise BadProvider(f"{where}.headers: a name or value is not HTTP") from None
    return headers


def _value(text: str, where: str) -> bytes:
    if not text.isascii() or not text.isprintable():
        raise BadProvider(f"{where}: the key or a header is not printable ASCII")
    return text.encode("ascii")


def _tls_policy(entry: ProviderEntry, where: str) -> IPolicyForHTTPS | None:
    """Return the policy that also trusts the authorities in ``caFile``, if given."""
    if entry.ca_file is None:
        return None
    marker = b"-----BEGIN CERTIFICATE-----"
    try:
        data = Path(entry.ca_file).read_bytes()
        roots = [Certificate.loadPEM(marker + c) for c in data.split(marker)[1:]]
    except (OSError, ValueError):
        roots = []
    except Exception as error:  # OpenSSL.crypto.Error has no public base of its own
        raise BadProvider(f"{where}.caFile: this is no PEM file") from error
    if not roots:
        raise BadProvider(f"{where}.caFile: no certificate can be read from it")
    return BrowserLikePolicyForHTTPS(trustRootFromCertificates(roots))


def _dialect(model: ModelEntry, host: str) -> Dialect:
    compat = model.compat
    is_openai = host == "openai.com" or host.endswith(".openai.com")
    field = compat.max_tokens_field
    if field is None:
        field = "max_completion_tokens" if is_openai else "max_tokens"
    developer = compat.supports_developer_role
    if developer is None:
        developer = is_openai and model.reasoning
    return Dialect(
        max_tokens_field=field,
        developer_role=developer,
        reasoning_effort=compat.supports_reasoning_effort is not False,
        store=bool(compat.supports_store),
        max_tokens=model.max_tokens,
    )


def _limits(model: ModelEntry) -> ModelLimits:
    return ModelLimits(
        max_tokens=model.max_tokens,
        thinking=model.compat.supports_reasoning_effort is not False,
        adaptive=model.compat.adaptive_thinking,
    )


def _responses_dialect(model: ModelEntry) -> ResponsesDialect:
    return ResponsesDialect(
        max_tokens=model.max_tokens,
        reasons=model.reasoning,
        reasoning_effort=model.compat.supports_reasoning_effort is not False,
    )
