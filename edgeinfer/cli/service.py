"""`edgeinfer service`: edgeinfer under the machine's service manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeinfer.cli.common_options import Json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeinfer.errors import EdgeinferError
    from edgeinfer.plan import Plan
    from edgeinfer.service.install import Proposal
    from edgeinfer.service.manager import ServiceManager
    from edgeinfer.service.spec import ServiceSpec

User = Annotated[
    bool | None,
    typer.Option(
        "--user/--system",
        help="This user's service, or the whole machine's. Default: the installed one, else the machine's "
        "for root and the user's for others.",
        show_default=False,
    ),
]


def install(
    user: User = None,
    on_demand: Annotated[
        bool,
        typer.Option("--on-demand", help="Start at the first request instead of at boot. Needs systemd."),
    ] = False,
    no_start: Annotated[
        bool, typer.Option("--no-start", help="Install the files without starting the service.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show every file and command, and change nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Install or upgrade the service, and wait until it answers.

    It uses the configuration file's settings and gets what the plan needs: memory, the GPU and the model's
    files. Install it again after changing these. A failed installation rolls back to the previous one.

    Examples:
      sudo edgeinfer service install       for the whole machine, from boot on
      edgeinfer service install --user     for this user, without root
      edgeinfer service install --dry-run  see what it would do
    """
    from edgeinfer.cli import terminal
    from edgeinfer.service.install import install as put_in_place
    from edgeinfer.service.install import propose

    manager = select_manager(user, installed=False)
    service = _requested_spec(manager, on_demand)
    proposal = propose(manager, service, start=not no_start)
    if not dry_run:
        terminal.show("" if no_start else "starting edgeinfer, and waiting until it answers")
        put_in_place(manager, service, start=not no_start)
    if json:
        terminal.write_json(_as_json(proposal, manager, dry_run))
        return
    if dry_run:
        terminal.write("".join(f"{line}\n" for line in proposal_lines(proposal)))
        for note in proposal.notes:
            terminal.say(f"note: {note}")
    else:
        say_service(manager, service)


def uninstall(user: User = None, json: Json = False) -> None:
    """Stop the service and remove its files. Models, keys, settings and the user edgeinfer stay."""
    from edgeinfer.cli import terminal
    from edgeinfer.service.install import uninstall as remove

    removed = remove(select_manager(user))
    if json:
        terminal.write_json({"removed": removed})
        return
    for path in removed:
        terminal.say(f"removed {path}")
    if not removed:
        terminal.say("nothing to remove")


def start(user: User = None) -> None:
    """Start the service and wait until it answers."""
    select_manager(user).start()


def stop(user: User = None) -> None:
    """Stop the service. Answers in progress get drain_timeout seconds to finish."""
    from edgeinfer.errors import ServiceFailed

    manager = select_manager(user)
    if not manager.status().installed:
        raise ServiceFailed(
            "edgeinfer is not installed as a service", hint="a daemon in a terminal is stopped with Ctrl-C"
        )
    manager.stop()


def restart(user: User = None) -> None:
    """Restart the service and wait until it answers."""
    select_manager(user).restart()


def reload(user: User = None) -> None:
    """Apply a changed configuration to the running service.

    It waits for the outcome.
    """
    from edgeinfer.cli.reload import reload_daemon
    from edgeinfer.client.http import own_daemon

    manager = select_manager(user)
    pid = manager.status().pid
    if pid and (target := own_daemon(pid)):
        reload_daemon(target)
    else:
        manager.reload()


def enable(user: User = None) -> None:
    """Start the service at boot, or at login if it is a user's."""
    select_manager(user).enable(True)


def disable(user: User = None) -> None:
    """Do not start the service at boot or login."""
    select_manager(user).enable(False)


def status(user: User = None, json: Json = False) -> None:
    """Show the state of the service. For what the daemon is doing, see edgeinfer status.

    The exit code is 0 if the service is running or waiting for its first request, else 1.
    """
    from edgeinfer.cli import terminal
    from edgeinfer.cli.service_report import status_text

    status = select_manager(user).status()
    if json:
        terminal.write_json(status)
    else:
        terminal.write(status_text(status) + "\n")
    if status.state not in ("running", "waiting"):
        raise typer.Exit(1)


def select_manager(user: bool | None, *, installed: bool = True) -> ServiceManager:
    """Return the manager of the user's or the machine's service.

    `user` None: the manager that has the service if it must be `installed` already, else the default one.

    Raises:
        ServiceFailed: to install a second service, of another scope, must be asked for by name.
    """
    from edgeinfer.service import discovery

    if user is None and installed:
        return discovery.installed_manager()
    if user is None:
        discovery.check_default_scope()
        return discovery.manager_for(discovery.default_scope())
    return discovery.manager_for("user" if user else "system")


def point_to_service(error: EdgeinferError) -> None:
    """Where no daemon answers although there is a service, advise to start that one instead of another."""
    from edgeinfer.cli.pasteable import as_root
    from edgeinfer.client.http import START_HINT
    from edgeinfer.errors import ServiceFailed

    if error.hint != START_HINT:
        return
    try:
        manager = select_manager(None)
        status = manager.status()
    except (ServiceFailed, OSError):  # this is advice only
        return
    if status.installed:
        command = (
            "edgeinfer service start" if status.state in ("stopped", "failed") else "edgeinfer service status"
        )
        needs_root = manager.scope == "system" and command.endswith("start")
        error.hint = as_root(command) if needs_root else command


def _requested_spec(manager: ServiceManager, on_demand: bool) -> ServiceSpec:
    """Return the service for this program and the configuration file in use."""
    import os

    from msgspec.structs import replace

    from edgeinfer import settings
    from edgeinfer.cli import terminal
    from edgeinfer.service.spec import usual_configs

    config = settings.config_path()
    for name in settings.variables(os.environ):
        terminal.say(
            f"note: {name} is set in this shell, where the service does not see it; set it in the configuration file"
        )
    explicit = None if config in usual_configs(manager.scope) else config
    return replace(service_spec(manager, config), config=explicit, on_demand=on_demand)


def service_spec(manager: ServiceManager, config: Path | None, plan: Plan | None = None) -> ServiceSpec:
    """Return the service for this program and a configuration file.

    `plan` is that of a model that is not installed yet.
    """
    import os

    from edgeinfer import settings
    from edgeinfer.hardware import detect
    from edgeinfer.plan import make_plan
    from edgeinfer.plan.own_memory import without_workers
    from edgeinfer.service.spec import ServiceSpec, requirements, this_program
    from edgeinfer.store.store import Store

    shell = settings.variables(os.environ)  # which the service does not have, so they must not affect it
    environ = {k: v for k, v in os.environ.items() if k not in shell}
    if config is not None:
        environ[f"{settings.ENV_PREFIX}CONFIG"] = str(config)
    service_settings = settings.load(environ=environ).settings
    profile = without_workers(detect(models=Store.of(service_settings).root))
    return ServiceSpec(
        scope=manager.scope,
        program=this_program(),
        settings=service_settings,
        requirements=requirements(plan or make_plan(service_settings, profile), profile),
    )


def say_service(manager: ServiceManager, service: ServiceSpec) -> None:
    """Tell whose service this is now, how to control it, and what its owner should do."""
    from edgeinfer.cli import terminal
    from edgeinfer.cli.service_report import new_service_lines

    for line in new_service_lines(manager.status()):
        terminal.say(line)
    for note in manager.notes(service):
        terminal.say(f"note: {note}")


def proposal_lines(proposal: Proposal) -> Iterator[str]:
    """Yield the proposal in the form of a script."""
    import shlex

    for file in proposal.files:
        new = "" if str(file.path) in proposal.changed else ", unchanged"
        yield f"# {file.path} (mode {file.mode:04o}{new})"
        yield from file.text.splitlines()
        yield ""
    for command in proposal.commands:
        yield f"$ {shlex.join(command)}"
    for path in proposal.removed:
        yield f"$ rm {shlex.quote(path)}"


def _as_json(proposal: Proposal, manager: ServiceManager, dry_run: bool) -> dict[str, Any]:
    return {
        "manager": proposal.manager,
        "scope": manager.scope,
        "files": [
            {
                "path": str(f.path),
                "mode": f"{f.mode:04o}",
                "text": f.text,
                "new": str(f.path) in proposal.changed,
            }
            for f in proposal.files
        ],
        "commands": proposal.commands,
        "removed": proposal.removed,
        "notes": proposal.notes,
        "status": None if dry_run else manager.status(),
    }
