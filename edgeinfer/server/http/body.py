"""Reads a request's body: JSON, declared as JSON where the family insists, and checked against a model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from starlette.requests import Request

from edgeinfer.errors import InvalidRequest
from edgeinfer.server.http.family import family_of
from edgeinfer.server.http.freed_memory import FreedMemory
from edgeinfer.server.http.headers import IGNORED
from edgeinfer.server.http.json_decoder import JsonDecoder
from edgeinfer.server.http.request_model import Model, validate
from edgeinfer.server.http.route_pattern import route_of
from edgeinfer.server.http.unknown_fields import UnknownFields
from edgeinfer.server.state import state_of

P = ParamSpec("P")
T = TypeVar("T")

CURL_HINT = "send the header Content-Type: application/json"

MIN_THREAD_BYTES = 65_536
"""Size of a body that takes long enough (a few milliseconds) to be worth a thread."""

MAX_LOGGED = 65_536
"""Bytes of a body that `log_prompts` logs."""

HUGE_BYTES = 1 << 20
"""Size of a body that takes so long that smaller ones do not wait for it."""

_large, _huge = (ThreadPoolExecutor(1, thread_name_prefix=f"{size}-bodies") for size in ("large", "huge"))
"""One at a time of each: more threads together would keep the event loop waiting for its turn."""

_freed_memory = FreedMemory(_huge)

logger = logging.getLogger("edgeinfer.prompts")


async def read(request: Request, model: type[Model]) -> Model:
    """Read and validate the body.

    Raises:
        InvalidRequest: it is not JSON, or not valid for `model`.
        PayloadTooLarge: it is larger than the daemon accepts.
    """
    return await read_as(request, model, lambda body: body)


async def read_as(request: Request, model: type[Model], translate: Callable[[Model], T]) -> T:
    """As `read`; -> what `translate` makes of the body. A large one does not keep the event loop waiting."""
    _check_type(request)
    body = b"".join([chunk async for chunk in request.stream()])  # unlike `body()`, keeps no copy
    if state_of(request).settings.log_prompts:
        logger.info("%s %s", request.scope.get("edgeinfer.id"), _loggable(body))

    unknown = UnknownFields(strict=state_of(request).settings.strict_requests)

    def parsed() -> T:
        return translate(validate(model, JsonDecoder().decode(body), unknown))

    try:
        if len(body) < MIN_THREAD_BYTES:
            return parsed()
        if len(body) < HUGE_BYTES:
            return await asyncio.get_running_loop().run_in_executor(_large, parsed)
        _freed_memory.return_soon()
        return await asyncio.get_running_loop().run_in_executor(_huge, parsed)
    finally:
        if unknown.paths:
            _tell(request, unknown)


def _tell(request: Request, unknown: UnknownFields) -> None:
    """Name what was ignored in a header of the response, and count it."""
    request.scope[IGNORED] = unknown.header()
    state_of(request).metrics.ignored(route_of(request.scope), unknown.count)


def _loggable(body: bytes) -> str:
    text = body[:MAX_LOGGED].decode(errors="replace")
    return text if len(body) <= MAX_LOGGED else f"{text}… ({len(body)} bytes)"


def _check_type(request: Request) -> None:
    # A web page may post text/plain, a form or a body without a type to any server (CSRF). For application/json its
    # browser must send a preflight request first, which is refused. In a family whose clients send no type, only the
    # middlewares that check Host and Origin hold pages off.
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    if not is_json and not family_of(request.scope).any_content_type:
        raise InvalidRequest(
            f"the body's type is {kind or 'missing'}, not JSON", param="Content-Type", hint=CURL_HINT
        )
    if request.headers.get("content-encoding", "identity") != "identity":
        raise InvalidRequest("compressed bodies are not accepted", param="Content-Encoding")
