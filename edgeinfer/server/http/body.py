"""Reads a request's body: JSON that is declared as JSON, checked against a model."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import msgspec
from starlette.requests import Request

from edgeinfer.errors import InvalidRequest
from edgeinfer.server.http.request_model import Model, validate
from edgeinfer.server.state import state_of

CURL_HINT = "send the header Content-Type: application/json"

MAX_DEPTH = 128
"""Maximum nesting of lists and objects: later code may recurse into them."""

TOO_DEEP = f"the JSON is nested more than {MAX_DEPTH} deep"

logger = logging.getLogger("edgeinfer.prompts")


async def read(request: Request, model: type[Model]) -> Model:
    """Read and validate the body.

    Raises:
        InvalidRequest: it is not JSON, or not valid for `model`.
        PayloadTooLarge: it is larger than the daemon accepts.
    """
    _check_type(request)
    body = await request.body()
    if state_of(request).settings.log_prompts:
        logger.info("%s %s", request.scope.get("edgeinfer.id"), body.decode(errors="replace"))
    return validate(model, _decoded(body))


def _check_type(request: Request) -> None:
    # A web page may post text/plain, a form or a body without a type to any server (CSRF). For application/json its
    # browser must send a preflight request first, which is refused.
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise InvalidRequest(
            f"the body's type is {kind or 'missing'}, not JSON", param="Content-Type", hint=CURL_HINT
        )
    if request.headers.get("content-encoding", "identity") != "identity":
        raise InvalidRequest("compressed bodies are not accepted", param="Content-Encoding")


def _decoded(body: bytes) -> Any:
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise InvalidRequest(TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise InvalidRequest(f"the body is not valid JSON: {e}") from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _deeper(value, MAX_DEPTH):
        raise InvalidRequest(TOO_DEEP)
    return value


def _deeper(value: Any, depth: int) -> bool:
    """True if lists and objects are nested more than `depth` deep."""
    level = [value]
    for _ in range(depth):
        level = [item for container in level for item in _items(container) if isinstance(item, dict | list)]
        if not level:
            return False
    return True


def _items(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
