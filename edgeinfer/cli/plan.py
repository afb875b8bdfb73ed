"""`edgeinfer plan`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgeinfer.plan import ModelOption
    from edgeinfer.plan.several import ModelOptions
    from edgeinfer.settings import Settings
    from edgeinfer.store.store import Store


def plan(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Plan for this model: a catalogue name, NAME:QUANT, an installed model or a GGUF file. "
            "Repeat it to see which models fit together."
        ),
    ] = None,
    quant: Annotated[
        str | None, typer.Option(help="Consider only this quantization, such as Q4_K_M.")
    ] = None,
    root: Annotated[
        str, typer.Option(help="Plan for another machine: a directory with a copy of its /proc and /sys.")
    ] = "/",
    json: Annotated[bool, typer.Option("--json", help="Print the whole plan as JSON.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also plan for a model that does not fit.")] = False,
) -> None:
    """Show which model this machine would run, how, and why.

    It changes nothing and uses no network. The exit code is 1 if nothing fits, or if one of several models
    does not fit; --json prints the reason then.

    Examples:
      edgeinfer plan                       the configured model, or the best one
      edgeinfer plan --model qwen3-1.7b    the best quantization of that model
      edgeinfer plan --model ./model.gguf  a file
      edgeinfer plan --model A --model B   two models at the same time
    """
    from edgeinfer import settings
    from edgeinfer.cli import terminal
    from edgeinfer.cli.plan_report import document, lines, refusal_document
    from edgeinfer.cli.plan_several_report import several_document, several_lines
    from edgeinfer.errors import DoesNotFit
    from edgeinfer.hardware import HardwareProfile, Memory, detect
    from edgeinfer.plan import calibration as calibrations
    from edgeinfer.plan import choose
    from edgeinfer.plan.larger_models import larger_models
    from edgeinfer.plan.own_memory import without_workers
    from edgeinfer.plan.several import choose_several
    from edgeinfer.store.store import Store

    here = root == "/"
    if not here and not Path(root).is_dir():
        raise typer.BadParameter(f"there is no directory {root}", param_hint="--root")
    # Another machine does not have this one's configuration.
    loaded = settings.load({"force": force or None}).settings if here else settings.Settings(force=force)
    store = Store.of(loaded)
    profile = without_workers(detect(root, store.root)) if here else detect(root)
    if not here and profile == HardwareProfile([], None, Memory(None, None, None)):
        raise typer.BadParameter(f"{root} has no copy of a machine's /proc and /sys", param_hint="--root")
    calibration = calibrations.load(store.root, profile) if here else None
    if model and len(model) > 1:
        if quant:
            raise typer.BadParameter("with several models, write each as NAME:QUANT", param_hint="--quant")
        models = [_model_options(name, loaded, store if here else None) for name in model]
        choices = dict(zip(model, choose_several(models, profile, calibration), strict=True))
        _print(
            json, several_document(profile, choices), several_lines(profile, choices, terminal.report_width())
        )
        raise typer.Exit(any(isinstance(choice, DoesNotFit) for choice in choices.values()))
    own = loaded.for_model(model[0]) if model else loaded.default_model()[1]
    name, quant, candidates = _offers(own.model, quant, store if here else None)
    try:
        choice = choose(profile, candidates, own, calibration, model=name, quant=quant)
    except DoesNotFit as e:
        if not json:
            raise
        _print(json, refusal_document(profile, e), ())
        raise typer.Exit(1) from e
    # Whoever names a model has chosen.
    more = [] if name else larger_models(choice, profile, own, calibration, store if here else None)
    _print(json, document(profile, choice, more), lines(profile, choice, terminal.report_width(), more))


def _model_options(name: str, settings: Settings, store: Store | None) -> ModelOptions:
    """Return the options for one of several models, with the settings of its table in the configuration file."""
    from edgeinfer.plan.several import ModelOptions

    own = settings.for_model(name)
    return ModelOptions(*_offers(own.model, None, store), own)


def _print(json: bool, document: dict[str, Any], lines: Iterable[str]) -> None:
    from edgeinfer.cli import terminal

    if json:
        terminal.write_json(document)
    else:
        terminal.write("".join(line + "\n" for line in lines))


def _offers(
    name: str | None, quant: str | None, store: Store | None
) -> tuple[str | None, str | None, list[ModelOption]]:
    """Return the model and quantization to plan for, and the options to choose from."""
    from edgeinfer.errors import ModelNotFound
    from edgeinfer.plan import ModelOption
    from edgeinfer.plan.available_options import folder_option, model_options, quant_name
    from edgeinfer.store.lookup import find_model, is_file_reference
    from edgeinfer.store.model_name import split_name

    if not name:
        return None, quant, model_options(None, store)
    if not is_file_reference(name):
        plain, own_quant = split_name(name)
        try:
            candidates = model_options(plain, store)
            return candidates[0].model, quant or own_quant, candidates
        except ModelNotFound:
            if store is None:
                raise
    model = find_model(name, store)
    if model.folder is not None:
        return model.name, None, [folder_option(model.name, Path(model.path), model.quant)]
    if model.header is None:  # the fake
        return None, quant, model_options(None, store)
    offer = ModelOption(
        model.name, model.quant or quant_name(model.header), model.header, model.header.size, path=model.path
    )
    return model.name, None, [offer, *model_options(None, store)]
