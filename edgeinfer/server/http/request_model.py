"""Base of all request models: unknown fields are refused, and values are not coerced."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgeinfer.errors import InvalidRequest, UnknownParameter, UnsupportedParameter
from edgeinfer.server.http.quoting import MAX_QUOTED, quoted, shortened
from edgeinfer.server.http.validation_errors import translated

Harmless = tuple[Any, ...]
"""Values of an unsupported field that have no effect, so that a request with one can be answered."""

Model = TypeVar("Model", bound="RequestModel")
T = TypeVar("T")

Items = Annotated[list[T], Field(fail_fast=True)]
"""A list whose first wrong item ends the validation: one error is enough, and a million take gigabytes."""


class Strict(BaseModel):
    """Accepts only declared fields, exact types (neither true nor "1" is 1) and finite numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _few_unknown(cls, value: Any) -> Any:
        """Of more fields than there are, one of the first is unknown; an error for each of the rest helps nobody."""
        most = len(cls.model_fields) + 1
        return dict(islice(value.items(), most)) if isinstance(value, dict) and len(value) > most else value


class RequestModel(Strict):
    """A request's body.

    An explicit null counts as absent, as in OpenAI's API. `accepted` fields have no effect and are dropped;
    `unsupported` ones are known but refused by name, unless they have a harmless value, with one of the `hints`;
    `synonyms` are other names of fields.
    """

    accepted: ClassVar[frozenset[str]] = frozenset()
    unsupported: ClassVar[Mapping[str, Harmless]] = {}
    synonyms: ClassVar[Mapping[str, str]] = {}
    hints: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def adapt(cls, values: dict[str, Any]) -> None:
        """Rewrite fields of other servers, which have a value of another form, to ours. Raises InvalidRequest."""


def validate(model: type[Model], raw: object) -> Model:
    """Make a `model` from `raw`, which is decoded JSON.

    Raises:
        InvalidRequest: or one of its subclasses, with the offending field in `param`.
    """
    if not isinstance(raw, dict):
        raise InvalidRequest("the body must be a JSON object")
    values = {key: value for key, value in raw.items() if value is not None}
    model.adapt(values)
    for key in [key for key in values if key not in model.model_fields]:
        value = values.pop(key)
        if (name := model.synonyms.get(key)) and name not in values:
            values[name] = value
        else:
            _check_foreign(model, key, value)
    try:
        return model.model_validate(values)
    except ValidationError as e:
        raise translated(e, values) from None


def _check_foreign(model: type[RequestModel], key: str, value: object) -> None:
    if key in model.accepted:
        return
    if name := model.synonyms.get(key):
        raise InvalidRequest(f"{key!r} and {name!r} are the same parameter: use one of them", param=key)
    if key not in model.unsupported:
        hint = did_you_mean(key, [*model.model_fields, *model.synonyms, *model.unsupported])
        raise UnknownParameter(f"unknown parameter: {quoted(key)}", param=shortened(key), hint=hint)
    if not any(type(value) is type(fine) and value == fine for fine in model.unsupported[key]):
        raise UnsupportedParameter(f"{key!r} is not supported here", param=key, hint=model.hints.get(key))


def did_you_mean(name: str, known: Sequence[str]) -> str | None:
    """A hint that names the nearest of the `known` names; None if none is near."""
    close = difflib.get_close_matches(name, known, n=1) if len(name) <= MAX_QUOTED else []
    return f"did you mean {close[0]!r}?" if close else None
