"""`edgeinfer install`: a model chosen, downloaded and running as a service."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeinfer.errors import EdgeinferError
    from edgeinfer.hardware import HardwareProfile
    from edgeinfer.hub.endpoint import Endpoint
    from edgeinfer.install.selection import Selection, Selector
    from edgeinfer.plan import Plan
    from edgeinfer.plan.calibration import Calibration
    from edgeinfer.service.file_transaction import ServiceFile
    from edgeinfer.service.manager import ServiceManager
    from edgeinfer.service.spec import ServiceSpec
    from edgeinfer.settings import Settings
    from edgeinfer.store.store import Store

WAYS_ON = (
    "run it again with a network; or get the model from another machine's mirror: "
    "HF_ENDPOINT=http://BOARD:11436 edgeinfer install; or from a file: edgeinfer install --model FILE.gguf; "
    "or take the one that needs no download: edgeinfer install --model edgeinfer-nano"
)
QUESTION = "What are you?"
MAX_ANSWER_TOKENS = 100
MAX_ANSWER_SECONDS = 20.0


def install(
    auto_quant: Annotated[
        bool,
        typer.Option(
            "--auto-quant", help="Choose model and quantization for this machine (the default at first)."
        ),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL[:QUANT]",
            help="A model as for `edgeinfer pull`, an installed one, or a GGUF file. "
            "Default: the configured one, else DeepSeek-R1 1.5B, or one that fits.",
        ),
    ] = None,
    quant: Annotated[str | None, typer.Option(help="Quantization, such as Q8_0.")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit, branch or tag of the repository.")] = None,
    code: Annotated[
        bool,
        typer.Option("--code", help="Install a model that completes code too, if one fits beside the other."),
    ] = False,
    user: Annotated[
        bool | None,
        typer.Option(
            "--user/--system",
            help="Install for this user, without root, or for the whole machine.",
            show_default=False,
        ),
    ] = None,
    start: Annotated[
        bool, typer.Option("--start/--no-start", help="Start the service and ask it a question.")
    ] = True,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate/--no-calibrate", help="Measure the machine first if it is new; takes half a minute."
        ),
    ] = True,
    offline: Annotated[
        bool, typer.Option("--offline", help="Use only what is already on this machine.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Also install a model that does not fit.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the plan, every file and every command, and change nothing."),
    ] = False,
) -> None:
    """Choose a model, download it, and run it as a service.

    Run it again to upgrade the service, which keeps its model, or to change that with --model or
    --auto-quant. A failed step rolls back to the previous installation.

    Examples:
      edgeinfer install --auto-quant             what suits this machine
      edgeinfer install --model qwen3-0.6b       another model
      edgeinfer install --model qwen3-0.6b:Q8_0  in a quantization of your choice
      edgeinfer install --auto-quant --code      and one that completes code
      edgeinfer install --auto-quant --dry-run   see what it would do

    From another board's mirror: HF_ENDPOINT=http://board:11436 edgeinfer install
    """
    from contextlib import suppress

    from msgspec.structs import replace

    from edgeinfer import settings
    from edgeinfer.cli import terminal
    from edgeinfer.cli.service import select_manager
    from edgeinfer.errors import InvalidRequest, StoreError
    from edgeinfer.hardware import detect
    from edgeinfer.hub.endpoint import hub_endpoint
    from edgeinfer.install.coder import completes_code
    from edgeinfer.install.selection import Selector
    from edgeinfer.plan.calibration import load as load_calibration
    from edgeinfer.plan.own_memory import ModelMemory, without_workers
    from edgeinfer.service.install import install as put_in_place
    from edgeinfer.store.store import Store

    if auto_quant and quant:
        raise InvalidRequest("--auto-quant and --quant cannot be used together", param="quant")
    manager = select_manager(user, installed=False)
    loaded = settings.load()
    values = {
        key: getattr(loaded.settings, key)
        for key, source in loaded.sources.items()
        if source.startswith("env")
    }
    current = replace(loaded.settings, force=force)
    if model is None and not (auto_quant or quant or revision) and loaded.settings.model:
        model = loaded.settings.model
        terminal.say(f"keeping the configured model, {model}; --auto-quant chooses anew")
    store, hub = Store.of(current), hub_endpoint(offline=offline)
    profile = without_workers(detect(models=store.root))
    calibration = load_calibration(store.root, profile)

    def choose_with(known: Calibration | None, note: Callable[[str], None] = terminal.say) -> Selection:
        selector = Selector(profile, current, known, store, hub, note=note)
        return _select(selector, model, quant, revision)

    if calibration is None and calibrate and not dry_run:
        # Before half a minute of measuring: can the model be had at all?
        _check_reachable(choose_with(None, lambda _: None), profile)
        calibration = _measured(store, profile)
    selection = choose_with(calibration)
    _show(selection, profile)
    values["model"] = selection.label
    beside = [ModelMemory(selection.choice.plan.memory)]
    wants_coder = code and not completes_code(selection.choice.option.model)
    coder = (
        _coder(Selector(profile, current, calibration, store, hub, beside=beside)) if wants_coder else None
    )
    if dry_run:
        _show_download(selection)
        if coder:
            _show_download(coder)
        _show_changes(manager, selection, values, start=start)
        return
    for chosen in (selection, coder):
        if chosen and chosen.problem:
            raise _with_ways_on(chosen.problem)
    _ensure_installed(selection, store, hub)
    if coder:
        _ensure_installed(coder, store, hub)
    config, service = _draft(manager, values)
    put_in_place(manager, service, start=start, beside=[config])
    if start:  # nothing serves the replaced files any more
        with suppress(StoreError):
            store.prune()
    _report(manager, service, start=start)


def _select(selector: Selector, model: str | None, quant: str | None, revision: str | None) -> Selection:
    """Choose the model that is named, in any of the ways that other commands take, else the machine's own."""
    from edgeinfer.cli.pull import model_reference
    from edgeinfer.errors import InvalidRequest
    from edgeinfer.hub.reference import ModelReference
    from edgeinfer.install.selection import unknown_file
    from edgeinfer.user_folders import expanded_path

    if model is None:
        if revision:
            raise InvalidRequest("--revision needs a --model", param="revision")
        return selector.select(ModelReference(quant=quant.upper() if quant else None))
    path = expanded_path(model)
    if path.is_file():
        if quant or revision:
            raise InvalidRequest("a file has its quantization and no revision", param="model")
        return selector.select_file(path)
    if model.startswith(("/", ".", "~")):
        raise unknown_file(model)
    return selector.select(model_reference(model, quant, revision))


def _check_reachable(selection: Selection, profile: HardwareProfile) -> None:
    """Show the plan and raise the reason if the model cannot be downloaded now."""
    if selection.problem:
        _show(selection, profile)
        raise _with_ways_on(selection.problem)


def _with_ways_on(error: EdgeinferError) -> EdgeinferError:
    """Add ways to get a model without the hub."""
    error.hint = WAYS_ON
    return error


def _measured(store: Store, profile: HardwareProfile) -> Calibration | None:
    """Return the calibration of this machine, measured now; None if that fails."""
    import asyncio

    from edgeinfer.bench.calibrate import calibrate
    from edgeinfer.cli import terminal
    from edgeinfer.errors import EdgeinferError
    from edgeinfer.plan.calibration import save

    terminal.say("measuring this machine …")
    try:
        calibration = asyncio.run(calibrate(profile, terminal.show))
        if calibration.disturbed:
            terminal.say(f"the measurement is not used: {calibration.disturbed}")
            terminal.say("later, when the machine is quiet: edgeinfer bench --calibrate")
            return None
        save(store.root, calibration)
    except (EdgeinferError, OSError) as e:  # the plan can do without
        terminal.say(f"the machine cannot be measured: {e}")
        return None
    return calibration


def _show(selection: Selection, profile: HardwareProfile) -> None:
    """Print the machine, the chosen model and the reasons."""
    from edgeinfer.cli import terminal
    from edgeinfer.hardware import describe
    from edgeinfer.plan.machine_notes import machine_notes

    for label, text in describe(profile):
        terminal.say(f"{label:<10}{text}")
    for note in machine_notes(profile):
        terminal.say(f"{'note':<10}{note}")
    choice = selection.choice
    speed = f", about {choice.plan.speed.decode:.0f} tok/s" if choice.plan.speed.decode else ""
    terminal.say(f"{'model':<10}{selection.label}, {choice.option.size / 1e6:.0f} MB{speed}")
    for reason in (*choice.reasons, *choice.plan.reasons):
        terminal.say(f"{'':<10}- {reason}")


def _ensure_installed(selection: Selection, store: Store, hub: Endpoint) -> None:
    """Download the model, unless it comes with edgeinfer or is installed."""
    from pathlib import Path

    from edgeinfer.cli.progress import make_progress
    from edgeinfer.hardware.memory import memory
    from edgeinfer.hub.ensure_installed import ensure_installed

    if selection.published:
        quant, available = selection.choice.option.quant, memory(Path("/")).available
        ensure_installed(
            selection.published, quant, store, make_progress(), hub=hub, update=True, available=available
        )


def _draft(
    manager: ServiceManager, values: dict[str, Any], plan: Plan | None = None
) -> tuple[ServiceFile, ServiceSpec]:
    """Return the new configuration file and the service it describes.

    `plan` is that of a model that is not installed yet.
    """
    import tempfile
    from pathlib import Path

    from msgspec.structs import replace

    from edgeinfer.cli.service import service_spec
    from edgeinfer.install.config_file import updated
    from edgeinfer.service.file_transaction import ServiceFile
    from edgeinfer.settings import SYSTEM_CONFIG, user_config

    path = SYSTEM_CONFIG if manager.scope == "system" else user_config()
    exists = path.is_file()
    text = updated(path.read_text(encoding="utf-8-sig") if exists else "", values)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "config.toml"
        draft.write_text(text)
        service = service_spec(manager, draft, plan)
    shadowed = path != SYSTEM_CONFIG and SYSTEM_CONFIG.is_file()  # that one would be read instead
    mode = path.stat().st_mode & 0o777 if exists else 0o644
    return ServiceFile(path, text, mode), replace(service, config=path if shadowed else None)


def _coder(selector: Selector) -> Selection | None:
    """Choose a model that completes code, and say which; None if none fits."""
    from edgeinfer.cli import terminal
    from edgeinfer.errors import DoesNotFit
    from edgeinfer.install.coder import select_coder

    try:
        coder = select_coder(selector)
    except DoesNotFit as e:
        terminal.say(f"{'code':<10}no model for code fits beside it: {e.message}")
        return None
    terminal.say(
        f"{'code':<10}{coder.label}, {coder.choice.option.size / 1e6:.0f} MB, loaded when it is asked for"
    )
    return coder


def _show_download(selection: Selection) -> None:
    """Print what would be downloaded, in the form of a script."""
    from edgeinfer.cli import terminal

    if selection.problem:
        terminal.say(f"warning: {selection.problem.message}")
    offer, file = selection.choice.option, selection.file
    if not offer.bundled and offer.path is None:
        source = f" {file.file} from {file.repo} at {file.revision[:12]}" if file else ""
        terminal.write(
            f"# download{source}: {offer.size / 1e6:.0f} MB\n$ edgeinfer pull {_pull_name(selection)}\n\n"
        )


def _show_changes(
    manager: ServiceManager,
    selection: Selection,
    values: dict[str, Any],
    *,
    start: bool,
) -> None:
    """Print what would be written and run, in the form of a script."""
    from edgeinfer.cli import terminal
    from edgeinfer.cli.service import proposal_lines
    from edgeinfer.service.install import propose

    config, service = _draft(manager, values, selection.choice.plan)
    proposal = propose(manager, service, start=start, beside=[config])
    terminal.write("".join(f"{line}\n" for line in proposal_lines(proposal)))


def _pull_name(selection: Selection) -> str:
    """Return the name by which `edgeinfer pull` knows the model, before it is installed."""
    from edgeinfer.store.catalogue import catalogue

    if selection.file and selection.choice.option.model not in catalogue():
        return f"{selection.file.repo}:{selection.choice.option.quant}"
    return selection.label


def _report(manager: ServiceManager, service: ServiceSpec, *, start: bool) -> None:
    """Ask the service a question, and say how to use it."""
    from edgeinfer.cli import terminal
    from edgeinfer.cli.pasteable import as_root, pasteable
    from edgeinfer.cli.service import say_service
    from edgeinfer.cli.service_report import address_lines

    if start:
        ask(service.settings)
    terminal.say()
    say_service(manager, service)
    if not start:
        command = "edgeinfer service start"
        terminal.say(f"to start it: {pasteable(as_root(command) if manager.scope == 'system' else command)}")
        return
    for line in address_lines(service.settings):
        terminal.say(line)


def ask(settings: Settings) -> None:
    """Show that it answers. A long or slow answer is cut: its beginning is enough."""
    import time

    from edgeinfer.cli import terminal
    from edgeinfer.cli.chat_session import AnswerPrinter
    from edgeinfer.client.http import connect, target_of
    from edgeinfer.client.stream import AnswerStats, stream
    from edgeinfer.errors import InvalidRequest, Unauthorized

    target = target_of(settings, os.environ.get("EDGEINFER_API_KEY"))
    body = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": MAX_ANSWER_TOKENS}
    printer, stats = AnswerPrinter(), AnswerStats()
    deadline = time.monotonic() + MAX_ANSWER_SECONDS
    terminal.say(f"> {QUESTION}")
    try:
        with connect(target) as client:
            for chunk in stream(client, target, body, stats):
                printer.add(chunk)
                if time.monotonic() > deadline:
                    break
        printer.end()
        if stats.finish_reason != "stop":
            terminal.say("(and so on)")
        terminal.show(stats.line())
    except InvalidRequest as e:
        if e.param != "model":
            raise
        terminal.say(f"({e.message})")  # it makes embeddings, or scores documents
    except Unauthorized:
        terminal.say("(it answers only requests with an API key)")
    except KeyboardInterrupt:
        printer.end()
        terminal.say("(stopped)")
