"""Binds the daemon's sockets before anything is loaded, so that a port in use is reported at once.

The service manager may pass sockets instead (sd_listen_fds(3)). They exist before and after the daemon, and their
address takes precedence over the settings.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from collections.abc import MutableMapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from edgeinfer.errors import CannotListen, SettingsError
from edgeinfer.settings import Settings

BACKLOG = 4096
"""Connections that may wait to be accepted; if there are more, clients try again after a second. The system may set a
lower limit (net.core.somaxconn)."""

UNIX_MODE = 0o660
"""Owner and group may connect."""

LOOPBACK = "127.0.0.1"

OLLAMA_RUNS = "Ollama is probably running: stop it (sudo systemctl stop ollama), or start without ollama_port"

FIRST_FD = 3
"""The first descriptor that a service manager passes."""


def is_loopback(host: str) -> bool:
    """True if only this machine can reach `host`. Of names, only localhost counts as loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


NUMERIC = frozenset("0123456789.:")
"""Characters of addresses; a host of these alone is no name."""


def is_address(host: str) -> bool:
    """Tell whether a host is an address, or may be the name of one."""
    if not (set(host) <= NUMERIC or set(host) & {":", "/"}):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check_exposure(settings: Settings) -> None:
    """Raise SettingsError if the host is none, or if other machines could use the daemon without a key."""
    if settings.uds is None and not is_address(settings.host):
        raise SettingsError(
            f"host {settings.host!r} is not an address or name of this machine",
            param="host",
            hint="127.0.0.1 for this machine alone, 0.0.0.0 for all; the port is a setting of its own",
        )
    if settings.uds is None and not settings.api_key_file and not is_loopback(settings.host):
        raise SettingsError(
            f"{settings.host} can be reached from other machines, and there is no key",
            param="host",
            hint="create one: edgeinfer key add NAME",
        )


def inherited_sockets(environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """The listening sockets that the service manager passed to this process, if any.

    The variables are removed from `environ`: they do not concern child processes.

    Raises:
        SettingsError: something other than a listening stream socket was passed.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    return [_inherited(fd) for fd in range(FIRST_FD, FIRST_FD + int(count))]


def _inherited(fd: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=fd)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as e:
        raise SettingsError(f"descriptor {fd} from the service manager: {e.strerror}") from e
    families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
    if sock.type != socket.SOCK_STREAM or not listens or sock.family not in families:
        sock.close()
        raise SettingsError(
            f"descriptor {fd} from the service manager is not a listening stream socket",
            hint="edgeinfer.socket needs ListenStream= and Accept=no",
        )
    sock.set_inheritable(False)
    return sock


def with_address(settings: Settings, sockets: Sequence[socket.socket]) -> Settings:
    """`settings` with the address of `sockets`; if there are several, one that other machines can reach."""
    if not sockets:
        return settings
    addresses = [sock.getsockname() for sock in sockets if sock.family != socket.AF_UNIX]
    if not addresses:
        return replace(settings, uds=sockets[0].getsockname())
    host, port, *_ = min(addresses, key=lambda address: is_loopback(address[0]))
    return replace(settings, host=host, port=port, uds=None)


def bind(settings: Settings) -> list[socket.socket]:
    """Listening sockets, one for each address of the host name, all with the same port.

    Raises:
        CannotListen: the address is in use, or does not belong to this machine.
        SettingsError: it is not an address.
    """
    if settings.uds is not None:
        return [_bind_unix(Path(settings.uds))]
    sockets: list[socket.socket] = []
    for family, address in _addresses(settings):
        port = sockets[0].getsockname()[1] if sockets else settings.port
        try:
            sockets.append(_bind_tcp(family, (address[0], port, *address[2:])))
        except OSError as e:
            # localhost is also ::1, which a machine without IPv6 cannot bind; a port in use is an error.
            if e.errno != errno.EADDRNOTAVAIL or family != socket.AF_INET6:
                _close(sockets)
                raise _cannot_listen(settings, e) from e
    if not sockets:
        raise CannotListen(
            f"cannot listen on {settings.host}: this machine has no such address", param="host"
        )
    return sockets


def bind_ollama(settings: Settings) -> list[socket.socket]:
    """The listening socket at `ollama_port`; none if that is not set.

    Raises:
        CannotListen: the port is in use.
    """
    if settings.ollama_port is None:
        return []
    try:
        return [_bind_tcp(socket.AF_INET, (LOOPBACK, settings.ollama_port))]
    except OSError as e:
        where = f"{LOOPBACK}:{settings.ollama_port}"
        hint = OLLAMA_RUNS if e.errno == errno.EADDRINUSE else None
        raise CannotListen(
            f"cannot listen on {where}: {e.strerror or e}", param="ollama_port", hint=hint
        ) from e


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _cannot_listen(settings: Settings, error: OSError) -> CannotListen:
    hints = {
        errno.EACCES: "only root may listen there: choose a --port of 1024 or above",
        errno.EADDRNOTAVAIL: "--host must be an address of this machine: ip -brief address",
    }
    hint = hints.get(
        error.errno or 0,
        "edgeinfer status shows whether it is already running; otherwise choose another --port",
    )
    where = f"{settings.host}:{settings.port}"
    return CannotListen(f"cannot listen on {where}: {error.strerror or error}", param="port", hint=hint)


def _addresses(settings: Settings) -> list[tuple[int, tuple[object, ...]]]:
    try:
        addresses = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as e:
        raise SettingsError(f"host {settings.host!r}: {e.strerror}", param="host") from e
    return [(family, address) for family, _, _, _, address in addresses]


def _bind_tcp(family: int, address: tuple[object, ...]) -> socket.socket:
    # With the protocol named, asyncio turns off Nagle's algorithm: a body would wait 40 ms for the headers' ACK.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)  # before this, a second daemon could bind the port as well
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_unix(path: Path) -> socket.socket:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(UNIX_MODE)  # before listen, so that no client connects with other rights
        sock.listen(BACKLOG)
    except OSError as e:
        sock.close()
        raise CannotListen(f"cannot listen on {path}: {e.strerror or e}", param="uds") from e
    return sock


def _remove_stale(path: Path) -> None:
    """Remove the socket of a dead daemon, but neither a socket in use nor any other file."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise SettingsError(f"{path} exists and is not a socket", param="uds")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                raise CannotListen(f"another daemon listens on {path}", param="uds", hint="edgeinfer status")


def address(sock: socket.socket, *, tls: bool = False) -> str:
    """The address in the form that clients use."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if sock.family == socket.AF_INET6 else name[0]
    return f"http{'s' if tls else ''}://{host}:{name[1]}"
