"""Answers a shell that completes `edgeinfer`: which words may come next. Nothing heavy is imported for it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from edgeinfer.cli.completion_scripts import FILES
from edgeinfer.cli.option_values import metavar_words

Word = tuple[str, str]
"""A word and what it means."""

PUBLISHED = ("install", "pull", "plan", "show", "run")
"""Commands that take models which are not installed, too."""

NAMED = ("delete", "load", "remove", "rm", "serve", "show", "unload", "verify")
"""Commands whose argument `name` is a model's."""


def answer(arguments: Sequence[str], form: str) -> None:
    """Print what may follow the words on the command line, for its script to read.

    Args:
        arguments: the words after the program's name, with the one that is being typed; if `form` is "line", the
            whole command line up to the cursor.
    """
    words = _words(arguments[0] if arguments else "") if form == "line" else list(arguments)
    *before, typed = words or [""]
    for word, meaning in next_words(before, typed):
        sys.stdout.write(f"{word}\t{meaning}\n" if meaning else f"{word}\n")


def next_words(before: Sequence[str], typed: str) -> list[Word]:
    """Return the words that begin with `typed` and may stand after the others."""
    from typer.main import get_command

    from edgeinfer.cli.app import app

    command, path = get_command(app), []
    arguments: list[str] = []
    option: Any = None
    for word in before:
        if option is not None:
            option = None
        elif word.startswith("-") and word != "-":
            option = _taking(command, word)
        elif (inner := getattr(command, "commands", {}).get(word)) is not None:
            command, arguments = inner, []
            path.append(word)
        else:
            arguments.append(word)
    if option is not None:
        return _values(option, path, typed)
    if typed.startswith("-"):
        name, equals, value = typed.partition("=")
        if equals and (option := _taking(command, name)) is not None:
            return [(w if w == FILES else f"{name}={w}", m) for w, m in _values(option, path, value)]
        return _beginning(_options(command), typed)
    if commands := getattr(command, "commands", {}):
        if arguments:  # a command that does not exist
            return []
        return _beginning(((n, c.get_short_help_str(60)) for n, c in commands.items() if not c.hidden), typed)
    parameters = [param for param in command.params if param.param_type_name == "argument"]
    index = (
        min(len(arguments), len(parameters) - 1)
        if parameters and parameters[-1].nargs == -1
        else len(arguments)
    )
    return _values(parameters[index], path, typed) if index < len(parameters) else []


def _words(line: str) -> list[str]:
    """Split a command line up to the cursor; the last word is the one that is being typed."""
    for closing in ("", '"', "'"):
        try:
            words = shlex.split(line + closing)
        except ValueError:
            continue
        return words[1:] + ([""] if not closing and line[-1:].isspace() else [])
    return [""]


def _taking(command: Any, name: str) -> Any:
    """Return the option of that name if it takes a value from the next word."""
    for param in command.params:
        if name in param.opts and param.param_type_name == "option" and not param.is_flag:
            return param
    return None


def _options(command: Any) -> Iterator[Word]:
    for param in command.params:
        if param.param_type_name == "option" and not param.hidden:
            yield from (
                (name, _sentence(param.help))
                for name in (*param.opts, *param.secondary_opts)
                if name[:2] == "--"
            )
    yield "--help", "Show this message and exit."


def _values(param: Any, path: Sequence[str], typed: str) -> list[Word]:
    """Return what an option or an argument may be."""
    metavar = str(param.metavar or "")
    if words := metavar_words(metavar):
        return _beginning(((word, "") for word in words), typed)
    source = _source(param.name, path)
    found = _beginning(source(), typed) if source else []
    return found or ([] if metavar == "N" else [(FILES, "")])


def _source(name: str, path: Sequence[str]) -> Callable[[], Iterable[Word]] | None:
    """Return what knows the values of a parameter, by its name and the words of its command."""
    last = path[-1] if path else ""
    if name in ("model", "models") or (name == "name" and last in NAMED and "key" not in path):
        return _published if last in PUBLISHED else _installed
    return {"app": _apps, "host": _hosts, "url": _urls, "shell": _shells}.get(name)


def _installed() -> Iterator[Word]:
    from edgeinfer import settings
    from edgeinfer.store.lookup import BUNDLED_MODEL
    from edgeinfer.store.store import Store

    loaded = settings.load().settings
    yield from ((name, "as the configuration file has it") for name in loaded.models)
    recorded = Store.of(loaded).recorded()
    for name in dict.fromkeys(stored.name for stored in recorded):
        quants = [stored.quant for stored in recorded if stored.name == name]
        yield name, ", ".join(quants)
        if len(quants) > 1:
            yield from ((f"{name}:{quant}", "") for quant in quants)
    yield BUNDLED_MODEL, "bundled"


def _published() -> Iterator[Word]:
    from edgeinfer.store.catalogue import catalogue

    for name, spec in catalogue().items():
        if spec.files:
            yield name, _sentence(spec.description)


def _apps() -> Iterator[Word]:
    from edgeinfer.connect.catalogue import APPS

    yield from ((app.name, app.title) for app in APPS.values())


def _hosts() -> Iterator[Word]:
    yield from (
        ("127.0.0.1", "this machine only"),
        ("0.0.0.0", "all networks; needs API keys"),
        ("::1", "this machine only, with IPv6"),
        ("::", "all networks, with IPv6 too; needs API keys"),
    )


def _urls() -> Iterator[Word]:
    from edgeinfer import settings

    loaded = settings.load().settings
    yield f"http{'s' if loaded.tls_cert else ''}://127.0.0.1:{loaded.port}", "this machine's daemon"
    yield from ((peer.strip(), "a peer") for peer in loaded.peers.split(",") if peer.strip())


def _shells() -> Iterator[Word]:
    yield from (("bash", ""), ("zsh", ""), ("fish", ""))


def _beginning(words: Iterable[Word], typed: str) -> list[Word]:
    return [(word, meaning) for word, meaning in words if word.startswith(typed)]


def _sentence(text: str | None) -> str:
    """Return the first sentence of a text, on one line."""
    return " ".join((text or "").split()).partition(". ")[0]
