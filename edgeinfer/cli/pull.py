"""`edgeinfer pull`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeinfer.hub.endpoint import Endpoint
    from edgeinfer.hub.hub_index import RemoteFile
    from edgeinfer.hub.reference import ModelReference
    from edgeinfer.settings import Settings
    from edgeinfer.store.progress import Progress
    from edgeinfer.store.pull_events import PullEvent
    from edgeinfer.store.store import Store
    from edgeinfer.store.stored_model import StoredModel


def pull(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL[:QUANT]", help="A catalogue name or a repository on the hub.", show_default=False
        ),
    ],
    quant: Annotated[
        str | None, typer.Option(help="Quantization, such as Q4_K_M. Default: the best for this machine.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Commit, branch or tag of the repository.")] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Download it again if the hub has a newer version.")
    ] = False,
    requantize: Annotated[
        bool, typer.Option("--requantize", help="Quantize from Q8_0 if the hub has nothing better.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Use no network: only check whether the model is installed.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the model's record as JSON.")] = False,
    events: Annotated[bool, typer.Option("--events", hidden=True)] = False,
) -> None:
    """Download a model from the hub, and print its path.

    MODEL is a name from the catalogue (edgeinfer models ls --all) or any GGUF repository on the hub. An
    interrupted download is resumed, and an installed model is not downloaded again. A quantization that is
    not published is made here from F16, if there is enough space.

    Examples:
      edgeinfer pull deepseek-r1
      edgeinfer pull qwen3-0.6b --quant Q8_0
      edgeinfer pull hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M
      HF_ENDPOINT=http://board:11436 edgeinfer pull qwen3-0.6b   from a mirror
    """
    from edgeinfer.cli import terminal
    from edgeinfer.cli.progress import make_progress

    if events:
        _pull_for_program(model, quant, revision, update=update, requantize=requantize, offline=offline)
        return
    try:
        stored = _pull(
            model_reference(model, quant, revision),
            make_progress(),
            offline=offline,
            update=update,
            requantize=requantize,
        )
    except KeyboardInterrupt:
        terminal.say("stopped; run the same command to resume")
        raise
    if json:
        terminal.write_json(stored)
    else:
        terminal.write(f"{stored.path}\n")
        for line in _next_steps(stored):
            terminal.say(line)


def _pull_for_program(
    model: str, quant: str | None, revision: str | None, *, update: bool, requantize: bool, offline: bool
) -> None:
    """Pull, and write what happens as lines of JSON: the daemon runs this command in a process of its own."""
    from edgeinfer.errors import EdgeinferError
    from edgeinfer.store.pull_events import EventProgress, PullEvent

    try:
        reference, progress = model_reference(model, quant, revision), EventProgress(_write_event)

        def listed(files: list[RemoteFile]) -> None:
            progress.hashes = {file.file: file.sha256 for file in files if file.sha256}

        stored = _pull(reference, progress, listed, offline=offline, update=update, requantize=requantize)
    except EdgeinferError as e:
        _write_event(PullEvent(error=e.data()))
        raise typer.Exit(1) from None
    _write_event(PullEvent(model=f"{stored.name}:{stored.quant}"))


def _write_event(event: PullEvent) -> None:
    import msgspec

    from edgeinfer.cli import terminal

    terminal.write(msgspec.json.encode(event).decode() + "\n")


def model_reference(model: str, quant: str | None, revision: str | None) -> ModelReference:
    import msgspec

    from edgeinfer.errors import InvalidRequest
    from edgeinfer.hub.reference import parse_reference
    from edgeinfer.store.names import name_problem, revision_problem

    reference = parse_reference(model)
    if quant is not None:
        if reference.quant not in (None, quant.upper()) or name_problem(quant):
            raise InvalidRequest(f"--quant {quant} contradicts {model}", param="quant")
        reference = msgspec.structs.replace(reference, quant=quant.upper())
    if revision is not None:
        if problem := revision_problem(revision):
            raise InvalidRequest(f"--revision {revision!r}: {problem}", param="revision")
        reference = msgspec.structs.replace(reference, revision=revision)
    return reference


def _pull(
    wanted: ModelReference,
    progress: Progress,
    listed: Callable[[list[RemoteFile]], None] = lambda _: None,
    *,
    offline: bool,
    update: bool,
    requantize: bool,
) -> StoredModel:
    """Return the model, once it is installed. `listed` is told of the files that it may be."""
    from edgeinfer import settings
    from edgeinfer.errors import EdgeinferError
    from edgeinfer.hardware.memory import memory
    from edgeinfer.hub.endpoint import hub_endpoint
    from edgeinfer.store.store import Store

    loaded = settings.load().settings
    store, hub = Store.of(loaded), hub_endpoint(offline=offline)
    # Not before hub_endpoint has looked at the variables with which the hub's client cannot even be imported.
    from edgeinfer.hub.ensure_installed import available_files, ensure_installed, installed_model

    present = installed_model(wanted, store)
    if hub.offline and present:
        return present
    try:
        offered = available_files(wanted, hub=hub)
        listed(offered)
    except EdgeinferError as e:
        if present is None or update:
            _choose_size(wanted, loaded, store)
            raise
        progress.message(f"the model is installed; cannot check for a newer version: {e.message}")
        return present
    # An installed model stays the choice: while it is served, another would seem to fit better.
    current = present if present and present.name == offered[0].name else None
    quant = wanted.quant or (current.quant if current else _best_quant(offered, loaded, store, hub, progress))
    before = store.find(offered[0].name, quant)
    stored = ensure_installed(
        offered,
        quant,
        store,
        progress,
        hub=hub,
        update=update,
        requantize=requantize,
        available=memory(Path("/")).available,
    )
    if before == stored:
        progress.message(f"{stored.name}:{stored.quant} is already installed")
    return stored


def _choose_size(wanted: ModelReference, loaded: Settings, store: Store) -> None:
    """Say which model of a family suits this machine, if that is what the user has named."""
    from edgeinfer.errors import ModelNotFound
    from edgeinfer.hardware import detect
    from edgeinfer.plan.calibration import load
    from edgeinfer.plan.model_size import largest_that_suits
    from edgeinfer.plan.own_memory import without_workers
    from edgeinfer.store.catalogue import catalogue, family

    specs = catalogue()
    members = family(wanted.name, specs) if wanted.name and wanted.name.lower() not in specs else []
    if len(members) < 2:
        return
    profile = without_workers(detect(models=store.root))
    best = largest_that_suits(members, profile, loaded, load(store.root, profile))
    raise ModelNotFound(
        f"the names of several models begin with {wanted.name}: {', '.join(members)}",
        param="model",
        hint=f"the one for this machine: edgeinfer pull {best}" if best else None,
    )


def _best_quant(
    offered: list[RemoteFile], loaded: Settings, store: Store, hub: Endpoint, progress: Progress
) -> str:
    """Return the best quantization for this machine, of those that are published or installed."""
    from edgeinfer.errors import DoesNotFit
    from edgeinfer.hardware import detect
    from edgeinfer.install.published_options import published_options, quant_names
    from edgeinfer.plan import choose
    from edgeinfer.plan.calibration import load
    from edgeinfer.plan.own_memory import without_workers

    name = offered[0].name
    if len({one.quant for one in offered}) == 1:
        return offered[0].quant
    profile = without_workers(detect(models=store.root))
    try:
        choice = choose(
            profile, published_options(offered, store, hub), loaded, load(store.root, profile), model=name
        )
    except DoesNotFit as e:
        hint = f"to download one anyway: edgeinfer pull {name}:QUANT, one of {quant_names(offered)}"
        raise DoesNotFit(e.message, param=e.param, hint=hint) from e
    for reason in choice.reasons:
        progress.message(reason)
    return choice.option.quant


def _next_steps(stored: StoredModel) -> Iterator[str]:
    """Yield how to use the model: by the service if there is one, else by a daemon in this terminal."""
    from edgeinfer.cli.pasteable import as_root, pasteable
    from edgeinfer.service.discovery import default_scope, installed_manager

    label = f"{stored.name}:{stored.quant}"
    manager = installed_manager()
    if not any(path.exists() for path in manager.paths()):
        yield pasteable(f"next: edgeinfer serve --model {label}")
        return
    install = f"edgeinfer install --model {label}"
    if manager.scope == "user":
        yield pasteable(f"next: {install}, so that the service uses it")
        return
    if default_scope() == "user":
        yield "note: the service of this machine has models of its own, and does not see this one"
    yield f"next: {pasteable(as_root(install))}, so that the service uses it"
