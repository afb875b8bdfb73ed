"""The service: its state, and its files compared with those that would be installed now."""

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
from edgeinfer.service.spec import ServiceSpec, requirements, this_program, usual_configs

CHECK = "service"

REINSTALL = "edgeinfer service install"

VARYING = re.compile(r"^Memory(High|Max)=.*\n", re.M)
"""Lines that depend on the memory available at installation."""


def current_spec(
    manager: ServiceManager,
    status: ServiceStatus,
    environ: Mapping[str, str],
    profile: HardwareProfile,
    plan: Plan,
) -> ServiceSpec:
    """Return the service that would be installed now.

    Raises:
        EdgeinferError: there is no program to run, or the settings are wrong.
    """
    shell = settings.variables(environ)  # which a service does not see
    own = {name: value for name, value in environ.items() if name not in shell}
    config = settings.config_path(own)
    return ServiceSpec(
        scope=manager.scope,
        program=this_program(),
        settings=settings.load(environ=own).settings,
        requirements=requirements(plan, profile),
        config=None if config in usual_configs(manager.scope) else config,
        on_demand=status.on_demand,
    )


def check_state(status: ServiceStatus, files: list[Path]) -> list[Finding]:
    """Check what the service manager reports; `files` are those of the service that exist."""
    sudo = "sudo " if status.scope == "system" and os.geteuid() else ""
    if not status.installed and files:
        text = f"the service manager does not know the service, although {files[0]} exists"
        return [Finding(CHECK, "error", text, f"{sudo}{REINSTALL}")]
    if not status.installed:
        text = "edgeinfer is not installed as a service"
        return [Finding(CHECK, "note", text, "edgeinfer service install, with sudo for the whole machine")]
    findings = list(_check_run_state(status, sudo))
    if status.restarts:
        times = "once" if status.restarts == 1 else f"{status.restarts} times"
        findings.append(
            Finding(
                CHECK,
                "warning",
                f"the service was restarted {times} after a failure",
                "for the reason: edgeinfer logs",
            )
        )
    if status.enabled is False and status.state != "stopped":
        findings.append(
            Finding(
                CHECK,
                "note",
                "the service does not start again after a reboot",
                f"{sudo}edgeinfer service enable",
            )
        )
    return findings


def _check_run_state(status: ServiceStatus, sudo: str) -> Iterator[Finding]:
    detail = f": {status.detail}" if status.detail else ""
    if status.state == "failed":
        fix = f"for the reason: edgeinfer logs; then {sudo}edgeinfer service start"
        yield Finding(CHECK, "error", f"the service has failed{detail}", fix)
    elif status.state == "stopped":
        level: Level = "warning" if status.enabled else "note"
        yield Finding(CHECK, level, "the service is stopped", f"{sudo}edgeinfer service start")
    elif status.state in ("starting", "stopping"):
        yield Finding(CHECK, "note", f"the service is {status.state}{detail}", "wait, or see edgeinfer logs")


def installed_program(files: Iterable[Path]) -> Path | None:
    """Return the `edgeinfer` that the service's files run; None if they name none or cannot be read."""
    programs: list[str] = []
    for file in files:
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError):
            continue
        programs += re.findall(r'^ExecStart="?(/[^"\n]*?)"? serve$', text, re.M)
        programs += re.findall(r'"command": \[\s*"(/[^"]*)"', text)
    return Path(programs[-1].replace("%%", "%")) if programs else None


def check_files(manager: ServiceManager, service: ServiceSpec | None) -> list[Finding]:
    """Compare the files with those of `service`, which would be installed now; None if it is unknown."""
    program = installed_program(manager.paths())
    if program is not None and not os.access(program, os.X_OK):
        return [Finding(CHECK, "error", f"the service runs {program}, which does not exist", REINSTALL)]
    if service is None:
        return []
    if program is not None and program != service.program.executable:
        text = f"the service runs another edgeinfer than this one: {program}"
        return [
            Finding(
                CHECK, "note", text, f"check that one: {program} doctor; or install this one: {REINSTALL}"
            )
        ]
    proposal = propose(manager, service)
    changed = [str(file.path) for file in proposal.files if not _is_current(file)]
    if names := [*changed, *proposal.removed]:
        text = f"files differ from those that would be installed now: {', '.join(names)}"
        return [Finding(CHECK, "warning", text, f"{REINSTALL}{' --on-demand' * service.on_demand}")]
    return []


def _is_current(file: ServiceFile) -> bool:
    try:
        return VARYING.sub("", file.path.read_text()) == VARYING.sub("", file.text)
    except (OSError, UnicodeDecodeError):
        return False


def check_notes(manager: ServiceManager, service: ServiceSpec | None) -> list[Finding]:
    """Report the manager's notes, except systemd's for the system: the check of permissions has those."""
    if service is None or (manager.name == "systemd" and manager.scope == "system"):
        return []
    split = (note.partition("; ") for note in manager.notes(service))
    return [Finding(CHECK, "note", text, fix or REINSTALL) for text, _, fix in split]


def summary(status: ServiceStatus) -> str:
    """Return the state of a service without problems."""
    manager = f"{status.manager}, {status.scope}" if status.manager != "none" else "built-in process monitor"
    return f"{status.state} ({manager})" + (f", pid {status.pid}" if status.pid else "")
