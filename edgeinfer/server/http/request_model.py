"""Base of all request models: unknown fields are refused, and values are not coerced."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from edgeinfer.errors import InvalidRequest, UnknownParameter, UnsupportedParameter

Harmless = tuple[Any, ...]
"""Values of an unsupported field that have no effect, so that a request with one can be answered."""


class Strict(BaseModel):
    """Accepts only declared fields, exact types (neither true nor "1" is 1) and finite numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class RequestModel(Strict):
    """A request's body.

    An explicit null counts as absent, as in OpenAI's API. `accepted` fields have no effect and are dropped;
    `unsupported` ones are known but refused by name, unless they have a harmless value; `synonyms` are other names of
    fields.
    """

    accepted: ClassVar[frozenset[str]] = frozenset()
    unsupported: ClassVar[Mapping[str, Harmless]] = {}
    synonyms: ClassVar[Mapping[str, str]] = {}


Model = TypeVar("Model", bound=RequestModel)


def validate(model: type[Model], raw: object) -> Model:
    """Make a `model` from `raw`, which is decoded JSON.

    Raises:
        InvalidRequest: or one of its subclasses, with the offending field in `param`.
    """
    if not isinstance(raw, dict):
        raise InvalidRequest("the body must be a JSON object")
    values = {key: value for key, value in raw.items() if value is not None}
    for key in [key for key in values if key not in model.model_fields]:
        value = values.pop(key)
        if (name := model.synonyms.get(key)) and name not in values:
            values[name] = value
        else:
            _check_foreign(model, key, value)
    try:
        return model.model_validate(values)
    except ValidationError as e:
        raise _translated(e, values) from e


def _check_foreign(model: type[RequestModel], key: str, value: object) -> None:
    if key in model.accepted:
        return
    if name := model.synonyms.get(key):
        raise InvalidRequest(f"{key!r} and {name!r} are the same parameter: use one of them", param=key)
    if key not in model.unsupported:
        hint = did_you_mean(key, [*model.model_fields, *model.synonyms, *model.unsupported])
        raise UnknownParameter(f"unknown parameter: {key!r}", param=key, hint=hint)
    if not any(type(value) is type(fine) and value == fine for fine in model.unsupported[key]):
        raise UnsupportedParameter(f"{key!r} is not supported here", param=key)


def did_you_mean(name: str, known: Sequence[str]) -> str | None:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else None


def _translated(error: ValidationError, raw: object) -> InvalidRequest:
    """The most helpful of pydantic's errors: that of the union branch that got furthest into `raw`."""
    errors = error.errors(include_url=False, include_context=False)
    paths = [path_in(raw, e["loc"], missing=e["type"] == "missing") for e in errors]
    path, first = max(zip(paths, errors, strict=True), key=lambda pair: len(pair[0]))
    param = dotted(path)
    if first["type"] == "extra_forbidden":
        return UnknownParameter(f"unknown parameter: {param!r}", param=param)
    if first["type"] == "missing":
        return InvalidRequest(f"missing parameter: {param!r}", param=param)
    return InvalidRequest(f"{param}: {first['msg'].removeprefix('Value error, ')}", param=param or None)


def path_in(raw: object, loc: Sequence[str | int], *, missing: bool) -> list[str | int]:
    """`loc` without the names that pydantic adds: those of union branches and of validators.

    `missing`: the last part of `loc` is a field that `raw` does not have.
    """
    path: list[str | int] = []
    for at, part in enumerate(loc):
        if isinstance(raw, dict) and isinstance(part, str):
            if part in raw:
                raw = raw[part]
            elif not missing or at < len(loc) - 1:
                continue
        elif isinstance(raw, list) and isinstance(part, int) and part < len(raw):
            raw = raw[part]
        else:
            continue
        path.append(part)
    return path


def dotted(path: Sequence[str | int]) -> str:
    """`["messages", 0, "role"]` -> `messages[0].role`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
