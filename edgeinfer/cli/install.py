"""`edgeinfer install`: from a bare machine to a service that answers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgeinfer.hardware import HardwareProfile
    from edgeinfer.hub.endpoint import Endpoint
    from edgeinfer.install.selection import Selection
    from edgeinfer.plan import Plan
    from edgeinfer.plan.calibration import Calibration
    from edgeinfer.service.file_transaction import ServiceFile
    from edgeinfer.service.manager import ServiceManager
    from edgeinfer.service.spec import ServiceSpec
    from edgeinfer.settings import Settings
    from edgeinfer.store.store import Store

QUESTION = "What are you?"


def install(
    auto_quant: Annotated[
        bool,
        typer.Option("--auto-quant", help="Take the quantization that suits this machine (the default)."),
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="A model of the catalogue. Default: DeepSeek-R1 1.5B, or what fits.")
    ] = None,
    quant: Annotated[str | None, typer.Option(help="Quantization, such as Q8_0.")] = None,
    user: Annotated[
        bool | None,
        typer.Option(
            "--user/--system", help="For this user, without root; or for the machine.", show_default=False
        ),
    ] = None,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start it, and ask it something.")] = True,
    calibrate: Annotated[
        bool, typer.Option("--calibrate/--no-calibrate", help="Measure a new machine first, half a minute.")
    ] = True,
    offline: Annotated[bool, typer.Option("--offline", help="Use no network: only what is here.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Install what does not fit, too.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan, every file and every command; change nothing.")
    ] = False,
) -> None:
    """Choose a model for this machine, fetch it, and run it as a service.

    Run it again to change the model or to bring the service up to date. If a step fails, what was there
    before goes on working.

    Examples:
      edgeinfer install --auto-quant               what suits this machine
      edgeinfer install --model qwen3-0.6b         another model
      edgeinfer install --auto-quant --dry-run     see what it would do
      HF_ENDPOINT=http://board:11436 edgeinfer install --auto-quant    from another board's mirror
    """
    from contextlib import suppress

    from msgspec.structs import replace

    from edgeinfer import settings
    from edgeinfer.cli import terminal
    from edgeinfer.cli.service import chosen
    from edgeinfer.errors import InvalidRequest, StoreError
    from edgeinfer.hardware import detect
    from edgeinfer.hub.endpoint import hub_endpoint
    from edgeinfer.install.selection import select
    from edgeinfer.plan.own_memory import without_workers
    from edgeinfer.service.install import install as put_in_place
    from edgeinfer.store.store import Store

    if auto_quant and quant:
        raise InvalidRequest("--auto-quant and --quant contradict each other", param="quant")
    manager = chosen(user, installed=False)
    found = settings.load()
    values = {
        key: getattr(found.settings, key) for key, source in found.sources.items() if source.startswith("env")
    }
    loaded = replace(found.settings, force=force)
    store, hub = Store.of(loaded), hub_endpoint(offline=offline)
    profile = without_workers(detect(models=store.root))
    measured = _calibration(store, profile, measure=calibrate and not dry_run)
    selection = select(profile, loaded, measured, store, hub, model=model, quant=quant, note=terminal.say)
    _show(selection, profile)
    values["model"] = selection.label
    if dry_run:
        _show_changes(manager, selection, values, start=start)
        return
    _obtain(selection, store, hub)
    config, service = _drafted(manager, values)
    put_in_place(manager, service, start=start, beside=[config])
    if start:  # nothing serves what was replaced any more
        with suppress(StoreError):
            store.prune()
    _report(service.settings, start=start)


def _calibration(store: Store, profile: HardwareProfile, *, measure: bool) -> Calibration | None:
    """What was measured here before, or now."""
    import asyncio

    from edgeinfer.bench.calibrate import calibrate
    from edgeinfer.cli import terminal
    from edgeinfer.errors import EdgeinferError
    from edgeinfer.plan.calibration import load, save

    known = load(store.root, profile)
    if known or not measure:
        return known
    terminal.say("measuring this machine …")
    try:
        found = asyncio.run(calibrate(profile, terminal.remark))
        save(store.root, found)
    except (EdgeinferError, OSError) as e:  # the plan does without
        terminal.say(f"it can't be measured: {e}")
        return None
    return found


def _show(selection: Selection, profile: HardwareProfile) -> None:
    """The machine, the choice and its reasons."""
    from edgeinfer.cli import terminal
    from edgeinfer.hardware import describe

    for label, text in describe(profile):
        terminal.say(f"{label:<10}{text}")
    choice = selection.choice
    speed = f", about {choice.plan.speed.decode:.0f} tok/s" if choice.plan.speed.decode else ""
    terminal.say(f"{'model':<10}{selection.label}, {choice.offer.size / 1e6:.0f} MB{speed}")
    for reason in (*choice.reasons, *choice.plan.reasons):
        terminal.say(f"{'':<10}- {reason}")


def _obtain(selection: Selection, store: Store, hub: Endpoint) -> None:
    """Have it in the store, unless it comes with edgeinfer or is there."""
    from pathlib import Path

    from edgeinfer.cli.progress import progress
    from edgeinfer.hardware.memory import memory
    from edgeinfer.hub.ensure_installed import ensure_installed

    if selection.published:
        quant, available = selection.choice.offer.quant, memory(Path("/")).available
        ensure_installed(
            selection.published, quant, store, progress(), hub=hub, update=True, available=available
        )


def _drafted(
    manager: ServiceManager, values: dict[str, Any], plan: Plan | None = None
) -> tuple[ServiceFile, ServiceSpec]:
    """The configuration file as it is to be, and the service that it makes. `plan`: of a model not here yet."""
    import tempfile
    from pathlib import Path

    from msgspec.structs import replace

    from edgeinfer.cli.service import service_of
    from edgeinfer.install.config_file import updated
    from edgeinfer.service.file_transaction import ServiceFile
    from edgeinfer.settings import SYSTEM_CONFIG, user_config

    path = SYSTEM_CONFIG if manager.scope == "system" else user_config()
    there = path.is_file()
    text = updated(path.read_text() if there else "", values)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "config.toml"
        draft.write_text(text)
        service = service_of(manager, draft, plan)
    hidden = path != SYSTEM_CONFIG and SYSTEM_CONFIG.is_file()  # that one would be found first
    mode = path.stat().st_mode & 0o777 if there else 0o644
    return ServiceFile(path, text, mode), replace(service, config=path if hidden else None)


def _show_changes(
    manager: ServiceManager,
    selection: Selection,
    values: dict[str, Any],
    *,
    start: bool,
) -> None:
    """What would be fetched, written and run, as a script would have it."""
    from edgeinfer.cli import terminal
    from edgeinfer.cli.service import shown
    from edgeinfer.service.install import propose

    offer, file = selection.choice.offer, selection.wanted
    if not offer.bundled and offer.path is None:
        source = f" {file.file} of {file.repo} at {file.revision[:12]}" if file else ""
        terminal.write(f"# fetch{source}: {offer.size / 1e6:.0f} MB\n$ edgeinfer pull {selection.label}\n\n")
    config, service = _drafted(manager, values, selection.choice.plan)
    proposal = propose(manager, service, start=start, beside=[config])
    terminal.write("".join(f"{line}\n" for line in shown(proposal)))


def _report(settings: Settings, *, start: bool) -> None:
    """Ask it something, and say how to go on."""
    from edgeinfer.cli import terminal
    from edgeinfer.cli.conversation import Conversation, Options
    from edgeinfer.client.http import connect, target_of
    from edgeinfer.errors import Unauthorized

    if not start:
        terminal.say("installed; edgeinfer service start starts it")
        return
    target = target_of(settings, os.environ.get("EDGEINFER_API_KEY"))
    key = ' -H "Authorization: Bearer $EDGEINFER_API_KEY"' if settings.api_key_file else ""
    socket = f" --unix-socket {target.uds}" if target.uds else ""
    try:
        terminal.say(f"> {QUESTION}")
        with connect(target) as client:
            Conversation(client, target, Options(), None).ask(QUESTION)
    except Unauthorized:
        terminal.say("(it answers whoever has a key)")
    terminal.say(f"\nIt listens at {target.url}/v1{f' on {target.uds}' if target.uds else ''}. Try:")
    terminal.say('  edgeinfer chat "Hello"')
    body = '{"messages": [{"role": "user", "content": "Hello"}]}'
    terminal.say(f"  curl{socket}{key} {target.url}/v1/chat/completions --json '{body}'")
