"""Every error a user can meet, as a class that carries its data.

    EdgeinferError                     500  internal_error
    ├── InvalidRequest                 400  invalid_value
    │   ├── UnsupportedParameter       400  unsupported_parameter
    │   ├── UnknownParameter           400  unknown_parameter
    │   ├── ContextLengthExceeded      400  context_length_exceeded
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
    ├── DoesNotFit                     500  does_not_fit
    └── SettingsError                  500  invalid_settings
        └── CannotListen               500  cannot_listen

A class's `code` is unique: it is what crosses the process border and what a client may match on.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec


class ErrorData(msgspec.Struct, frozen=True):
    """An error on its way between two processes; `revive` makes it the class it was."""

    code: str
    message: str
    param: str | None = None
    hint: str | None = None
    retry_after: int | None = None


class EdgeinferError(Exception):
    """Base of all. `param` names the offending field, `hint` says what to do about it."""

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

    def data(self) -> ErrorData:
        return ErrorData(self.code, self.message, self.param, self.hint, self.retry_after)


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


class TemplateError(InvalidRequest):
    code = "template_error"


class UnsupportedSchema(InvalidRequest):
    """A JSON schema that asks for what cannot be enforced, or that nothing can satisfy."""

    code = "unsupported_schema"


class GrammarTooComplex(InvalidRequest):
    """A schema or grammar beyond a limit of size, depth, time or memory."""

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
    """One client asks too often, or too much at once; others are served."""

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
    """Another model took the place of the one that the request was prepared for."""

    code = "model_replaced"


class ShuttingDown(NotReady):
    code = "shutting_down"


class WorkerDied(EdgeinferError):
    code = "worker_died"


class DecodeFailed(EdgeinferError):
    code = "decode_failed"


class ConstraintFailed(EdgeinferError):
    """An answer could not be kept to its grammar to the end, so there is none."""

    code = "constraint_failed"


class SchemaViolation(EdgeinferError):
    """An answer is complete, and breaks a rule of its schema that could only be checked in the end."""

    code = "schema_violation"


class ModelLoadFailed(EdgeinferError):
    code = "model_load_failed"


class NoGPU(ModelLoadFailed):
    """Layers were to go on a GPU, and llama.cpp finds none: it was built without, or the GPU has gone."""

    code = "no_gpu"


class DownloadFailed(EdgeinferError):
    """A file did not come. What has come of it is kept, and the next attempt goes on from there."""

    code = "download_failed"


class Offline(DownloadFailed):
    """Something is missing, and the network is not to be used."""

    code = "offline"


class HashMismatch(DownloadFailed):
    """A file's bytes are not those that were announced; they were thrown away."""

    code = "hash_mismatch"


class DiskFull(EdgeinferError):
    """Too little room on a disk for what is to be written; the message has the numbers."""

    code = "disk_full"


class QuantizeFailed(EdgeinferError):
    code = "quantize_failed"


class StoreError(EdgeinferError):
    """The store of models can't be changed as it was asked."""

    code = "store_error"


class StoreBusy(StoreError):
    """Another process is at it."""

    code = "store_busy"


class ServiceFailed(EdgeinferError):
    """The service manager could not do what it was asked, or the service did not start."""

    code = "service_failed"


class DoesNotFit(EdgeinferError):
    """A model, or what is asked of it, takes more memory than there is; the message has the numbers."""

    code = "does_not_fit"


class SettingsError(EdgeinferError):
    code = "invalid_settings"


class CannotListen(SettingsError):
    """The address is taken, or not there: it may be free a moment later."""

    code = "cannot_listen"


def all_errors() -> dict[str, type[EdgeinferError]]:
    """Code -> class, over the whole tree."""
    by_code: dict[str, type[EdgeinferError]] = {}
    todo: list[type[EdgeinferError]] = [EdgeinferError]
    while todo:
        cls = todo.pop()
        by_code[cls.code] = cls
        todo.extend(cls.__subclasses__())
    return by_code


def revive(data: ErrorData) -> EdgeinferError:
    """The error that `data` was made from; an unknown code becomes the base class."""
    cls = all_errors().get(data.code, EdgeinferError)
    return cls(data.message, param=data.param, hint=data.hint, retry_after=data.retry_after)
