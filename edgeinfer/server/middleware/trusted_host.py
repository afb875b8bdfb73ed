"""The middleware that checks the Host header, against DNS rebinding."""

from __future__ import annotations

import ipaddress
import re

from starlette.types import ASGIApp, Receive, Scope, Send

from edgeinfer.errors import EdgeinferError, Forbidden, SettingsError
from edgeinfer.server.http.errors import error_response
from edgeinfer.server.http.headers import header_values

LOCAL_DOMAINS = (".local", ".lan", ".home", ".internal", ".localdomain", ".home.arpa")
"""Nobody can register names in these."""

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


class TrustedHostMiddleware:
    """Refuses requests whose Host is neither a loopback name nor in `allowed`.

    A web page whose name was made to resolve to this machine (DNS rebinding) still sends its own name. With
    `local_names`, addresses and names that exist in a local network only are let in as well: no page has such a name.
    """

    def __init__(
        self,
        app: ASGIApp,
        allowed: frozenset[str] = frozenset(),
        *,
        local_names: bool = False,
        port: int | None = None,
    ) -> None:
        """`port`: only requests that come in at this port are checked; None: all."""
        self.app = app
        self.port = port
        self.allowed = allowed
        self.local_names = local_names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and self._is_checked(scope)
            and not self._known(header_values(scope, b"host"))
        ):
            await error_response(scope, self._error())(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _is_checked(self, scope: Scope) -> bool:
        return self.port is None or bool(scope.get("server") and scope["server"][1] == self.port)

    def _known(self, hosts: list[bytes]) -> bool:
        if len(hosts) != 1:
            return False
        host = hosts[0].decode("latin-1")
        return (
            is_loopback_name(host)
            or host_name(host) in self.allowed
            or (self.local_names and _is_local_name(host_name(host)))
        )

    def _error(self) -> EdgeinferError:
        local = ["any other address", "names of the local network"] if self.local_names else []
        names = ", ".join(["localhost", "127.0.0.1", "[::1]", *local, *sorted(self.allowed)])
        return Forbidden(
            f"this server answers only to {names}",
            param="Host",
            hint="to allow another name: add it to allowed_hosts, then edgeinfer service restart",
        )


def host_name(host: str) -> str | None:
    """The name in a Host header, in lower case, without port and final dot; None if the header is malformed."""
    match = _HOST.fullmatch(host)
    return match["name"].lower().removesuffix(".") if match else None


def _is_local_name(name: str | None) -> bool:
    if not name:
        return False
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return "." not in name or name.endswith(LOCAL_DOMAINS)
    return True


def is_loopback_name(host: str) -> bool:
    """True if a Host header names this machine: localhost, 127.0.0.0/8 or [::1], with any port or a final dot."""
    name = host_name(host)
    if name is None:
        return False
    if name == "localhost":
        return True
    try:
        if name.startswith("["):
            return ipaddress.IPv6Address(name[1:-1]) == ipaddress.IPv6Address("::1")
        return ipaddress.IPv4Address(name).is_loopback
    except ValueError:
        return False


def parse_hosts(text: str) -> frozenset[str]:
    """Parse the setting `allowed_hosts`. Raises SettingsError."""
    hosts = frozenset(part.strip() for part in text.split(",") if part.strip())
    for part in sorted(hosts):
        if host_name(part) != part.lower().removesuffix("."):
            raise SettingsError(
                f"allowed_hosts: {part!r} is not a host name",
                param="allowed_hosts",
                hint="write names without scheme and port: board.lan,192.168.1.5",
            )
    return frozenset(part.lower().removesuffix(".") for part in hosts)
