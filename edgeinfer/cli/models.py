"""`edgeinfer models`: what is installed, and what could be."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

if TYPE_CHECKING:
    from edgeinfer.store.external_stores import ExternalFile
    from edgeinfer.store.store import Store
    from edgeinfer.store.stored_model import StoredModel

T = TypeVar("T")
Source = Literal["hf", "ollama", "lmstudio"]
Json = Annotated[bool, typer.Option("--json", help="For a program.")]
Name = Annotated[str, typer.Argument(metavar="NAME[:QUANT]", help="As `edgeinfer models ls` has it.")]


def ls(
    all: Annotated[  # the option's name
        bool, typer.Option("--all", help="Also those of the catalogue that are not installed.")
    ] = False,
    json: Json = False,
) -> None:
    """List the installed models.

    Examples:
      edgeinfer models ls
      edgeinfer models ls --all
    """
    from edgeinfer.cli import terminal
    from edgeinfer.cli.inventory import available, installed, table
    from edgeinfer.store.location import SYSTEM_STORE

    store = _store()
    rows = installed(store) + (available(store) if all else [])
    if json:
        _print_json(rows)
        return
    terminal.write(table(rows))
    if len(rows) == 1:
        terminal.say("hint: edgeinfer pull NAME; the names: edgeinfer models ls --all")
        if store.root != SYSTEM_STORE and (SYSTEM_STORE / "records").is_dir():
            terminal.say(
                f"The system service has its own: EDGEINFER_STORE={SYSTEM_STORE} edgeinfer models ls"
            )


def show(name: Name, json: Json = False) -> None:
    """Show all that is known of a model, installed or not.

    Examples:
      edgeinfer models show qwen3-0.6b
      edgeinfer models show ~/some.gguf
    """
    from edgeinfer.cli import terminal
    from edgeinfer.cli.inventory import described, facts

    found = facts(name, _store())
    if json:
        _print_json(found)
    else:
        terminal.write(described(found))


def rm(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Remove a model, in all its quantizations or in one.

    An imported model is only forgotten: its file is another program's. A daemon that serves the model goes on
    until it is started again.

    Examples:
      edgeinfer models rm qwen3-0.6b
      edgeinfer models rm qwen3-0.6b:Q8_0 --yes
    """
    from edgeinfer.cli import terminal
    from edgeinfer.store.progress import size_text

    store = _store()
    found = _matching(store, name)
    for stored in found:
        imported = stored.origin == "import"
        fate = f"its file stays at {stored.path}" if imported else size_text(stored.size)
        terminal.say(f"{stored.name}:{stored.quant}, {fate}")
    if not (yes or _confirmed("Remove?")):
        raise typer.Exit(1)
    freed = sum(store.remove(stored) for stored in found)
    terminal.say(f"{size_text(freed)} freed")


def import_(
    what: Annotated[
        str | None, typer.Argument(metavar="[PATH|NAME]", help="A GGUF file, or a name of the list.")
    ] = None,
    source: Annotated[
        Source | None,
        typer.Option("--from", help="All that this program has: Hugging Face, Ollama or LM Studio."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call it. Default: made from the file.")] = None,
    json: Json = False,
) -> None:
    """Use models that are on this machine already. They stay where they are, and are not copied.

    Without a path, a name or --from: list what other programs have.

    Examples:
      edgeinfer models import                       what there is
      edgeinfer models import ~/Downloads/some.gguf
      edgeinfer models import --from ollama         all that Ollama has
    """
    from edgeinfer.cli import terminal
    from edgeinfer.cli.inventory import of_stored
    from edgeinfer.store.catalogue import catalogue

    store = _store()
    if what is None and source is None:
        _list_others(store, json=json)
        return
    chosen = _chosen(what, source)
    if name is not None and len(chosen) > 1:
        raise typer.BadParameter(f"there are {len(chosen)} files", param_hint="--name")
    done = [stored for found in chosen if (stored := _add(store, found, name, alone=len(chosen) == 1))]
    if json:
        _print_json([of_stored(stored, catalogue().get(stored.name)) for stored in done])
    else:
        terminal.write("".join(f"{stored.name}:{stored.quant}\n" for stored in done))
    if len(done) < len(chosen):
        raise typer.Exit(1)


def verify(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME[:QUANT]]", help="One model. Default: all.")
    ] = None,
) -> None:
    """Read installed models again and compare them with their checksums: cards and disks wear out.

    Examples:
      edgeinfer models verify
    """
    from edgeinfer.cli import terminal

    store = _store()
    bad = False
    for stored in _matching(store, name) if name else store.recorded():
        title = f"{stored.name}:{stored.quant}"
        problem = _reading(title, stored.size, functools.partial(store.verify, stored))
        bad = bad or problem is not None
        terminal.write(f"{title}: {problem or 'sound'}\n")
        if problem:
            terminal.say(f"hint: edgeinfer models rm {title}, and get it again")
    if bad:
        raise typer.Exit(1)


def prune() -> None:
    """Delete what no model needs: replaced revisions, and downloads that were given up for a day.

    A daemon that still serves a replaced revision should be started again first.

    Examples:
      edgeinfer models prune
    """
    from edgeinfer.cli import terminal
    from edgeinfer.store.progress import size_text

    terminal.say(f"{size_text(_store().prune())} freed")


def _store() -> Store:
    from edgeinfer import settings
    from edgeinfer.store.store import Store

    return Store.of(settings.load().settings)


def _matching(store: Store, name: str) -> list[StoredModel]:
    """What is recorded under a name, servable or not."""
    from edgeinfer.errors import ModelNotFound
    from edgeinfer.store.lookup import BUNDLED_MODEL, recorded_models

    if found := recorded_models(name, store):
        return found
    hint = f"installed: {', '.join(f'{s.name}:{s.quant}' for s in store.recorded()) or 'nothing'}"
    if name.lower() == BUNDLED_MODEL:
        hint = "it is part of edgeinfer"
    raise ModelNotFound(f"{name!r} is not in the store", param="model", hint=hint)


def _confirmed(question: str) -> bool:
    import sys

    from edgeinfer.cli import terminal

    if not sys.stdin.isatty():
        terminal.say("error: there is nobody to ask\nhint: --yes")
        return False
    return typer.confirm(question, err=True)


def _chosen(what: str | None, source: Source | None) -> list[ExternalFile]:
    """What is to be imported."""
    from edgeinfer.errors import ModelNotFound
    from edgeinfer.store.imports import external_file, find_external_files
    from edgeinfer.store.lookup import is_file_reference

    if what is not None and source is None and (is_file_reference(what) or Path(what).expanduser().is_file()):
        return [external_file(Path(what))]
    found = find_external_files(source)
    if what is not None:
        name, _, quant = what.lower().partition(":")
        found = [f for f in found if f.name.lower() == name and quant in ("", (f.quant or "").lower())]
    if not found:
        raise ModelNotFound(
            f"no model {what!r} of another program" if what else f"{source} has no models here",
            param="model",
            hint="edgeinfer models import lists what there is",
        )
    return found


def _list_others(store: Store, *, json: bool) -> None:
    from edgeinfer.cli import terminal
    from edgeinfer.cli.inventory import candidates, candidates_table
    from edgeinfer.store.imports import find_external_files

    rows = candidates(store, find_external_files())
    if json:
        _print_json(rows)
    elif rows:
        terminal.write(candidates_table(rows))
        terminal.say("hint: edgeinfer models import NAME")
    else:
        terminal.say("neither Hugging Face's cache, Ollama nor LM Studio has models here")


def _add(store: Store, found: ExternalFile, name: str | None, *, alone: bool) -> StoredModel | None:
    """The model that was made of it. None where it can't be, if others are still to come."""
    from edgeinfer.cli import terminal
    from edgeinfer.errors import EdgeinferError
    from edgeinfer.store.imports import import_file
    from edgeinfer.store.location import SYSTEM_STORE

    try:
        stored = _reading(str(found.path), found.size, functools.partial(import_file, store, found, name))
    except EdgeinferError as e:
        if alone:
            raise
        terminal.report(e)
        return None
    top = Path(*stored.path.parts[:2])
    if store.root == SYSTEM_STORE and top in (Path("/home"), Path("/root")):
        terminal.say(
            f"The system service cannot read below {top}: put the file elsewhere and import it there."
        )
    return stored


def _reading(title: str, size: int, job: Callable[[Callable[[int], None]], T]) -> T:
    """Do `job`, and show how much of a file it has read; nothing if it need not read it."""
    from edgeinfer.cli.progress import progress

    shown, done = progress(), 0

    def advance(n: int) -> None:
        nonlocal done
        if not done:
            shown.begin(title, size)
        done += n
        shown.update(done)

    try:
        return job(advance)
    finally:
        if done:
            shown.end()


def _print_json(data: object) -> None:
    import msgspec

    from edgeinfer.cli import terminal

    terminal.write(msgspec.json.format(msgspec.json.encode(data)).decode() + "\n")
