"""`edgeinfer plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgeinfer.plan import Offer
    from edgeinfer.store.store import Store

WIDEST = 100


def plan(
    model: Annotated[
        str | None,
        typer.Option(
            help="Only this: a name of the catalogue, NAME:QUANT, what is installed, or a GGUF file."
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

    Nothing is changed, and no network is asked. The exit code is 1 if nothing fits.

    Examples:
      edgeinfer plan                         the best model for this machine
      edgeinfer plan --model qwen3-1.7b      the best quantization of that one
      edgeinfer plan --model ./model.gguf    a file
    """
    import shutil
    import sys

    import msgspec

    from edgeinfer import settings
    from edgeinfer.cli import terminal
    from edgeinfer.cli.plan_report import document, lines
    from edgeinfer.hardware import detect
    from edgeinfer.plan import calibration as calibrations
    from edgeinfer.plan import choose
    from edgeinfer.plan.own_memory import without_workers
    from edgeinfer.store.store import Store

    here = root == "/"
    # What this machine is configured to is nothing to another.
    given = settings.load({"force": force or None}).settings if here else settings.Settings(force=force)
    store = Store.of(given)
    profile = without_workers(detect(root, store.root)) if here else detect(root)
    calibration = calibrations.load(store.root, profile) if here else None
    name, quant, offered = _offers(model or given.model, quant, store if here else None)
    choice = choose(profile, offered, given, calibration, model=name, quant=quant)
    if json:
        terminal.write(msgspec.json.format(msgspec.json.encode(document(profile, choice))).decode() + "\n")
        return
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 80
    terminal.write("".join(line + "\n" for line in lines(profile, choice, min(columns, WIDEST))))


def _offers(
    name: str | None, quant: str | None, store: Store | None
) -> tuple[str | None, str | None, list[Offer]]:
    """The model and quantization that are asked for, and what is to choose from."""
    from edgeinfer.errors import ModelNotFound
    from edgeinfer.plan import Offer
    from edgeinfer.plan.offers import kind, offers
    from edgeinfer.store.lookup import find, is_path

    if not name:
        return None, quant, offers(None, store)
    if not is_path(name):
        plain, _, own_quant = name.partition(":")
        try:
            found = offers(plain, store)
            return found[0].model, quant or own_quant or None, found
        except ModelNotFound:
            if store is None:
                raise
    model = find(name, store)
    if model.header is None:  # the fake
        return None, quant, offers(None, store)
    offer = Offer(
        model.name, model.quant or kind(model.header), model.header, model.header.size, path=model.path
    )
    return model.name, None, [offer, *offers(None, store)]
