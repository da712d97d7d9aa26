"""Every failure that a client can be told of: one class each, one place each.

A class carries what each edge needs to speak of it: the HTTP status, the ``type`` and
``code`` of the error envelope, whether a client gains by trying again.  The message is
for a stranger: it names the field and the fix, never a secret, a path or a stack.
Details for the operator go to the log where the error is raised.

    GatewayError
      InvalidRequest        400  wrong words of the caller (MissingField, InvalidJSON,
                                 LabelTaken)
      Unauthorized          401  (KeyExpired)
      Forbidden             403  (HostNotAllowed, OriginNotAllowed)
      NotFound              404  (ModelNotFound, RunNotFound, EndpointDisabled)
      MethodNotAllowed      405
      RequestTimeout        408
      KeyReused             409  an idempotency key with another request
      PayloadTooLarge       413  (HeadersTooLarge 431, TargetTooLong 414)
      ExpectationFailed     417
      UpgradeRequired       426
      QueueFull             429
      TooManyFailures       429  of authentication, from one address
      RateLimited           429  a named key has used up what it may (``metering``)
      InternalError         500  (StoreFailed)
      TooManyRounds         500
      ProviderFailed        502  (ProviderUnauthorized, ProviderOverloaded,
                                 ProviderTimedOut 504, ContextOverflow 400)
      AllModelsFailed       502  (AllModelsLimited 429, AllModelsTimedOut 504)
      Draining              503
      RunTimedOut           504
      RunAborted            499  its client has gone, or somebody else cut it off
"""

from __future__ import annotations

from typing import ClassVar, Literal

FailureReason = Literal[
    "rate_limit",
    "overloaded",
    "billing",
    "auth",
    "timeout",
    "unreachable",
    "server_error",
    "model_not_found",
    "format",
    "context_overflow",
    "other",
]
"""Why a model's provider failed, in the words of logs, events and ``models.status``.

``format`` is a request that the provider does not take; ``other`` is nothing that
another model would do better.
"""


class GatewayError(Exception):
    """A failure with a face: *message* may be shown to anybody.

    *param* names the field or header at fault, as a JSON path (``messages[2].role``).
    *retry_after* is in whole seconds.  *should_retry* overrules the status for the
    official SDKs (``x-should-retry``); None leaves it to them.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    code: str = "internal_error"
    should_retry: bool | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        if code is not None:
            self.code = code

    def unraised(self) -> GatewayError:
        """Return an equal error that was never raised.

        One that was holds on to all that the functions hold through which it went (the
        request, the answer, the connection); what they hold, it is often itself.
        """
        told = type(self).__new__(type(self), *self.args)
        told.__dict__.update(self.__dict__)
        return told


class InvalidRequest(GatewayError):
    """A field has a value that the contract does not allow."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class MissingField(InvalidRequest):
    """A required field is not there."""

    code = "missing_field"


class InvalidJSON(InvalidRequest):
    """The body is not a JSON object in strict UTF-8."""

    code = "invalid_json"


class LabelTaken(InvalidRequest):
    """Another session of the same agent has this label."""


class BadHTTP(InvalidRequest):
    """The request breaks HTTP/1.1 in a way that could be used against a neighbour."""


class Unauthorized(GatewayError):
    """The secret is missing or wrong; which of the two is nobody's business."""

    status = 401
    type = "unauthorized"
    code = "invalid_api_key"


class KeyExpired(Unauthorized):
    """The secret is right, but its key's time is over."""

    code = "key_expired"


class TooManyFailures(GatewayError):
    """Too many wrong secrets came from this address; it must wait *retry_after*."""

    status = 429
    type = "rate_limit_error"
    code = "too_many_auth_failures"


class Forbidden(GatewayError):
    """The request is refused whatever secret it brings, or because of its key."""

    status = 403
    type = "invalid_request_error"
    code = "forbidden"


class HostNotAllowed(Forbidden):
    """``Host`` has a name that is not ours: perhaps a rebound one."""

    code = "host_not_allowed"


class OriginNotAllowed(Forbidden):
    """A page of a foreign origin wants a WebSocket."""

    code = "origin_not_allowed"


class NotFound(GatewayError):
    """There is nothing at this path."""

    status = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFound(NotFound):
    """No agent or model has this name."""

    code = "model_not_found"


class RunNotFound(NotFound):
    """No run has this id, or it ended too long ago."""

    code = "run_not_found"


class EndpointDisabled(NotFound):
    """The path exists but the configuration does not serve it."""

    code = "endpoint_disabled"


class MethodNotAllowed(GatewayError):
    """The path does not take this method; *allow* lists those that it takes."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"

    def __init__(self, message: str, *, allow: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allow = allow


class RequestTimeout(GatewayError):
    """Head or body did not come in time."""

    status = 408
    type = "invalid_request_error"
    code = "request_timeout"


class KeyReused(GatewayError):
    """The idempotency key was used for another request."""

    status = 409
    type = "invalid_request_error"
    code = "idempotency_key_reused"


class PayloadTooLarge(GatewayError):
    """The body is over its limit."""

    status = 413
    type = "invalid_request_error"
    code = "payload_too_large"


class TargetTooLong(PayloadTooLarge):
    """The request line is over its limit."""

    status = 414
    code = "target_too_long"


class HeadersTooLarge(PayloadTooLarge):
    """The header section is over its limit."""

    status = 431
    code = "headers_too_large"


class ExpectationFailed(GatewayError):
    """``Expect`` asks for something else than ``100-continue``."""

    status = 417
    type = "invalid_request_error"
    code = "expectation_failed"


class UpgradeRequired(GatewayError):
    """The WebSocket version is not one that we speak."""

    status = 426
    type = "invalid_request_error"
    code = "upgrade_required"


class QueueFull(GatewayError):
    """A lane has as many waiting runs as it may hold."""

    status = 429
    type = "rate_limit_error"
    code = "queue_full"


class InternalError(GatewayError):
    """A defect of ours; the log has the rest under the request id."""


class StoreFailed(InternalError):
    """The session store could not read or keep a turn (full disk, damage, ...)."""

    code = "session_store_error"
    should_retry = False


class ProviderFailed(GatewayError):
    """The model's provider answered with an error, or not at all.

    *reason* says what kind of failure it was: it decides whether another model is tried
    and how long this provider is left alone.
    """

    status = 502
    code = "provider_error"
    reason: FailureReason = "other"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        reason: FailureReason | None = None,
    ) -> None:
        super().__init__(message, param=param, code=code, retry_after=retry_after)
        if reason is not None:
            self.reason = reason


class ProviderUnauthorized(ProviderFailed):
    """The provider does not accept the key that the configuration gives it."""

    code = "provider_unauthorized"
    should_retry = False
    reason = "auth"


class ProviderOverloaded(ProviderFailed):
    """The provider asks to be called later."""

    code = "provider_overloaded"
    reason = "overloaded"


class ProviderTimedOut(ProviderFailed):
    """The provider was silent for too long."""

    status = 504
    code = "provider_timeout"
    reason = "timeout"


class ContextOverflow(ProviderFailed):
    """The conversation is longer than the model can read.

    Another model is no help; a shorter conversation is.
    """

    status = 400
    type = "invalid_request_error"
    code = "context_length_exceeded"
    reason = "context_overflow"


class AllModelsFailed(ProviderFailed):
    """None of several models could be had; the message tells of each."""

    code = "all_models_failed"


class AllModelsLimited(AllModelsFailed):
    """All of several models are over their rate limit; *retry_after* is the least."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    reason = "rate_limit"


class AllModelsTimedOut(AllModelsFailed):
    """None of several models answered in time."""

    status = 504
    reason = "timeout"


class TooManyRounds(GatewayError):
    """The model went on calling tools without an end."""

    code = "too_many_rounds"
    should_retry = False


class Draining(GatewayError):
    """The gateway is stopping and takes no new run."""

    status = 503
    code = "draining"


class RunTimedOut(GatewayError):
    """The run took longer than its agent may take."""

    status = 504
    code = "run_timeout"


class RunAborted(GatewayError):
    """Somebody cut the run off; its partial text is kept.

    *stop_reason* says how, in the words of the WebSocket protocol.
    """

    status = 499
    code = "run_aborted"

    def __init__(self, message: str, *, stop_reason: str = "rpc") -> None:
        super().__init__(message)
        self.stop_reason = stop_reason


class ClientGone(RunAborted):
    """The client that waited for the run has closed its connection."""

    code = "client_disconnected"
