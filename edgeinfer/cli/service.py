"""`edgeinfer service`: edgeinfer under the machine's service manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeinfer.plan import Plan
    from edgeinfer.service.install import Proposal
    from edgeinfer.service.manager import ServiceManager, ServiceStatus
    from edgeinfer.service.spec import ServiceSpec

User = Annotated[
    bool | None,
    typer.Option(
        "--user/--system",
        help="The service of this user, or of the whole machine. Default: the one that is installed, else the "
        "machine's for root.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="For a program.")]


def install(
    user: User = None,
    on_demand: Annotated[
        bool, typer.Option("--on-demand", help="Started by the first request, not at boot. Needs systemd.")
    ] = False,
    no_start: Annotated[bool, typer.Option("--no-start", help="Only put it in place.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show every file and command, and change nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Install edgeinfer as a service, or bring one up to date, and wait until it answers.

    It runs with what the configuration file says, and is given what the plan asks for: memory, the GPU, the
    files of the model. After a change of these, install it again. If anything fails, what was there before is
    put back.

    Examples:
      sudo edgeinfer service install           for the whole machine, from boot on
      edgeinfer service install --user         for yourself, without root
      edgeinfer service install --dry-run      see what it would do
    """
    from edgeinfer.cli import terminal
    from edgeinfer.service.install import install as put_in_place
    from edgeinfer.service.install import propose

    manager = chosen(user, installed=False)
    service = _service(manager, on_demand)
    proposal = propose(manager, service, start=not no_start)
    if not dry_run:
        terminal.remark("" if no_start else "starting edgeinfer; this waits until it answers")
        put_in_place(manager, service, start=not no_start)
    if json:
        _print_json(_as_json(proposal, manager, dry_run))
        return
    if dry_run:
        terminal.write("".join(f"{line}\n" for line in shown(proposal)))
    for note in proposal.notes:
        terminal.say(f"note: {note}")
    if not dry_run:
        terminal.say(_words(manager.status()))


def uninstall(user: User = None, json: Json = False) -> None:
    """Stop the service and remove its files. Models, keys, settings and the user edgeinfer stay."""
    from edgeinfer.cli import terminal
    from edgeinfer.service.install import uninstall as remove

    removed = remove(chosen(user))
    if json:
        _print_json({"removed": removed})
        return
    for path in removed:
        terminal.say(f"removed {path}")
    if not removed:
        terminal.say("there is nothing to remove")


def start(user: User = None) -> None:
    """Start the service, and wait until it answers."""
    chosen(user).start()


def stop(user: User = None) -> None:
    """Stop the service: answers under way get drain_timeout seconds to finish."""
    chosen(user).stop()


def restart(user: User = None) -> None:
    """Stop the service, start it, and wait until it answers."""
    chosen(user).restart()


def reload(user: User = None) -> None:
    """Let the running service take over a changed configuration, without an interruption."""
    chosen(user).reload()


def enable(user: User = None) -> None:
    """Start the service at boot (one of a user: at login) from now on."""
    chosen(user).enable(True)


def disable(user: User = None) -> None:
    """No longer start the service by itself."""
    chosen(user).enable(False)


def status(user: User = None, json: Json = False) -> None:
    """Show what the service manager knows. What the daemon is doing: edgeinfer status.

    The exit code is 0 while it runs, or waits for its first request, and 1 if it does not.
    """
    from edgeinfer.cli import terminal

    found = chosen(user).status()
    if json:
        _print_json(found)
    else:
        terminal.write(_words(found) + "\n")
    if found.state not in ("running", "waiting"):
        raise typer.Exit(1)


def chosen(user: bool | None, *, installed: bool = True) -> ServiceManager:
    """The one that was asked for; else the one that has the service, if it must be `installed` already."""
    from edgeinfer.service import discovery as choice

    if user is None:
        return choice.installed() if installed else choice.manager(choice.default_scope())
    return choice.manager("user" if user else "system")


def _service(manager: ServiceManager, on_demand: bool) -> ServiceSpec:
    """The service that this program and the configuration file make."""
    import os

    from msgspec.structs import replace

    from edgeinfer import settings
    from edgeinfer.cli import terminal
    from edgeinfer.service.spec import usual_configs

    config = settings.config_path()
    for name in settings.variables(os.environ):
        terminal.say(f"note: {name} is set here, which the service does not see: set it in its configuration")
    named = None if config in usual_configs(manager.scope) else config
    return replace(service_of(manager, config), config=named, on_demand=on_demand)


def service_of(manager: ServiceManager, config: Path | None, plan: Plan | None = None) -> ServiceSpec:
    """The service that this program and a configuration file make.

    `plan`: of a model that is not here yet.
    """
    import os

    from edgeinfer import settings
    from edgeinfer.hardware import detect
    from edgeinfer.plan import make_plan
    from edgeinfer.plan.own_memory import without_workers
    from edgeinfer.service.spec import ServiceSpec, needs, this_program
    from edgeinfer.store.store import Store

    shell = settings.variables(os.environ)  # which the service does not have, so they must not decide on it
    environ = {k: v for k, v in os.environ.items() if k not in shell}
    if config is not None:
        environ[f"{settings.ENV_PREFIX}CONFIG"] = str(config)
    found = settings.load(environ=environ).settings
    profile = without_workers(detect(models=Store.of(found).root))
    return ServiceSpec(
        scope=manager.scope,
        program=this_program(),
        settings=found,
        needs=needs(plan or make_plan(found, profile), profile),
    )


def shown(proposal: Proposal) -> Iterator[str]:
    """The proposal as a script would have it."""
    import shlex

    for file in proposal.files:
        new = "" if str(file.path) in proposal.changed else ", as it is there now"
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


def _words(status: ServiceStatus) -> str:
    """A line for a person."""
    manager = "its own minder" if status.manager == "none" else status.manager
    if not status.installed:
        return f"edgeinfer is not installed as a service of the {status.scope} ({manager})"
    facts = [f"edgeinfer is {status.state}", f"{manager}, {status.scope}"]
    if status.pid:
        facts.append(f"pid {status.pid}")
    if status.restarts:
        facts.append(f"{status.restarts} restart{'' if status.restarts == 1 else 's'}")
    if status.on_demand:
        facts.append("on demand")
    if status.enabled is not None:
        facts.append("comes back after a reboot" if status.enabled else "does not come back after a reboot")
    return " · ".join(facts) + (f"\n{status.detail}" if status.detail else "")


def _print_json(found: object) -> None:
    import msgspec

    from edgeinfer.cli import terminal

    terminal.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
