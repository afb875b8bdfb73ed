"""Typer options made from the settings: an option is declared once, in settings.py."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import typer
from msgspec import Meta
from msgspec.structs import FieldInfo

from edgeinfer.cli import option_values
from edgeinfer.model_settings import MODEL_FIELDS
from edgeinfer.settings import FIELDS
from edgeinfer.value_errors import advice, choices

R = TypeVar("R")

MODEL_PANEL = "Settings of the model (without a default: as suits this machine)"
DAEMON_PANEL = "Settings of the daemon"

OPTIONAL = ("memory_limit_mb", "idle_unload")
"""Numbers that the plan does not choose: None means that there is no limit."""


def flag_name(field: FieldInfo) -> str:
    """Return `--drain-timeout`, or for a switch `--flash-attention/--no-flash-attention`."""
    name = field.name.replace("_", "-")
    return f"--{name}/--no-{name}" if bool in union_members(bare_type(field.type)) else f"--{name}"


def bare_type(kind: Any) -> Any:
    """Return an annotation without its `Meta`s, which may wrap it or a member of its union."""
    if get_origin(kind) is Annotated:
        return bare_type(get_args(kind)[0])
    parts = union_members(kind)
    return kind if parts == (kind,) else functools.reduce(operator.or_, map(bare_type, parts))


def union_members(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union; any other type has itself as its only member."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def description(field: FieldInfo) -> str:
    return next((m.description for m in _metas(field.type) if m.description), "")


def bound(field: FieldInfo, name: str) -> Any:
    """Return the bound "ge", "gt" or "le", None if there is none."""
    return next((limit for m in _metas(field.type) if (limit := getattr(m, name)) is not None), None)


def is_planned(field: FieldInfo) -> bool:
    """Tell whether None means that the plan decides. (For a text it means that there is none.)"""
    kinds = union_members(bare_type(field.type))
    return NoneType in kinds and str not in kinds and field.name not in OPTIONAL


def parameter(field: FieldInfo) -> inspect.Parameter:
    """Return a setting as a parameter that typer turns into an option."""
    option = typer.Option(
        flag_name(field),
        help=description(field),
        **_value(field),
        show_default=not is_planned(field),
        rich_help_panel=MODEL_PANEL if field.name in (*MODEL_FIELDS, "store") else DAEMON_PANEL,
    )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=field.default,
        annotation=Annotated[bare_type(field.type), option],
    )


def _value(field: FieldInfo) -> dict[str, Any]:
    """Return the arguments of `typer.Option` that say what the option takes."""
    kinds = union_members(bare_type(field.type))
    if words := choices(field.type):
        return option_values.choice(words)
    for kind in (int, float):
        if kind in kinds:
            bounds = {name: bound(field, name) for name in ("ge", "gt", "le")}
            return option_values.number(kind, **bounds, advice=advice(field.name))
    return {"metavar": "TEXT"} if str in kinds else {}


def with_settings(command: Callable[..., R]) -> Callable[..., R]:
    """Give `command(flags, **own)` an option for every setting; `flags` holds those on the command line."""
    return _with_options(command, FIELDS)


def with_model_settings(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command, as `with_settings` does, options for the settings of a model and the store's alone."""
    return _with_options(command, {name: FIELDS[name] for name in (*MODEL_FIELDS, "store")})


def _with_options(command: Callable[..., R], fields: Mapping[str, FieldInfo]) -> Callable[..., R]:
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    options = [context, *own, *map(parameter, fields.values())]

    @functools.wraps(command)
    def wrapper(context: typer.Context, **arguments: Any) -> R:
        values = {name: arguments.pop(name) for name in fields}
        return command({k: v for k, v in values.items() if _on_command_line(context, k)}, **arguments)

    vars(wrapper).pop("__wrapped__")  # typer would read the signature of what was wrapped
    wrapper.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in options}
    return wrapper


def _on_command_line(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _metas(kind: Any) -> Iterator[Meta]:
    if get_origin(kind) is Annotated:
        kind, *metas = get_args(kind)
        yield from (m for m in metas if isinstance(m, Meta))
        yield from _metas(kind)
    for member in union_members(kind):
        if member is not kind:
            yield from _metas(member)
