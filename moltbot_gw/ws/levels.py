"""The words for the settings of a session: those that count, and their synonyms.

Each function returns the word to store, None where the setting is to be cleared, and
raises a ``MethodError`` for any other word.

Source: upstream ``src/auto-reply/thinking.ts``, ``src/gateway/sessions-patch.ts``.
"""

from __future__ import annotations

from collections.abc import Mapping

from moltbot_gw.ws.calls import MethodError, invalid

XHIGH_MODELS = (
    "openai/gpt-5.2",
    "openai-codex/gpt-5.2-codex",
    "openai-codex/gpt-5.1-codex",
)
"""The models that can think harder than ``high``."""


def _words(**spellings: str) -> Mapping[str, str]:
    """Return the word for each spelling; spellings are separated by blanks."""
    return {
        spelling: word for word, many in spellings.items() for spelling in many.split()
    }


_THINKING = _words(
    off="off",
    minimal="minimal min think",
    low="low on enable enabled thinkhard think-hard think_hard",
    medium="medium med mid thinkharder think-harder harder",
    high="high max highest ultra ultrathink thinkhardest",
    xhigh="xhigh x-high x_high extrahigh extra-high",
)
_VERBOSE = _words(
    off="off false no 0",
    on="on true yes 1 minimal",
    full="full all everything",
)
_REASONING = _words(
    off="off false no 0 hide hidden disable disabled",
    on="on true yes 1 show visible enable enabled",
    stream="stream streaming draft live",
)
_ELEVATED = _words(on="on", off="off", ask="ask", full="full")
_EXEC_HOST = _words(sandbox="sandbox", gateway="gateway", node="node")
_EXEC_SECURITY = _words(deny="deny", allowlist="allowlist", full="full")
_EXEC_ASK = {word: word for word in ("off", "on-miss", "always")}


def thinking_level(text: str, model: str) -> str | None:
    """Return the level; whether *model* has ``xhigh`` is looked at later."""
    word = _THINKING.get(text.strip().lower())
    if word is None:
        more = "|xhigh" if model in XHIGH_MODELS else ""
        raise invalid(f"invalid thinkingLevel (use off|minimal|low|medium|high{more})")
    return None if word == "off" else word


def verbose_level(text: str) -> str:
    return _pick(_VERBOSE, text, "verboseLevel", ("on", "off"))


def reasoning_level(text: str) -> str | None:
    hint = ("on", "off", "stream")
    word = _pick(_REASONING, text, "reasoningLevel", hint)
    return None if word == "off" else word


def response_usage(word: str) -> str | None:
    """*word* is ``off``, ``tokens``, ``full`` or ``on``."""
    return {"off": None, "on": "tokens"}.get(word, word)


def elevated_level(text: str) -> str:
    return _pick(_ELEVATED, text, "elevatedLevel", tuple(_ELEVATED))


def exec_host(text: str) -> str:
    return _pick(_EXEC_HOST, text, "execHost", tuple(_EXEC_HOST))


def exec_security(text: str) -> str:
    return _pick(_EXEC_SECURITY, text, "execSecurity", tuple(_EXEC_SECURITY))


def exec_ask(text: str) -> str:
    return _pick(_EXEC_ASK, text, "execAsk", tuple(_EXEC_ASK))


def not_blank(text: str, field: str) -> str:
    """Return *text* without the blanks around it."""
    trimmed = text.strip()
    if not trimmed:
        raise invalid(f"invalid {field}: empty")
    return trimmed


def no_xhigh() -> MethodError:
    """Return the error for ``xhigh`` with a model that lacks it."""
    *others, last = XHIGH_MODELS
    return invalid(
        f'thinkingLevel "xhigh" is only supported for {", ".join(others)} or {last}'
    )


def _pick(
    words: Mapping[str, str], text: str, field: str, hint: tuple[str, ...]
) -> str:
    word = words.get(text.strip().lower())
    if word is None:
        choice = "|".join(f'"{one}"' for one in hint)
        raise invalid(f"invalid {field} (use {choice})")
    return word
