"""From a call to a run: what ``agent`` and ``chat.send`` have in common."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from twisted.logger import Logger

from moltbot_gw.agents.costs import count_tokens
from moltbot_gw.agents.report import RunReporter
from moltbot_gw.agents.run import Run
from moltbot_gw.events import RunOutcome, Usage
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.messages import Content, ImagePart, TextPart
from moltbot_gw.stored import IdempotencyKey
from moltbot_gw.ws.calls import Caller, MethodError, Params, invalid

_log = Logger()

RunKey = Annotated[str, Meta(min_length=1, max_length=255)]
"""An ``idempotencyKey``; it becomes the id of the run."""

MAX_MESSAGE_CHARS = 400_000

MAX_CLIENT_CHARS = 64
"""As much is logged of the name that a client gives itself."""


def key_of(method: str, params: Params, value: str) -> IdempotencyKey:
    """Return the key of a call; everything but the key itself is its fingerprint."""
    rest = msgspec.structs.asdict(params)
    rest.pop("idempotency_key")
    body = msgspec.json.encode([method, rest], order="sorted")
    return IdempotencyKey(value=value, fingerprint=sha256(body).digest())


def log_run(run: Run, caller: Caller, reporter: RunReporter) -> None:
    """Tell the operator how a run of *caller* ends; those of HTTP are in its log."""
    run.when_ended().addCallback(_log_end, run, caller.client.id, reporter)


def _log_end(_: RunOutcome, run: Run, client_id: str, reporter: RunReporter) -> None:
    report = reporter.report(run)
    _log.info(
        "WS run client={client} {report}{named}",
        client=client_id[:MAX_CLIENT_CHARS],
        report=report.words,
        named=f" key={run.principal}" if run.principal else "",
        key=run.principal,
        **report.fields,
    )


async def check_send_policy(store: ISessionStore, store_key: str) -> None:
    """Raise a ``MethodError`` if somebody has forbidden to send to this session."""
    session = await store.find_session(store_key)
    if session is not None and session.settings.send_policy == "deny":
        raise invalid("send blocked by session policy")


def content_of(text: str, images: tuple[ImagePart, ...]) -> Content:
    """Return the content of the user's message."""
    if not images:
        return text
    return (TextPart(text), *images) if text else images


def usage_of(usage: Usage) -> dict[str, int]:
    """Return *usage* in the words of the protocol."""
    tokens = count_tokens(usage)
    return {
        "input": tokens.input,
        "output": tokens.output,
        "cacheRead": tokens.cache_read,
        "cacheWrite": 0,
        "total": tokens.total,
    }


def result_of(run: Run, outcome: RunOutcome) -> dict[str, Any]:
    """Return the last answer of ``agent``; raise it if the run has failed."""
    if outcome.state == "failed" and outcome.error is not None:
        message = outcome.error.message
        raise MethodError(
            "UNAVAILABLE",
            message,
            payload={"runId": run.run_id, "status": "error", "summary": message},
        )
    text = run.text().strip()
    meta: dict[str, Any] = {
        "durationMs": outcome.ended_at_ms
        - (outcome.started_at_ms or outcome.ended_at_ms)
    }
    if run.session_id is not None and run.model is not None:
        provider, _, model = run.model.partition("/")
        meta["agentMeta"] = {
            "sessionId": run.session_id,
            "provider": provider,
            "model": model,
            "usage": usage_of(outcome.usage),
        }
    if outcome.state == "aborted":
        meta["aborted"] = True
    elif outcome.finish_reason is not None:
        meta["stopReason"] = outcome.finish_reason
    payloads = [{"text": text, "mediaUrl": None}] if text else []
    return {
        "runId": run.run_id,
        "status": "ok",
        "summary": "completed",
        "result": {"payloads": payloads, "meta": meta},
    }
