"""The files of systemd's service: those of the package as they are, and one for this machine and its plan."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgeinfer.errors import SettingsError
from edgeinfer.service import devices, sandbox
from edgeinfer.service.devices import HostDevices
from edgeinfer.service.file_transaction import ServiceFile
from edgeinfer.service.spec import PACKAGE, Requirements, Scope, ServiceSpec

USER = "edgeinfer"
"""Who runs the system's service."""

DROP_IN = "10-edgeinfer.conf"
SYSUSERS = Path("/etc/sysusers.d/edgeinfer.conf")
TMPFILES = Path("/etc/tmpfiles.d/edgeinfer.conf")

HOMES = ("XDG_CONFIG_HOME", "XDG_DATA_HOME")
"""Variables that decide where a user's settings and models are."""

MB = 1 << 20
SYSTEM_SHARE = 0.05
"""Of the RAM, that the rest of the system is left with in any case: at least 128 MB, at most 1 GB."""

BACK_OFF = 254
"""The version of systemd that knows RestartSteps=."""

NOTE = """\
# Written by `edgeinfer service install`, and again by the next one: change nothing here.
# Changes of your own: systemctl {scope}edit edgeinfer
"""


def packaged(name: str) -> str:
    """A file of `systemd/`, which lies in the package, or beside it in a checkout."""
    candidates = (PACKAGE / "data" / "systemd" / name, PACKAGE.parent / "systemd" / name)
    return next(path for path in candidates if path.is_file()).read_text()


def unit_folder(scope: Scope, environ: Mapping[str, str] = os.environ) -> Path:
    if scope == "system":
        return Path("/etc/systemd/system")
    home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/root")) / ".config")
    return home / "systemd/user"


def files(
    service: ServiceSpec,
    host: HostDevices,
    environ: Mapping[str, str] = os.environ,
    folder: Path | None = None,
) -> list[ServiceFile]:
    """All files of the service. `folder` is for units, where the manager wants them elsewhere than usual.

    Raises:
        SettingsError: what the settings ask for cannot be had on demand.
    """
    folder = folder or unit_folder(service.scope, environ)
    found = {
        "edgeinfer.service": packaged(("user/" if service.scope == "user" else "") + "edgeinfer.service"),
        f"edgeinfer.service.d/{DROP_IN}": service_drop_in(service, host, environ),
    }
    if service.on_demand:
        found["edgeinfer.socket"] = packaged("edgeinfer.socket")
        found[f"edgeinfer.socket.d/{DROP_IN}"] = socket_drop_in(service)
    written = [ServiceFile(folder / name, text) for name, text in found.items()]
    if service.scope == "system":
        written.append(ServiceFile(SYSUSERS, packaged("sysusers.conf")))
        written.append(ServiceFile(TMPFILES, packaged("tmpfiles.conf")))
    return written


def paths(scope: Scope, environ: Mapping[str, str] = os.environ, folder: Path | None = None) -> list[Path]:
    """All that `files` may ever name."""
    folder = folder or unit_folder(scope, environ)
    units = [folder / f"edgeinfer.{kind}" for kind in ("service", "socket")]
    found = [*units, *(unit.with_name(unit.name + ".d") / DROP_IN for unit in units)]
    return [*found, SYSUSERS, TMPFILES] if scope == "system" else found


def service_drop_in(service: ServiceSpec, host: HostDevices, environ: Mapping[str, str] = os.environ) -> str:
    """What of the unit depends on the machine, the settings and the plan."""
    system, gpus = service.scope == "system", service.needs.gpus
    unit = [*sandbox.mounts(service), *devices.unit_lines(gpus), *_network_unit(service)] if system else []
    lines = [
        "ExecStart=",
        f"ExecStart={_command(service)}",
        *(f"Environment={sandbox.word(variable)}" for variable in _environment(service, environ)),
        *_memory(service.needs),
        *_back_off(host),
        *devices.driver_lines(gpus),
    ]
    if system:
        lines += [*sandbox.lines(service), *devices.device_lines(gpus, host), *_network(service)]
    return _drop_in(service.scope, {"Unit": unit, "Service": lines})


def socket_drop_in(service: ServiceSpec) -> str:
    """Where the socket listens: as the settings say.

    Raises:
        SettingsError: systemd can't listen there.
    """
    settings = service.settings
    lines = ["ListenStream=", *(f"ListenStream={address}" for address in _addresses(service))]
    if settings.uds:
        owner = [f"SocketUser={USER}", f"SocketGroup={USER}"] if service.scope == "system" else []
        lines += ["SocketMode=0660", *owner, "RemoveOnStop=yes"]
    return _drop_in(service.scope, {"Socket": lines})


def _drop_in(scope: Scope, sections: Mapping[str, list[str]]) -> str:
    text = NOTE.format(scope="--user " if scope == "user" else "")
    for name, lines in sections.items():
        if lines:
            text += f"\n[{name}]\n" + "".join(f"{line}\n" for line in lines)
    return text


def _command(service: ServiceSpec) -> str:
    return f"{sandbox.word(str(service.program.executable))} serve"


def _environment(service: ServiceSpec, environ: Mapping[str, str]) -> Iterator[str]:
    """Where this user's files are, which the manager may not know."""
    if service.config:
        yield f"EDGEINFER_CONFIG={service.config}"
    if service.scope == "user":
        yield from (f"{name}={environ[name]}" for name in HOMES if name in environ)


def _memory(needs: Requirements) -> Iterator[str]:
    """Beyond twice what the plan counts with something leaks, since a reload has two models for a moment.

    The hard limit is what the machine can spare. It must not be lower, or the plan that the daemon makes in
    there would be a smaller one than the plan that this is made from.
    """
    if not needs.memory or not needs.ram:
        return
    most = needs.ram - round(min(max(needs.ram * SYSTEM_SHARE, 128 * MB), 1024 * MB))
    if most < 1.1 * needs.memory:  # forced, against the plan's advice
        return
    yield f"MemoryHigh={min(2 * needs.memory + 512 * MB, round(0.95 * most)) // MB}M"
    yield f"MemoryMax={most // MB}M"


def _back_off(host: HostDevices) -> Iterator[str]:
    """systemd counts restarts, but never anew after months without one: so the longest delay is a short one."""
    if host.systemd is not None and host.systemd >= BACK_OFF:
        yield "RestartSteps=6"
        yield "RestartMaxDelaySec=20"


def _is_reached(service: ServiceSpec) -> bool:
    """Whether other machines are to reach it."""
    if service.settings.uds:
        return False
    try:
        return not ipaddress.ip_address(service.settings.host).is_loopback
    except ValueError:
        return service.settings.host != "localhost"


def _network(service: ServiceSpec) -> Iterator[str]:
    if _is_reached(service):
        yield "IPAddressDeny="
        yield "IPAddressAllow="


def _network_unit(service: ServiceSpec) -> Iterator[str]:
    """An address must be there before it can be listened on."""
    if _is_reached(service) and service.settings.host not in ("0.0.0.0", "::"):
        yield "Wants=network-online.target"
        yield "After=network-online.target"


def _addresses(service: ServiceSpec) -> list[str]:
    settings = service.settings
    if settings.uds:
        return [sandbox.escape(str(Path(settings.uds).absolute()))]
    hosts = ["127.0.0.1", "::1"] if settings.host == "localhost" else [settings.host]
    try:
        found = [ipaddress.ip_address(host) for host in hosts]
    except ValueError:
        raise SettingsError(
            f"systemd can't listen on a name: {settings.host}", param="host", hint="set host to an address"
        ) from None
    if not settings.port:
        raise SettingsError("systemd can't choose a port: port is 0", param="port", hint="set a port")
    return [f"[{ip}]:{settings.port}" if ip.version == 6 else f"{ip}:{settings.port}" for ip in found]
