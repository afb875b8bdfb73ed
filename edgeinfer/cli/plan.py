"""`edgeinfer plan`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgeinfer.plan import ModelOption
    from edgeinfer.store.store import Store

MAX_COLUMNS = 100


def plan(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this: a name of the catalogue, NAME:QUANT, what is installed, or a GGUF file. "
            "Given more than once: which of them fit together."
        ),
    ] = None,
    quant: Annotated[str | None, typer.Option(help="Only this quantization, such as Q4_K_M.")] = None,
    root: Annotated[
        str, typer.Option(help="Another machine: a directory with a record of its /proc and /sys.")
    ] = "/",
    json: Annotated[bool, typer.Option("--json", help="Print all there is, for a program.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Plan for what does not fit, too.")] = False,
) -> None:
    """Show what this machine is, which model would run on it, how, and why.

    Nothing is changed, and no network is asked. The exit code is 1 if nothing fits, or one of several models
    does not.

    Examples:
      edgeinfer plan                         the best model for this machine
      edgeinfer plan --model qwen3-1.7b      the best quantization of that one
      edgeinfer plan --model ./model.gguf    a file
      edgeinfer plan --model qwen3-1.7b --model qwen3-0.6b    both at once
    """
    from edgeinfer import settings
    from edgeinfer.cli.plan_report import document, lines
    from edgeinfer.cli.plan_several_report import several_document, several_lines
    from edgeinfer.errors import DoesNotFit
    from edgeinfer.hardware import detect
    from edgeinfer.plan import calibration as calibrations
    from edgeinfer.plan import choose
    from edgeinfer.plan.own_memory import without_workers
    from edgeinfer.plan.several import ModelOptions, choose_several
    from edgeinfer.store.store import Store

    here = root == "/"
    # What this machine is configured to is nothing to another.
    given = settings.load({"force": force or None}).settings if here else settings.Settings(force=force)
    store = Store.of(given)
    profile = without_workers(detect(root, store.root)) if here else detect(root)
    calibration = calibrations.load(store.root, profile) if here else None
    if model and len(model) > 1:
        if quant:
            raise typer.BadParameter("with several models, name each as NAME:QUANT", param_hint="--quant")
        wanted = [ModelOptions(*_offers(name, None, store if here else None), given) for name in model]
        choices = dict(zip(model, choose_several(wanted, profile, calibration), strict=True))
        _print(json, several_document(profile, choices), several_lines(profile, choices, _columns()))
        raise typer.Exit(any(isinstance(choice, DoesNotFit) for choice in choices.values()))
    name, quant, offered = _offers(model[0] if model else given.model, quant, store if here else None)
    choice = choose(profile, offered, given, calibration, model=name, quant=quant)
    _print(json, document(profile, choice), lines(profile, choice, _columns()))


def _columns() -> int:
    import shutil
    import sys

    return min(shutil.get_terminal_size().columns, MAX_COLUMNS) if sys.stdout.isatty() else 80


def _print(json: bool, document: dict[str, Any], lines: Iterable[str]) -> None:
    import msgspec

    from edgeinfer.cli import terminal

    if json:
        terminal.write(msgspec.json.format(msgspec.json.encode(document)).decode() + "\n")
    else:
        terminal.write("".join(line + "\n" for line in lines))


def _offers(
    name: str | None, quant: str | None, store: Store | None
) -> tuple[str | None, str | None, list[ModelOption]]:
    """Return the model and quantization that are asked for, and what there is to choose from."""
    from edgeinfer.errors import ModelNotFound
    from edgeinfer.plan import ModelOption
    from edgeinfer.plan.available_options import kind, offers
    from edgeinfer.store.lookup import find_model, is_file_reference

    if not name:
        return None, quant, offers(None, store)
    if not is_file_reference(name):
        plain, _, own_quant = name.partition(":")
        try:
            found = offers(plain, store)
            return found[0].model, quant or own_quant or None, found
        except ModelNotFound:
            if store is None:
                raise
    model = find_model(name, store)
    if model.header is None:  # the fake
        return None, quant, offers(None, store)
    offer = ModelOption(
        model.name, model.quant or kind(model.header), model.header, model.header.size, path=model.path
    )
    return model.name, None, [offer, *offers(None, store)]
