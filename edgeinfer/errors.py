"""Every error a user can meet, as a class that carries its data.

    EdgeinferError                     500  internal_error
    ├── InvalidRequest                 400  invalid_value
    │   ├── UnsupportedParameter       400  unsupported_parameter
    │   ├── UnknownParameter           400  unknown_parameter
    │   ├── ContextLengthExceeded      400  context_length_exceeded
    │   ├── PreviousResponseNotFound   400  previous_response_not_found
    │   ├── TemplateError              400  template_error
    │   ├── UnsupportedSchema          400  unsupported_schema
    │   └── GrammarTooComplex          400  grammar_too_complex
    ├── Unauthorized                   401  invalid_api_key
    ├── Forbidden                      403  forbidden
    ├── NotFound                       404  not_found
    │   └── ModelNotFound              404  model_not_found
    ├── MethodNotAllowed               405  method_not_allowed
    ├── PayloadTooLarge                413  payload_too_large
    ├── QueueFull                      429  queue_full
    ├── RateLimited                    429  rate_limit_exceeded
    ├── HeadersTooLarge                431  headers_too_large
    ├── NotReady                       503  model_not_ready
    │   ├── ModelReplaced              503  model_replaced
    │   └── ShuttingDown               503  shutting_down
    ├── WorkerDied                     500  worker_died
    ├── DecodeFailed                   500  decode_failed
    ├── ConstraintFailed               500  constraint_failed
    ├── SchemaViolation                500  schema_violation
    ├── ModelLoadFailed                500  model_load_failed
    │   └── NoGPU                      500  no_gpu
    ├── StoreError                     500  store_error
    │   └── StoreBusy                  500  store_busy
    ├── DownloadFailed                 500  download_failed
    │   ├── Offline                    500  offline
    │   └── HashMismatch               500  hash_mismatch
    ├── DiskFull                       500  disk_full
    ├── QuantizeFailed                 500  quantize_failed
    ├── ServiceFailed                  500  service_failed
    ├── BackupError                    500  backup_failed
    ├── DoesNotFit                     500  does_not_fit
    ├── SettingsError                  500  invalid_settings
    │   └── CannotListen               500  cannot_listen
    └── NotImplementedHere             501  not_implemented

Each class has its own `code`, which crosses process boundaries, and which clients can rely on.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

MAX_MESSAGE = 1500
"""Characters of a message that clients are sent: a template or a grammar may have written it."""

MAX_HINT = 500
"""Characters of a hint that clients are sent."""

MAX_PARAM = 400
"""Characters of a field's name that clients are sent."""


class ErrorData(msgspec.Struct, frozen=True):
    """An error that is sent between two processes; `revive` restores its class."""

    code: str
    message: str
    param: str | None = None
    hint: str | None = None
    retry_after: int | None = None


class EdgeinferError(Exception):
    """Base of all errors. `param` names the offending field, `hint` says what to do about it.

    `request_id` is the id of the request that is answered with the error, once that is known.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        hint: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.hint = hint
        self.retry_after = retry_after
        self.request_id: str | None = None

    def data(self) -> ErrorData:
        return ErrorData(self.code, self.message, self.param, self.hint, self.retry_after)

    def public(self) -> ErrorData:
        """What clients are sent: nothing is long, and the hint is in the message too, since most show only that."""
        hint = self.hint and _cut(self.hint, MAX_HINT)
        message = _with_hint(_cut(self.message, MAX_MESSAGE), hint)
        return ErrorData(
            self.code, message, self.param and _cut(self.param, MAX_PARAM), hint, self.retry_after
        )


class InvalidRequest(EdgeinferError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class UnsupportedParameter(InvalidRequest):
    code = "unsupported_parameter"


class UnknownParameter(InvalidRequest):
    code = "unknown_parameter"


class ContextLengthExceeded(InvalidRequest):
    code = "context_length_exceeded"


def context_exceeded(
    ctx: int, problem: str, *, tokens: int = 0, trained: int = 0, param: str | None = None
) -> ContextLengthExceeded:
    """The error for a prompt that is too long for a context of `ctx` tokens.

    Args:
        tokens: how many the prompt has, if that is known; the context that the hint names has room for them.
        trained: the context that the model was trained for, if that is known; the hint names none beyond it.

    Its first sentence and its code in the text are what clients look for to shorten the conversation by themselves.
    """
    larger = max(2 * ctx, 2)
    while larger <= tokens:
        larger *= 2
    if trained and larger > trained:
        larger = trained if trained > max(ctx, tokens) else 0
    serve = f"serve with a larger context if the model allows it: ctx = {larger} in the configuration file, or --ctx"
    return ContextLengthExceeded(
        f"This model's maximum context length is {ctx} tokens. However, {problem}. "
        f"({ContextLengthExceeded.code})",
        param=param,
        hint=f"shorten it, or {serve if larger else 'take another model: this one was trained for no more'}",
    )


class PreviousResponseNotFound(InvalidRequest):
    """The response that a request continues is not stored, or not any more, or belongs to another key."""

    code = "previous_response_not_found"


class TemplateError(InvalidRequest):
    code = "template_error"


class UnsupportedSchema(InvalidRequest):
    """A JSON schema with rules that cannot be enforced, or that nothing can satisfy."""

    code = "unsupported_schema"


class GrammarTooComplex(InvalidRequest):
    """A schema or grammar exceeds a limit of size, depth, time or memory."""

    code = "grammar_too_complex"


class Unauthorized(EdgeinferError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class Forbidden(EdgeinferError):
    status = 403
    type = "permission_error"
    code = "forbidden"


class NotFound(EdgeinferError):
    status = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class MethodNotAllowed(EdgeinferError):
    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class PayloadTooLarge(EdgeinferError):
    status = 413
    type = "invalid_request_error"
    code = "payload_too_large"


class QueueFull(EdgeinferError):
    status = 429
    type = "rate_limit_error"
    code = "queue_full"


class RateLimited(EdgeinferError):
    """A client exceeds its own limit; others are served."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class HeadersTooLarge(EdgeinferError):
    status = 431
    type = "invalid_request_error"
    code = "headers_too_large"


class NotReady(EdgeinferError):
    status = 503
    type = "service_unavailable_error"
    code = "model_not_ready"


class ModelReplaced(NotReady):
    """The model that the request was prepared for has been replaced by another."""

    code = "model_replaced"


class ShuttingDown(NotReady):
    code = "shutting_down"


def shutting_down() -> ShuttingDown:
    """Return the error for a request that comes while the service stops."""
    return ShuttingDown("the service is shutting down", retry_after=5)


def not_finite(what: str) -> DecodeFailed:
    """Return the error for NaN or infinity, from broken weights, a broken GPU, or a prompt that overflows."""
    hint = "the model file may be damaged: edgeinfer models verify checks it"
    return DecodeFailed(f"the model computed no numbers for this {what}", hint=hint)


class WorkerDied(EdgeinferError):
    code = "worker_died"


class DecodeFailed(EdgeinferError):
    code = "decode_failed"


class ConstraintFailed(EdgeinferError):
    """An answer could not be completed under its grammar."""

    code = "constraint_failed"


class SchemaViolation(EdgeinferError):
    """A complete answer breaks a rule of its schema that no grammar can enforce."""

    code = "schema_violation"


class ModelLoadFailed(EdgeinferError):
    code = "model_load_failed"


class NoGPU(ModelLoadFailed):
    """llama.cpp finds no GPU for layers that belong on one: it was built without, or the GPU is gone."""

    code = "no_gpu"


class DownloadFailed(EdgeinferError):
    """A download failed. The part that has arrived is kept, and the next attempt continues from there."""

    code = "download_failed"


class Offline(DownloadFailed):
    """A file is missing, and the network must not be used."""

    code = "offline"


class HashMismatch(DownloadFailed):
    """A file does not match its hash, and has been deleted."""

    code = "hash_mismatch"


class DiskFull(EdgeinferError):
    """There is too little space on a disk; the message has the numbers."""

    code = "disk_full"


class QuantizeFailed(EdgeinferError):
    code = "quantize_failed"


class StoreError(EdgeinferError):
    """The model store cannot be changed as requested."""

    code = "store_error"


class StoreBusy(StoreError):
    """Another process is using the store."""

    code = "store_busy"


class BackupError(EdgeinferError):
    """A backup cannot be written, read or restored."""

    code = "backup_failed"


class ServiceFailed(EdgeinferError):
    """The service manager failed, or the service did not start."""

    code = "service_failed"


class DoesNotFit(EdgeinferError):
    """A model needs more memory than there is, with these settings; the message has the numbers."""

    code = "does_not_fit"


class SettingsError(EdgeinferError):
    code = "invalid_settings"


class CannotListen(SettingsError):
    """The address is in use or does not exist; a later attempt may succeed."""

    code = "cannot_listen"


class NotImplementedHere(EdgeinferError):
    """A route of another server's API that this one does not have."""

    status = 501
    code = "not_implemented"


def all_errors() -> dict[str, type[EdgeinferError]]:
    """All error classes by code."""
    by_code: dict[str, type[EdgeinferError]] = {}
    todo: list[type[EdgeinferError]] = [EdgeinferError]
    while todo:
        cls = todo.pop()
        by_code[cls.code] = cls
        todo.extend(cls.__subclasses__())
    return by_code


def _with_hint(message: str, hint: str | None) -> str:
    return f"{message} (hint: {hint})" if hint else message


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def revive_public(data: ErrorData) -> EdgeinferError:
    """The error that `data`, from `public`, was made from."""
    error = revive(data)
    error.message = error.message.removesuffix(_with_hint("", error.hint))
    error.args = (error.message,)
    return error


def revive(data: ErrorData) -> EdgeinferError:
    """The error that `data` was made from; an unknown code becomes the base class."""
    cls = all_errors().get(data.code, EdgeinferError)
    return cls(data.message, param=data.param, hint=data.hint, retry_after=data.retry_after)
