"""The service: its state, and whether its files are what would be installed now."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from edgeinfer import settings
from edgeinfer.doctor.finding import Finding, Level
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan import Plan
from edgeinfer.service.file_transaction import ServiceFile
from edgeinfer.service.install import propose
from edgeinfer.service.manager import ServiceManager, ServiceStatus
from edgeinfer.service.spec import ServiceSpec, needs, this_program, usual_configs

CHECK = "service"

AGAIN = "edgeinfer service install"

CHANGING = re.compile(r"^Memory(High|Max)=.*\n", re.M)
"""Lines that depend on what was available at the time."""


def as_now(
    manager: ServiceManager,
    status: ServiceStatus,
    environ: Mapping[str, str],
    profile: HardwareProfile,
    plan: Plan,
) -> ServiceSpec:
    """The service that would be installed now.

    Raises:
        EdgeinferError: there is no program to be run, or the settings are wrong.
    """
    shell = settings.variables(environ)  # which a service does not see
    own = {name: value for name, value in environ.items() if name not in shell}
    config = settings.config_path(own)
    return ServiceSpec(
        scope=manager.scope,
        program=this_program(),
        settings=settings.load(environ=own).settings,
        needs=needs(plan, profile),
        config=None if config in usual_configs(manager.scope) else config,
        on_demand=status.on_demand,
    )


def state(status: ServiceStatus, files: list[Path]) -> list[Finding]:
    """What the service manager says. `files`: of the service, that are there."""
    sudo = "sudo " if status.scope == "system" and os.geteuid() else ""
    if not status.installed and files:
        text = f"the service manager does not know of it, although there is {files[0]}"
        return [Finding(CHECK, "error", text, f"{sudo}{AGAIN}")]
    if not status.installed:
        text = "edgeinfer is not installed as a service"
        return [Finding(CHECK, "note", text, "edgeinfer service install; with sudo for the whole machine")]
    found = list(_state(status, sudo))
    if status.restarts:
        times = "once" if status.restarts == 1 else f"{status.restarts} times"
        found.append(
            Finding(CHECK, "warning", f"it was restarted {times} by itself", "edgeinfer logs tells why")
        )
    if status.enabled is False and status.state != "stopped":
        found.append(
            Finding(CHECK, "note", "it does not come back after a reboot", f"{sudo}edgeinfer service enable")
        )
    return found


def _state(status: ServiceStatus, sudo: str) -> Iterator[Finding]:
    detail = f": {status.detail}" if status.detail else ""
    if status.state == "failed":
        fix = f"edgeinfer logs tells why; then {sudo}edgeinfer service start"
        yield Finding(CHECK, "error", f"it has failed{detail}", fix)
    elif status.state == "stopped":
        level: Level = "warning" if status.enabled else "note"
        yield Finding(CHECK, level, "it is stopped", f"{sudo}edgeinfer service start")
    elif status.state in ("starting", "stopping"):
        yield Finding(CHECK, "note", f"it is {status.state}{detail}", "wait for it, or look: edgeinfer logs")


def program(files: Iterable[Path]) -> Path | None:
    """The `edgeinfer` that the service's files say to run; None where they do not, or can't be read."""
    found: list[str] = []
    for file in files:
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError):
            continue
        found += re.findall(r'^ExecStart="?(/[^"\n]*?)"? serve$', text, re.M)
        found += re.findall(r'"command": \[\s*"(/[^"]*)"', text)
    return Path(found[-1].replace("%%", "%")) if found else None


def installed(manager: ServiceManager, service: ServiceSpec | None) -> list[Finding]:
    """Whether the files are there and up to date. `service`: as it would be installed now; None: nobody knows."""
    runs = program(manager.paths())
    if runs is not None and not os.access(runs, os.X_OK):
        return [Finding(CHECK, "error", f"it is to run {runs}, which is not there", AGAIN)]
    if service is None:
        return []
    if runs is not None and runs != service.program.executable:
        text = f"it runs another edgeinfer than this one: {runs}"
        return [Finding(CHECK, "note", text, f"ask that one: {runs} doctor; or run this one: {AGAIN}")]
    proposal = propose(manager, service)
    changed = [str(file.path) for file in proposal.files if not _is_there(file)]
    if names := [*changed, *proposal.removed]:
        text = f"other files would be installed now than those that are there: {', '.join(names)}"
        return [Finding(CHECK, "warning", text, f"{AGAIN}{' --on-demand' * service.on_demand}")]
    return []


def _is_there(file: ServiceFile) -> bool:
    try:
        return CHANGING.sub("", file.path.read_text()) == CHANGING.sub("", file.text)
    except (OSError, UnicodeDecodeError):
        return False


def remarks(manager: ServiceManager, service: ServiceSpec | None) -> list[Finding]:
    """What its manager wants to be known. (Of the system's it is what its user can't read, which is told elsewhere.)"""
    if service is None or (manager.name == "systemd" and manager.scope == "system"):
        return []
    split = (note.partition("; ") for note in manager.notes(service))
    return [Finding(CHECK, "note", text, fix or AGAIN) for text, _, fix in split]


def words(status: ServiceStatus) -> str:
    """Of one that is as it should be."""
    how = f"{status.manager}, {status.scope}" if status.manager != "none" else "by its own minder"
    return f"{status.state} ({how})" + (f", pid {status.pid}" if status.pid else "")
