"""`edgeinfer connect`: other programs, configured to use the daemon."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeinfer.cli.common_options import ApiKey, Url

if TYPE_CHECKING:
    from edgeinfer.client.http import Target
    from edgeinfer.connect.app import App, AppEndpoint, Places, Setup
    from edgeinfer.connect.changes import ConfigChange


def connect(
    app: Annotated[str | None, typer.Argument(help="The app. Default: list those that are known.")] = None,
    model: Annotated[str | None, typer.Option(help="The model that the app shall use.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the changes as a diff, and write nothing.")
    ] = False,
    print_: Annotated[
        bool, typer.Option("--print", help="Print what to write into which file, to do it by hand.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only ask the daemon what the app would ask it.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Give the app's files back as they were.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --undo: also if a file has changed since.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the list of apps as JSON.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Configure another program to use the daemon, and check it.

    The rest of the app's files stays as it is, a copy of each is put beside it, and --undo gives the files back.
    Keys are never written: the app reads the variable EDGEINFER_API_KEY, or says where to put one.

    Examples:
      edgeinfer connect          the apps, and which of them are here
      edgeinfer connect aider    shows the changes, and asks before writing them
      edgeinfer connect zed --dry-run
      edgeinfer connect zed --undo
    """
    from edgeinfer.cli import terminal
    from edgeinfer.connect import catalogue
    from edgeinfer.connect.app import Places

    if app is None:
        _list(Places(), json=json)
        return
    if json:
        raise typer.BadParameter("it goes with the list, without an APP", param_hint="--json")
    if sum((dry_run, print_, check, undo)) > 1:
        raise typer.BadParameter("choose one of --dry-run, --print, --check and --undo")
    if force and not undo:
        raise typer.BadParameter("it goes with --undo", param_hint="--force")
    known = catalogue.find(app)
    if undo:
        _undo(known, force)
        return
    from edgeinfer.client.http import resolve_target

    target = resolve_target(url, api_key)
    endpoint, answers = _endpoint(target, model)
    if not check:
        _configure(known, known.setup(endpoint, Places()), yes=yes, dry_run=dry_run, print_=print_)
    if not (dry_run or print_):
        _check(known, target, endpoint, answers)
    elif not answers:
        terminal.say(f"(no daemon answers at {target}: this is what the settings say)")


def _list(places: Places, *, json: bool) -> None:
    from edgeinfer.cli import terminal
    from edgeinfer.connect.catalogue import APPS
    from edgeinfer.connect.changes import UndoRecord

    rows = []
    for app in APPS.values():
        connected = UndoRecord(app.name).exists()
        state = "connected" if connected else "found" if app.is_installed(places) else None
        rows.append({"name": app.name, "state": state, "title": app.title, "context": app.context})
    if json:
        terminal.write_json(rows)
        return
    heading = ("APP", "STATE", "CONTEXT", "")
    texts = [(str(r["name"]), str(r["state"] or "-"), f"{r['context']:,}", str(r["title"])) for r in rows]
    terminal.write_table([heading, *texts])
    terminal.show("to connect one: edgeinfer connect APP")


def _endpoint(target: Target, model: str | None) -> tuple[AppEndpoint, bool]:
    """Describe the daemon, and tell whether it answers."""
    from edgeinfer import settings
    from edgeinfer.client.http import connect as open_client
    from edgeinfer.connect.discovery import ask_endpoint, offline_endpoint
    from edgeinfer.errors import NotReady

    try:
        with open_client(target) as client:
            return ask_endpoint(client, target, model), True
    except NotReady:
        needed = bool(target.api_key if target.explicit else settings.load().settings.api_key_file)
        return offline_endpoint(target, model, key_needed=needed), False


def _configure(app: App, setup: Setup, *, yes: bool, dry_run: bool, print_: bool) -> None:
    """Write the configuration, or show it."""
    from edgeinfer.cli import terminal
    from edgeinfer.connect.changes import UndoRecord, planned

    if print_ or not setup.edits:
        for path, edit in setup.edits:
            terminal.write(f"# {path}\n{edit.snippet()}\n")
        for step in setup.steps:
            _say_step(step) if setup.edits else terminal.write(f"{step}\n")
        return
    changes = planned(app.name, setup.edits)
    if dry_run:
        terminal.write(_diff(changes))
    elif not any(change.changes for change in changes):
        terminal.say(f"{app.title} is configured already")
    else:
        _ask(changes, yes=yes)
        backups = UndoRecord(app.name).write(changes)
        for change in changes:
            terminal.say(f"wrote {change.file.path}")
        for backup in backups:
            terminal.say(f"kept the file as it was: {backup}")
        terminal.say(f"to take it back: edgeinfer connect {app.name} --undo")
    for step in setup.steps:
        _say_step(step)


def _say_step(step: str) -> None:
    """Say what is left to do, in one line however long: most steps are commands to copy."""
    from edgeinfer.cli import terminal

    terminal.say_inline(f"next: {step}\n")


def _ask(changes: Sequence[ConfigChange], *, yes: bool) -> None:
    """Show the changes, and leave the command unless they are wanted."""
    import sys

    from edgeinfer.cli import terminal
    from edgeinfer.errors import EdgeinferError

    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise EdgeinferError(
            "nobody can be asked: this is not a terminal",
            hint="--dry-run shows the changes; --yes writes them",
        )
    terminal.say_inline(_diff(changes) + "Write this? [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        terminal.say("nothing is written")
        raise typer.Exit(1)


def _diff(changes: Sequence[ConfigChange]) -> str:
    return "".join(f"{line}\n" for change in changes for line in change.diff())


def _undo(app: App, force: bool) -> None:
    from edgeinfer.cli import terminal
    from edgeinfer.connect.changes import UndoRecord

    paths: list[Path] = UndoRecord(app.name).undo(force=force)
    for path in paths:
        terminal.say(f"{'gave back' if path.exists() else 'removed'} {path}")


def _check(app: App, target: Target, endpoint: AppEndpoint, answers: bool) -> None:
    """Ask the daemon what the app would, and say whether its context is large enough."""
    from edgeinfer.cli import terminal
    from edgeinfer.client.http import START_HINT
    from edgeinfer.client.http import connect as open_client
    from edgeinfer.connect.request import check
    from edgeinfer.errors import NotReady

    if not answers:
        raise NotReady(
            f"it could not be tried: no daemon answers at {target}",
            hint=f"{START_HINT}; then: edgeinfer connect {app.name} --check",
        )
    with open_client(target) as client:
        asked = check(client, target, app.request, endpoint)
    terminal.say(f"ok: the daemon answers what {app.title} asks ({asked})")
    for line in _context_report(app, endpoint):
        terminal.say(line)


def _context_report(app: App, endpoint: AppEndpoint) -> list[str]:
    """Compare the context that the daemon runs with and what the app needs."""
    from edgeinfer.cli.pasteable import pasteable

    if endpoint.context is None:
        return []
    if endpoint.context >= app.context:
        return [f"context: {endpoint.context:,} tokens; {app.title} needs about {app.context:,}"]
    warning = (
        f"warning: {app.title} needs a context of about {app.context:,} tokens,"
        f" and the daemon runs with {endpoint.context:,}"
    )
    if endpoint.trained_context and endpoint.trained_context < app.context:
        hint = f"{endpoint.model_name} was trained for {endpoint.trained_context:,}: choose another model"
    else:
        hint = f"put ctx = {app.context} into the configuration file; edgeinfer plan then says whether it fits; then restart the daemon"
    return [warning, f"hint: {pasteable(hint)}"]
