"""Typer options made from the settings: an option is declared once, in settings.py."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import typer
from msgspec import Meta
from msgspec.structs import FieldInfo

from edgeinfer.settings import FIELDS

R = TypeVar("R")


def flag_name(field: FieldInfo) -> str:
    """`--drain-timeout`; for what is on or off `--flash-attention/--no-flash-attention`."""
    name = field.name.replace("_", "-")
    return f"--{name}/--no-{name}" if bool in members(plain(field.type)) else f"--{name}"


def plain(kind: Any) -> Any:
    """An annotation without its `Meta`s, which may stand around it or around a member of its union."""
    if get_origin(kind) is Annotated:
        return plain(get_args(kind)[0])
    found = members(kind)
    return kind if found == (kind,) else functools.reduce(operator.or_, map(plain, found))


def members(kind: Any) -> tuple[Any, ...]:
    """The members of a union; any other type is its own only member."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def description(field: FieldInfo) -> str:
    return next((m.description for m in _metas(field.type) if m.description), "")


def bound(field: FieldInfo, name: str) -> Any:
    """The bound "ge", "gt" or "le"; None where there is none."""
    return next((found for m in _metas(field.type) if (found := getattr(m, name)) is not None), None)


def left_to_the_plan(field: FieldInfo) -> bool:
    """Whether None stands for a value the plan finds. (For a text it stands for nothing at all.)"""
    kinds = members(plain(field.type))
    return NoneType in kinds and str not in kinds


def parameter(field: FieldInfo) -> inspect.Parameter:
    """The field as a parameter that typer makes an option of."""
    option = typer.Option(
        flag_name(field),
        help=description(field),
        min=bound(field, "ge"),
        max=bound(field, "le"),
        show_default="decided for this machine" if left_to_the_plan(field) else True,
    )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=field.default,
        annotation=Annotated[plain(field.type), option],
    )


def with_settings(command: Callable[..., R]) -> Callable[..., R]:
    """Give `command(flags, **own)` an option for every setting; `flags` has those that were typed."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    options = [context, *own, *map(parameter, FIELDS.values())]

    @functools.wraps(command)
    def wrapper(context: typer.Context, **given: Any) -> R:
        values = {name: given.pop(name) for name in FIELDS}
        return command({k: v for k, v in values.items() if _typed(context, k)}, **given)

    vars(wrapper).pop("__wrapped__")  # typer would read the signature of what was wrapped
    wrapper.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in options}
    return wrapper


def _typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _metas(kind: Any) -> Iterator[Meta]:
    if get_origin(kind) is Annotated:
        kind, *found = get_args(kind)
        yield from (m for m in found if isinstance(m, Meta))
        yield from _metas(kind)
    for member in members(kind):
        if member is not kind:
            yield from _metas(member)
