"""`edgeinfer models`: the installed models, and those that can be installed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from edgeinfer.cli.common_options import Json
from edgeinfer.cli.model_import import Source
from edgeinfer.cli.option_values import choice

if TYPE_CHECKING:
    from edgeinfer.store.store import Store
    from edgeinfer.store.stored_model import StoredModel

Name = Annotated[
    str, typer.Argument(metavar="NAME[:QUANT]", help="Name of the model, as in `edgeinfer models ls`.")
]


def ls(
    all: Annotated[  # the option's name
        bool, typer.Option("--all", help="Also list the models in the catalogue that are not installed.")
    ] = False,
    json: Json = False,
) -> None:
    """List the installed models.

    Examples:
      edgeinfer models ls
      edgeinfer models ls --all
    """
    from edgeinfer.cli import terminal
    from edgeinfer.cli.model_listing import available_rows, installed_rows, models_table
    from edgeinfer.store.location import SYSTEM_STORE

    store = _store()
    rows = installed_rows(store) + (available_rows(store) if all else [])
    if json:
        terminal.write_json(rows)
        return
    terminal.write_table(models_table(rows))
    if len(rows) == 1:
        terminal.say("hint: edgeinfer pull NAME; for the names: edgeinfer models ls --all")
        if store.root != SYSTEM_STORE and (SYSTEM_STORE / "records").is_dir():
            terminal.say(
                f"The system service has its own models. To list those: EDGEINFER_STORE={SYSTEM_STORE} edgeinfer models ls"
            )


def show(name: Name, json: Json = False) -> None:
    """Show everything known about a model, installed or not.

    Examples:
      edgeinfer models show qwen3-0.6b
      edgeinfer models show ~/some.gguf
    """
    from edgeinfer.cli import terminal
    from edgeinfer.cli.model_listing import details_text, model_details

    details = model_details(name, _store())
    if json:
        terminal.write_json(details)
    else:
        terminal.write(details_text(details))


def rm(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Remove a model, in all its quantizations or in one.

    The file of an imported model stays, as it belongs to another program. A daemon that serves the model
    keeps serving it until it is restarted.

    Examples:
      edgeinfer models rm qwen3-0.6b
      edgeinfer models rm qwen3-0.6b:Q8_0 --yes
    """
    from edgeinfer.cli import terminal
    from edgeinfer.store.progress import size_text

    store = _store()
    matching = _matching(store, name)
    for stored in matching:
        imported = stored.origin == "import"
        outcome = f"its file stays at {stored.path}" if imported else size_text(stored.size)
        terminal.say(f"{stored.name}:{stored.quant}, {outcome}")
    if not (yes or _confirmed("Remove?")):
        raise typer.Exit(1)
    freed = sum(store.remove(stored) for stored in matching)
    terminal.say(f"{size_text(freed)} freed")


def import_(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[PATH|NAME]",
            help="A GGUF file, a folder with safetensors, another store's folder, or a name that this command lists.",
        ),
    ] = None,
    source: Annotated[
        Source | None,
        typer.Option(
            "--from",
            help="Import all models of this program: hf (Hugging Face), ollama or lmstudio (LM Studio).",
            **choice(get_args(Source), other_names={"huggingface": "hf", "lm-studio": "lmstudio"}),
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name for the model. Default: derived from the file.")
    ] = None,
    json: Json = False,
) -> None:
    """Use models that are already on this machine.

    Their files are neither moved nor copied, unless the path is the folder of another store, such as a
    bundle's: its models are copied and verified. Without a path, a name or --from, it lists the models
    of other programs.

    Examples:
      edgeinfer models import                   list what can be imported
      edgeinfer models import ~/Downloads/some.gguf
      edgeinfer models import /models/My-Model  a folder with safetensors
      edgeinfer models import --from ollama     import all models of Ollama
      edgeinfer models import /media/usb/store  copy all of another store
    """
    from edgeinfer.cli import terminal
    from edgeinfer.cli.model_import import add_model, chosen_models, copy_store, list_importable
    from edgeinfer.cli.model_listing import stored_row
    from edgeinfer.store.catalogue import catalogue
    from edgeinfer.store.model_copy import is_store
    from edgeinfer.user_folders import expanded_path

    store = _store()
    if what is None and source is None:
        list_importable(store, json=json)
        return
    failed = False
    if what is not None and source is None and is_store(folder := expanded_path(what)):
        if name is not None:
            raise typer.BadParameter("the models of a store keep their names", param_hint="--name")
        imported = copy_store(folder, store)
    else:
        chosen = chosen_models(what, source)
        if name is not None and len(chosen) > 1:
            raise typer.BadParameter(f"it names one model, and there are {len(chosen)}", param_hint="--name")
        imported = [s for model in chosen if (s := add_model(store, model, name, alone=len(chosen) == 1))]
        failed = len(imported) < len(chosen)
    if json:
        terminal.write_json([stored_row(stored, catalogue().get(stored.name)) for stored in imported])
    else:
        terminal.write("".join(f"{stored.name}:{stored.quant}\n" for stored in imported))
    if failed:
        raise typer.Exit(1)


def verify(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME[:QUANT]]", help="Check one model. Default: all.")
    ] = None,
) -> None:
    """Check installed models against their checksums.

    Cards and disks wear out: this reads every file and finds what has changed.

    Examples:
      edgeinfer models verify
    """
    from edgeinfer.cli import terminal
    from edgeinfer.cli.progress import with_progress

    store = _store()
    damaged = False
    for stored in _matching(store, name) if name else store.recorded():
        title = f"{stored.name}:{stored.quant}"
        problem = with_progress(title, stored.size, functools.partial(store.verify, stored))
        damaged = damaged or problem is not None
        terminal.write(f"{title}: {problem or 'ok'}\n")
        if problem:
            terminal.say(f"hint: edgeinfer models rm {title}, then pull it again")
    if damaged:
        raise typer.Exit(1)


def prune() -> None:
    """Delete files that no model needs.

    These are replaced revisions, and downloads abandoned for a day. Restart a daemon that still serves a
    replaced revision first.

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
    """Return the models recorded under a name, also those that cannot be served."""
    from edgeinfer.errors import ModelNotFound
    from edgeinfer.store.lookup import BUNDLED_MODEL, recorded_models

    if matching := recorded_models(name, store):
        return matching
    hint = f"installed: {', '.join(f'{s.name}:{s.quant}' for s in store.recorded()) or 'nothing'}"
    if name.lower() == BUNDLED_MODEL:
        hint = "the bundled model is part of edgeinfer"
    raise ModelNotFound(f"{name!r} is not installed", param="model", hint=hint)


def _confirmed(question: str) -> bool:
    import sys

    from edgeinfer.cli import terminal

    if not sys.stdin.isatty():
        terminal.say("error: cannot ask for confirmation without a terminal\nhint: --yes")
        return False
    return typer.confirm(question, err=True)
