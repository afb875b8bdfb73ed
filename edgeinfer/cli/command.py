"""How every command shows its help, and what it says about a word that it does not know."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from typer.core import TyperCommand, TyperGroup

from edgeinfer.cli.foreign_options import foreign_option_hint

SIMILARITY = 0.65
"""Of a word to what was meant, from which on that is suggested."""


class Command(TyperCommand):
    """A command whose own options come before the settings that it takes as well."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        for param in self.params:
            if param.metavar is None and not getattr(param, "is_flag", False):
                argument = param.param_type_name == "argument"
                param.metavar = str(param.name).upper() if argument else "TEXT"

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                panel = getattr(param, "rich_help_panel", None) or "Options"
                title = "Arguments" if param.param_type_name == "argument" else panel
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = set(_options(self))
        for argument in args:
            option = argument.partition("=")[0]
            if option == "--":
                break
            if option not in known and (hint := foreign_option_hint(option, known)):
                ctx.fail(f"No such option: {option}; {hint}")
        try:
            return super().parse_args(ctx, args)
        except Exception as e:
            _explain_option(e, ctx, known)
            raise


class Group(TyperGroup):
    """Commands under one name. It knows those of other groups, too, if one is asked for in the wrong place."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as e:
            _explain_option(e, ctx, set(_options(self)))
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if not (ctx.resilient_parsing or name.startswith("-") or name in self.commands):
            meant = self._meant(ctx, name)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {meant}?" if meant else ""))
        return super().resolve_command(ctx, args)

    def _meant(self, ctx: Any, name: str) -> str:
        """Name the commands that may be meant: one with this name elsewhere, or similar ones here."""
        root = ctx.find_root()
        path = next((path for path in _visible_paths(root.command) if path[-1] == name), None)
        if path:
            return repr(" ".join((root.info_name or "", *path)))
        return " or ".join(map(repr, difflib.get_close_matches(name, self.commands, n=2, cutoff=SIMILARITY)))


def _visible_paths(group: TyperGroup) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command that help lists."""
    for name, command in group.commands.items():
        if not command.hidden:
            yield (name,)
            if isinstance(command, TyperGroup):
                yield from ((name, *path) for path in _visible_paths(command))


def _options(command: Any) -> Iterator[str]:
    for param in command.params:
        if param.param_type_name == "option" and not param.hidden:
            yield from (*param.opts, *param.secondary_opts)


def _explain_option(error: Exception, ctx: Any, known: Iterable[str]) -> None:
    """Raise the error for an unknown option in our words: those of the library change with its version."""
    option = getattr(error, "option_name", None)
    if type(error).__name__ == "NoSuchOption" and isinstance(option, str):
        close = close_words(option, known)
        ctx.fail(f"No such option: {option}." + (f" Did you mean {' or '.join(close)}?" if close else ""))


def close_words(word: str, known: Iterable[str]) -> Collection[str]:
    """Return what may be meant by a word, the most similar first."""
    return difflib.get_close_matches(word.replace("_", "-"), list(known), n=2, cutoff=SIMILARITY)
