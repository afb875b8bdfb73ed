"""The daemon: who answers at its address, and what."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import msgspec

import edgeinfer
from edgeinfer.doctor.finding import Finding, Level
from edgeinfer.service.manager import ServiceStatus

if TYPE_CHECKING:
    import httpx

    from edgeinfer.client.http import Target

CHECK = "daemon"
PATIENCE = 5.0

PASSING: dict[str, Level] = {
    "starting": "note",
    "reloading": "note",
    "stopped": "note",
    "restarting": "warning",
}
"""States that are left by themselves."""


class Readiness(msgspec.Struct, frozen=True):
    """The body of /ready."""

    status: str
    reason: str | None = None
    model: str | None = None


class Report(msgspec.Struct, frozen=True):
    """The part of /status that is looked at. A daemon of another version may say less."""

    version: str
    pid: int
    restarts: int = 0
    last_exit: str | None = None
    fallback: list[str] = []


class Answer(msgspec.Struct, frozen=True):
    """Attributes:
    who: "nobody" listens; "stranger": another program does; "manager": the service manager does, for a
        daemon that its first request starts; "unknown": it can't be asked, see `reason`.
    state, reason: of /ready.
    model: its name.
    report: None where it wants a key that we don't have.
    """

    who: Literal["nobody", "stranger", "manager", "unknown", "edgeinfer"]
    state: str | None = None
    reason: str | None = None
    model: str | None = None
    report: Report | None = None

    @property
    def ready(self) -> bool:
        return self.state == "ready"


def ask(target: Target) -> Answer:
    """Who answers at the target, and what.

    Raises:
        EdgeinferError: it can't be asked, as its certificate can't be read.
    """
    import httpx

    from edgeinfer.client.http import connect

    if not _listens(target):
        return Answer("nobody")
    try:
        # A stranger shall not get the key.
        with connect(msgspec.structs.replace(target, api_key=None)) as client:
            ready = msgspec.convert(_object(client.get("/ready", timeout=PATIENCE)), Readiness)
        with connect(target) as client:
            status = _object(client.get("/status", timeout=PATIENCE))
    except (httpx.HTTPError, msgspec.DecodeError) as e:  # a ValidationError too
        return Answer("stranger", reason=str(e) or type(e).__name__)
    error = status.get("error")
    locked = isinstance(error, dict) and error.get("code") == "invalid_api_key"
    try:
        report = None if locked else msgspec.convert(status, Report)
    except msgspec.ValidationError as e:
        return Answer("stranger", reason=str(e))
    return Answer("edgeinfer", ready.status, ready.reason, ready.model, report)


def _object(response: httpx.Response) -> dict[str, Any]:
    return msgspec.json.decode(response.content, type=dict[str, Any])


def _listens(target: Target) -> bool:
    try:
        if target.uds:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(PATIENCE)
                probe.connect(target.uds)
        else:
            url = urlsplit(target.url)
            socket.create_connection((url.hostname, url.port), PATIENCE).close()
    except OSError:
        return False
    return True


def daemon(answer: Answer, service: ServiceStatus | None) -> list[Finding]:
    """`service`: what its manager says."""
    if answer.who != "edgeinfer":
        return _absent(answer, service)
    found, report = [], answer.report
    if not answer.ready:
        level = PASSING.get(answer.state or "", "error")
        text = f"it does not answer prompts: {answer.state}{f', {answer.reason}' if answer.reason else ''}"
        found.append(Finding(CHECK, level, text, "edgeinfer status, edgeinfer logs"))
    if report and report.version != edgeinfer.__version__:
        text = f"it is of version {report.version}, and {edgeinfer.__version__} is installed"
        found.append(Finding(CHECK, "warning", text, "start it again: edgeinfer service restart"))
    if report and report.restarts:
        times = "once" if report.restarts == 1 else f"{report.restarts} times"
        of = f", the last time of {report.last_exit}" if report.last_exit else ""
        text = f"its worker died {times}{of}"
        found.append(Finding(CHECK, "warning", text, "edgeinfer logs"))
    for change in report.fallback if report else []:
        text = f"its model is loaded otherwise than planned: {change}"
        found.append(Finding(CHECK, "warning", text, "edgeinfer status tells how it runs now"))
    if report and service and service.pid and service.pid != report.pid:
        text = f"process {report.pid} answers, which is not the service, process {service.pid}"
        found.append(Finding(CHECK, "warning", text, f"end it, if it was started by hand: kill {report.pid}"))
    version = f" {report.version}" if report else ""
    return found or [Finding(CHECK, "ok", f"edgeinfer{version} answers with {answer.model}")]


def _absent(answer: Answer, service: ServiceStatus | None) -> list[Finding]:
    if answer.who == "manager":
        return [Finding(CHECK, "ok", "the first request starts it")]
    if answer.who == "unknown":
        return [Finding(CHECK, "note", f"it can't be asked: {answer.reason}", "sudo edgeinfer doctor")]
    if service and service.state == "running":
        text = "the service runs, and does not answer where the settings say"
        return [Finding(CHECK, "error", text, "take over changed settings: edgeinfer service restart")]
    return [Finding(CHECK, "ok", "none runs")]
