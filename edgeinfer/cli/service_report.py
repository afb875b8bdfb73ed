"""Says in words which service there is, how long it runs, where it listens, and how to control it."""

from __future__ import annotations

import getpass
import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgeinfer.cli.pasteable import as_root, pasteable

if TYPE_CHECKING:
    from edgeinfer.service.manager import ServiceStatus
    from edgeinfer.settings import Settings

EXAMPLE = '{"messages": [{"role": "user", "content": "Hello"}]}'
EVERYWHERE = ("0.0.0.0", "::", "")
"""Hosts that stand for all addresses of this machine."""


def status_text(status: ServiceStatus) -> str:
    """Return the state of the service in a line, with the daemon's own words and what to do below it."""
    manager = _manager_name(status)
    if not status.installed:
        return f"edgeinfer is not installed as a {status.scope} service ({manager})"
    facts = [f"edgeinfer is {status.state}", f"{manager}, {status.scope}"]
    if status.pid:
        facts.append(f"pid {status.pid}")
    if status.restarts:
        facts.append(f"{status.restarts} restart{'' if status.restarts == 1 else 's'}")
    if status.on_demand:
        facts.append("on demand")
    if status.enabled is not None:
        facts.append(_lifetime(status))
    lines = [" · ".join(facts), *([status.detail] if status.detail else [])]
    if status.while_logged_in and status.manager == "systemd":
        lines.append(f"hint: to run it always: sudo loginctl enable-linger {getpass.getuser()}")
    return "\n".join(lines)


def new_service_lines(status: ServiceStatus) -> Iterator[str]:
    """Yield what the owner of a new service should know: whose it is, how long it runs, how to control it."""
    system = status.scope == "system"
    owner = "this machine" if system else f"the user {getpass.getuser()}"
    lifetime = f"; it {_lifetime(status)}" if status.enabled is not None else ""
    yield f"edgeinfer is a service of {owner} ({_manager_name(status)}){lifetime}."
    for purpose, command in (
        ("state", "edgeinfer service status"),
        ("log", "edgeinfer logs -f"),
        ("stop", "edgeinfer service stop"),
        ("start", "edgeinfer service start"),
        ("other model", "edgeinfer install --model NAME"),
        ("remove", "edgeinfer service uninstall"),
    ):
        needs_root = system and purpose != "state"
        yield f"  {purpose:<13}{pasteable(as_root(command) if needs_root else command)}"


def address_lines(settings: Settings) -> Iterator[str]:
    """Yield where the daemon listens, for this machine and for others, and requests to try."""
    from edgeinfer.client.http import target_of
    from edgeinfer.server.auth.key_file import key_file

    target, needs_key = target_of(settings), bool(key_file(settings))
    yield f"It is listening at {target.url}/v1{f' on {target.uds}' if target.uds else ''}"
    if others := network_urls(settings):
        yield f"and for other machines at {', '.join(f'{url}/v1' for url in others)}"
    if needs_key:
        create = pasteable(as_root("edgeinfer key add NAME"))
        yield f"It answers only requests with an API key: {create}, then export EDGEINFER_API_KEY=KEY"
    yield "Try:"
    yield pasteable('  edgeinfer chat "Hello"')
    words = ["curl"]
    words += ["--unix-socket", target.uds] if target.uds else []
    words += ["--insecure"] if target.certificate else []  # it may not name this address
    words += [f"{target.url}/v1/chat/completions"]
    words += ['-H "Authorization: Bearer $EDGEINFER_API_KEY"'] if needs_key else []
    yield f"  {' '.join(words)} -H 'Content-Type: application/json' -d '{EXAMPLE}'"


def network_urls(settings: Settings) -> list[str]:
    """Return the addresses at which other machines reach the daemon."""
    import socket

    import psutil

    if settings.uds:
        return []
    hosts = [settings.host]
    if settings.host in EVERYWHERE:
        families = [socket.AF_INET, *([socket.AF_INET6] if settings.host == "::" else [])]
        found = [address for addresses in psutil.net_if_addrs().values() for address in addresses]
        hosts = [a.address.partition("%")[0] for family in families for a in found if a.family == family]
    scheme = "https" if settings.tls_cert else "http"
    names = [f"[{host}]" if ":" in host else host for host in hosts if not _is_local(host)]
    return [f"{scheme}://{name}:{settings.port}" for name in names]


def _is_local(host: str) -> bool:
    """Tell whether an address means another machine's own, or only works on one network card."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_link_local


def _manager_name(status: ServiceStatus) -> str:
    return "built-in process monitor" if status.manager == "none" else status.manager


def _lifetime(status: ServiceStatus) -> str:
    if not status.enabled:
        return "does not start again after a reboot"
    if status.while_logged_in:
        return f"runs only while {getpass.getuser()} is logged in"
    if status.scope == "user":
        return "outlives a logout, and starts again after a reboot"
    return "starts again after a reboot"
