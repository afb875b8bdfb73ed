"""The daemon: what listens at its address, and whether its models answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import msgspec

import edgeinfer
from edgeinfer.doctor.finding import Finding, Level
from edgeinfer.service.manager import ServiceStatus

if TYPE_CHECKING:
    import httpx

    from edgeinfer.client.http import Target
    from edgeinfer.client.status import ModelReply, StatusReply

CHECK = "daemon"
PROBE_TIMEOUT = 5.0

PASSING_STATES: dict[str, Level] = {
    "starting": "note",
    "loading": "note",
    "reloading": "note",
    "stopped": "note",
    "restarting": "warning",
}
"""States that end by themselves."""

HEALTHY_STATES = ("ready", "unloaded")
"""States in which a prompt is answered; an unloaded model is loaded when it is asked for."""


class DaemonProbe(msgspec.Struct, frozen=True):
    """The program that listens at the daemon's address.

    Attributes:
        listener: "none" listens; "other": another program; "manager": the service manager, for a daemon that
            starts on demand; "unknown": it cannot be asked, see `reason`.
        state, reason, model: from /ready.
        status: None if the daemon wants a key that we do not have.
    """

    listener: Literal["none", "other", "manager", "unknown", "edgeinfer"]
    state: str | None = None
    reason: str | None = None
    model: str | None = None
    status: StatusReply | None = None

    @property
    def ready(self) -> bool:
        return self.state == "ready"


def probe(target: Target) -> DaemonProbe:
    """Find out what listens at the target.

    Raises:
        EdgeinferError: it cannot be asked, as its certificate cannot be read.
    """
    import httpx

    from edgeinfer.client.http import ReadyReply, connect
    from edgeinfer.client.status import StatusReply

    if not _listens(target):
        return DaemonProbe("none")
    try:
        # Another program must not get the key.
        with connect(msgspec.structs.replace(target, api_key=None)) as client:
            ready = msgspec.convert(_object(client.get("/ready", timeout=PROBE_TIMEOUT)), ReadyReply)
        with connect(target) as client:
            body = _object(client.get("/status", timeout=PROBE_TIMEOUT))
    except (httpx.HTTPError, msgspec.DecodeError, RecursionError) as e:  # a ValidationError too
        return DaemonProbe("other", reason=str(e) or type(e).__name__)
    error = body.get("error")
    locked = isinstance(error, dict) and error.get("code") == "invalid_api_key"
    try:
        status = None if locked else msgspec.convert(body, StatusReply)
    except msgspec.ValidationError as e:
        return DaemonProbe("other", reason=str(e))
    return DaemonProbe("edgeinfer", ready.status, ready.reason, ready.model, status)


def _object(response: httpx.Response) -> dict[str, Any]:
    return msgspec.json.decode(response.content, type=dict[str, Any])


def _listens(target: Target) -> bool:
    try:
        if target.uds:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(PROBE_TIMEOUT)
                sock.connect(target.uds)
        else:
            url = urlsplit(target.url)
            socket.create_connection((url.hostname, url.port), PROBE_TIMEOUT).close()
    except OSError:
        return False
    return True


def check_daemon(probe: DaemonProbe, service: ServiceStatus | None) -> list[Finding]:
    """Check the daemon; `service` is the state of the service."""
    if probe.listener != "edgeinfer":
        return _check_absent(probe, service)
    findings, status = [], probe.status
    if probe.state not in HEALTHY_STATES:
        findings.append(_not_answering("the daemon", probe.state, probe.reason))
    if status:
        findings += _check_process(status, service)
        findings += [finding for model in status.models for finding in _check_model(model)]
    version = f" {status.version}" if status else ""
    models = ", ".join(_answering(probe))
    summary = f"edgeinfer{version} answers with {models}" if models else f"edgeinfer{version} is listening"
    return findings or [Finding(CHECK, "ok", summary)]


def _check_process(status: StatusReply, service: ServiceStatus | None) -> Iterator[Finding]:
    if status.version != edgeinfer.__version__:
        text = f"the daemon runs version {status.version}, but {edgeinfer.__version__} is installed"
        yield Finding(CHECK, "warning", text, "restart it: edgeinfer service restart")
    if status.restarts:
        yield _crashed("the worker", status.restarts, status.last_exit)
    for change in status.fallback:
        text = f"the model is not loaded as planned: {change}"
        yield Finding(CHECK, "warning", text, "to see how it runs now: edgeinfer status")
    if service and service.pid and service.pid != status.pid:
        text = f"process {status.pid} answers instead of the service, process {service.pid}"
        yield Finding(CHECK, "warning", text, f"stop it if it was started by hand: kill {status.pid}")


def _check_model(model: ModelReply) -> Iterator[Finding]:
    """Check a model other than the default one, which `probe` has asked about."""
    if model.default:
        return
    if model.state not in HEALTHY_STATES:
        yield _not_answering(model.name, model.state, model.error)
    if model.restarts:
        yield _crashed(f"the worker of {model.name}", model.restarts, None)


def _not_answering(name: str, state: str | None, reason: str | None) -> Finding:
    level = PASSING_STATES.get(state or "", "error")
    text = f"{name} does not answer prompts: {state}{f', {reason}' if reason else ''}"
    return Finding(CHECK, level, text, "edgeinfer status, edgeinfer logs")


def _crashed(name: str, times: int, last_exit: str | None) -> Finding:
    count = "once" if times == 1 else f"{times} times"
    reason = f", most recently with {last_exit}" if last_exit else ""
    return Finding(CHECK, "warning", f"{name} has crashed {count}{reason}", "edgeinfer logs")


def _answering(probe: DaemonProbe) -> Iterator[str]:
    """Yield names of the models that answer prompts, the default one first."""
    if probe.model:
        yield probe.model
    models = probe.status.models if probe.status else []
    yield from (model.name for model in models if model.state == "ready" and model.name != probe.model)


def _check_absent(probe: DaemonProbe, service: ServiceStatus | None) -> list[Finding]:
    if probe.listener == "manager":
        return [Finding(CHECK, "ok", "the first request starts the daemon")]
    if probe.listener == "unknown":
        text = f"the daemon cannot be asked: {probe.reason}"
        return [Finding(CHECK, "note", text, "sudo edgeinfer doctor")]
    if service and service.state == "running":
        text = "the service is running, but does not answer at the address in the settings"
        return [Finding(CHECK, "error", text, "to apply changed settings: edgeinfer service restart")]
    return [Finding(CHECK, "ok", "no daemon is running")]
