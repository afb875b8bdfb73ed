"""A request's body: JSON that says it is JSON, decoded and checked against a model."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request

from edgeinfer.errors import InvalidRequest
from edgeinfer.server.schemas.base import Model, validate

CURL_HINT = "send the header Content-Type: application/json"


async def read(request: Request, model: type[Model]) -> Model:
    """The body as a `model`.

    Raises:
        InvalidRequest: it is not JSON, or not what `model` wants.
        PayloadTooLarge: it is larger than the daemon takes.
    """
    _check_type(request)
    return validate(model, _decoded(await request.body()))


def _check_type(request: Request) -> None:
    # A web page may post text/plain, a form or a body without a type anywhere it likes (CSRF); for
    # application/json its browser must ask first, and is not answered.
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise InvalidRequest(
            f"the body's type is {kind or 'not given'}, not JSON", param="Content-Type", hint=CURL_HINT
        )
    if request.headers.get("content-encoding", "identity") != "identity":
        raise InvalidRequest("compressed bodies are not accepted", param="Content-Encoding")


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise InvalidRequest("the JSON is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise InvalidRequest(f"the body is not valid JSON: {e}") from None
