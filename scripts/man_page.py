"""Writes edgeinfer(1) from the commands, as roff for man(7)."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_args

from typer.models import OptionInfo, ParameterInfo

from edgeinfer import __version__
from edgeinfer.cli.app import edgeinfer
from edgeinfer.cli.options import description, flag_name
from edgeinfer.model_settings import MODEL_FIELDS
from edgeinfer.settings import FIELDS

DATE = "2026-11-30"
"""Of the page's last change that a reader would notice."""

FILES = {
    "/etc/edgeinfer/config.toml": "Settings of the machine. If there is no such file, each user's own is read.",
    "~/.config/edgeinfer/config.toml": "Settings of a user.",
    "/var/lib/edgeinfer": "Models of the service and of root.",
    "~/.local/share/edgeinfer": "Models of a user.",
    "~/.local/state/edgeinfer/chat/history": "Prompts of earlier conversations, which only their user can read.",
}

ENVIRONMENT = {
    "EDGEINFER_*": "Each setting, such as EDGEINFER_CTX for --ctx.",
    "EDGEINFER_CONFIG": "The configuration file.",
    "EDGEINFER_API_KEY": "The key that commands send to a daemon.",
    "EDGEINFER_HISTORY": "With off, conversations keep no prompts.",
    "HF_ENDPOINT": "A mirror of the hub that models are downloaded from.",
    "NO_COLOR, FORCE_COLOR": "No colours at all; colours in a pipe, too.",
}

EXIT = {"0": "Success.", "1": "Failure.", "2": "Wrong usage.", "130": "Stopped by Ctrl-C."}

Commands = Iterable[tuple[str, Callable[..., Any]]]


def man_page(commands: Commands) -> str:
    """Return the page; `commands` are the visible ones with their full names."""
    lines = [
        '.\\" Written by scripts/docs. Change the code instead, and run it.',
        f'.TH EDGEINFER 1 {DATE} "edgeinfer {__version__}" "User Commands"',
        ".SH NAME",
        "edgeinfer \\- run language models on this machine",
        ".SH SYNOPSIS",
        ".B edgeinfer",
        ".I COMMAND",
        ".RI [ OPTION ...]",
        ".SH DESCRIPTION",
        *_docstring(edgeinfer),
        ".SH COMMANDS",
    ]
    for title, callback in commands:
        lines += [f".SS {_text(title)}", *_docstring(callback), *_options(callback)]
    lines += [".SH SETTINGS", *_settings()]
    for title, entries in (("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES), ("EXIT STATUS", EXIT)):
        lines += [f".SH {title}", *_entries(entries.items())]
    lines += [".SH SEE ALSO", "The whole documentation is in the folder docs of edgeinfer's source."]
    return "\n".join(lines) + "\n"


def _docstring(callback: Callable[..., Any]) -> Iterator[str]:
    """Yield the paragraphs; those laid out by hand stay as they are."""
    for number, paragraph in enumerate(inspect.cleandoc(callback.__doc__ or "").split("\n\n")):
        title, _, rest = paragraph.partition("\n")
        if number:
            yield ".PP"
        if rest.startswith("  "):
            yield from (_text(title), ".PP", ".nf", ".RS 2")
            yield from map(_text, inspect.cleandoc(rest).split("\n"))
            yield from (".RE", ".fi")
        else:
            yield from map(_text, textwrap.wrap(" ".join(paragraph.split()), 76))


def _options(callback: Callable[..., Any]) -> Iterator[str]:
    parameters = inspect.signature(callback, eval_str=True).parameters.values()
    entries = [
        (_name(parameter, info), info.help or "")
        for parameter in parameters
        for info in get_args(parameter.annotation)[1:]
        if isinstance(info, ParameterInfo) and not info.hidden and parameter.name not in FIELDS
    ]
    if entries:
        yield from _entries(entries)
    taken = {parameter.name for parameter in parameters}
    if set(FIELDS) <= taken:
        yield from (".PP", "It takes every setting as an option, see below.")
    elif set(MODEL_FIELDS) <= taken:
        yield from (".PP", _text("It takes --store and the settings of a model as options, see below."))


def _name(parameter: inspect.Parameter, info: ParameterInfo) -> str:
    if not isinstance(info, OptionInfo):
        return info.metavar or parameter.name.upper()
    names = [info.default] if isinstance(info.default, str) else []
    names += info.param_decls or ()
    text = ", ".join(names) or "--" + parameter.name.replace("_", "-")
    is_switch = "bool" in str(get_args(parameter.annotation)[0])
    return text if is_switch else f"{text} {info.metavar or 'TEXT'}"


def _settings() -> Iterator[str]:
    yield "Options of"
    yield '.BR "edgeinfer serve" ,'
    yield "variables EDGEINFER_* and lines of the configuration file, in this order of precedence."
    yield from _entries((flag_name(field), description(field)) for field in FIELDS.values())


def _entries(entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, about in entries:
        yield from (".TP", f".B {_text(name)}", *map(_text, textwrap.wrap(about, 76)))


def _text(text: str) -> str:
    """Return a line as roff prints it unchanged."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq")
    text = re.sub(r"[^\x00-\x7f]", lambda match: f"\\[u{ord(match[0]):04X}]", text)
    return f"\\&{text}" if text.startswith(".") else text
