"""Base of all request models: values are not coerced, and unknown fields are ignored but named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from edgeinfer.errors import InvalidRequest, UnsupportedParameter
from edgeinfer.server.http.unknown_fields import UnknownField, UnknownFields
from edgeinfer.server.http.validation_errors import UNKNOWN_FIELD, translated, unknown_parameter

Harmless = tuple[Any, ...]
"""Values of an unsupported field that have no effect, so that a request with one can be answered."""

Model = TypeVar("Model", bound="RequestModel")
T = TypeVar("T")

Items = Annotated[list[T], Field(fail_fast=True)]
"""A list whose first wrong item ends the validation: one error is enough, and a million take gigabytes."""


class Strict(BaseModel):
    """Takes exact types (neither true nor "1" is 1) and finite numbers. Unknown fields are noted and ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False, frozen=True)

    known: ClassVar[frozenset[str]] = frozenset()
    """Names that its fields have in a request."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_options: Any) -> None:
        cls.known = frozenset(name for field in cls.model_fields.items() for name in _names(*field))

    @model_validator(mode="before")
    @classmethod
    def _note_unknown(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, dict) and isinstance(info.context, UnknownFields):
            try:
                info.context.note(value, cls.known)
            except UnknownField as e:
                details = {"name": e.name, "meant": e.meant}
                raise PydanticCustomError(UNKNOWN_FIELD, "unknown", details) from None
        return value


def _names(name: str, field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [choice for choice in alias.choices if isinstance(choice, str)]
    return [alias if isinstance(alias, str) else name]


class RequestModel(Strict):
    """A request's body.

    An explicit null counts as absent, as in OpenAI's API. `accepted` fields have no effect and are dropped;
    `unsupported` ones are known but refused by name, unless they have a harmless value, with one of the `hints`;
    `synonyms` are other names of fields. In a `forgiving` one, even fields that look mistyped are ignored.
    """

    accepted: ClassVar[frozenset[str]] = frozenset()
    unsupported: ClassVar[Mapping[str, Harmless]] = {}
    synonyms: ClassVar[Mapping[str, str]] = {}
    hints: ClassVar[Mapping[str, str]] = {}
    forgiving: ClassVar[bool] = False
    understood: ClassVar[frozenset[str]] = frozenset()
    """All these names."""

    effective: ClassVar[frozenset[str]] = frozenset()
    """All but the accepted ones: a mistyped one of those has no effect either."""

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        cls.effective = cls.known.union(cls.synonyms, cls.unsupported)
        cls.understood = cls.effective | cls.accepted

    @classmethod
    def adapt(cls, values: dict[str, Any]) -> None:
        """Rewrite fields of other servers, which have a value of another form, to ours. Raises InvalidRequest."""


def validate(model: type[Model], raw: object, unknown: UnknownFields | None = None) -> Model:
    """Make a `model` from `raw`, which is decoded JSON; `unknown` notes the fields that it does not know.

    Raises:
        InvalidRequest: or one of its subclasses, with the offending field in `param`.
    """
    if not isinstance(raw, dict):
        raise InvalidRequest("the body must be a JSON object")
    unknown = unknown or UnknownFields()
    unknown.forgiving = model.forgiving
    values = {key: value for key, value in raw.items() if value is not None}
    model.adapt(values)
    try:
        unknown.note(values, model.understood, model.effective)
    except UnknownField as e:
        raise unknown_parameter(e.name, e.meant) from None
    body: dict[str, Any] = {}
    written: dict[str, str] = {}
    for key, value in values.items():
        if key in model.known:
            body[key] = value
        elif (name := model.synonyms.get(key)) and name not in values and name not in body:
            body[name] = value
            written[name] = key
        elif key in model.effective:
            _check_foreign(model, key, value)
    try:
        checked = model.model_validate(body, context=unknown)
    except ValidationError as e:
        raise translated(e, body, written) from None
    unknown.locate(values)
    return checked


def _check_foreign(model: type[RequestModel], key: str, value: object) -> None:
    if name := model.synonyms.get(key):
        raise InvalidRequest(f"{key!r} and {name!r} are the same parameter: use one of them", param=key)
    if not any(type(value) is type(fine) and value == fine for fine in model.unsupported[key]):
        raise UnsupportedParameter(f"{key!r} is not supported here", param=key, hint=model.hints.get(key))
