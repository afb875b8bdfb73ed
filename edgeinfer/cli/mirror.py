"""`edgeinfer mirror`."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeinfer.cli.option_values import number

if TYPE_CHECKING:
    from edgeinfer.hub.wheel_folder import WheelFolder
    from edgeinfer.store.store import Store

DEFAULT_PORT = 11436


def mirror(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 serves the whole network.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(help="TCP port to listen on; 0 picks a free one.", **number(int, ge=0, le=65535)),
    ] = DEFAULT_PORT,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File of API keys, one per line; clients send one as HF_TOKEN or as pip's password.",
        ),
    ] = None,
    wheels: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of wheels to serve to pip. Default: the one that scripts/wheelhouse fills, if it exists.",
        ),
    ] = None,
    same_cpu: Annotated[
        bool,
        typer.Option(
            "--same-cpu",
            help="Also serve wheels that were built for this machine's CPU: all clients have the same.",
        ),
    ] = False,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate for HTTPS, in PEM format.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Key of the certificate, if in another file.")
    ] = None,
) -> None:
    """Serve models and edgeinfer itself to other machines.

    It answers like a Hugging Face Hub, and pip like a package index. Clients can read models and wheels
    and write nothing, so no key is needed, even on a network.

    Examples:
      edgeinfer mirror --host 0.0.0.0

    On the other machine, for models and for edgeinfer itself:
      HF_ENDPOINT=http://ADDRESS:11436 edgeinfer install --auto-quant
      scripts/setup --wheelhouse http://ADDRESS:11436/simple/
    """
    from msgspec.structs import replace

    from edgeinfer import log, settings
    from edgeinfer.cli import terminal
    from edgeinfer.cli.mirror_server import mirror_server
    from edgeinfer.server.auth.key_file import KeyFile
    from edgeinfer.server.http.sockets import bind
    from edgeinfer.store.store import Store

    loaded = settings.load().settings
    folder = _wheel_folder(wheels, same_cpu=same_cpu)
    log.setup("info")
    keys = KeyFile(api_key_file) if api_key_file else None
    store = Store.of(loaded)
    tls = {"tls_cert": str(tls_cert) if tls_cert else None, "tls_key": str(tls_key) if tls_key else None}
    loaded = replace(loaded, host=host, port=port, uds=None, **tls)
    server = mirror_server(store, loaded, keys, folder)
    sockets = bind(loaded)
    try:
        scheme, bound = "https" if tls_cert else "http", sockets[0].getsockname()[1]
        for line in _greeting(store, scheme, host, bound, keyed=keys is not None):
            terminal.say(line)
        for line in _wheel_lines(folder, scheme, host, bound, keyed=keys is not None) if folder else ():
            terminal.say(line)
        server.run(sockets)
    finally:
        for sock in sockets:
            sock.close()


def _greeting(store: Store, scheme: str, host: str, port: int, *, keyed: bool) -> Iterator[str]:
    """Yield lines that say what is served, to whom, and how others use it."""
    from edgeinfer.server.http.sockets import is_loopback
    from edgeinfer.store.location import SYSTEM_STORE
    from edgeinfer.store.progress import size_text

    models = store.installed()
    count = f"{len(models)} model{'' if len(models) == 1 else 's'}"
    size = size_text(sum(model.size for model in models))
    who = "clients with a key" if keyed else "everyone who can reach this address"
    yield f"edgeinfer mirror: {count}, {size}, and the bundled model; read-only, for {who}"
    token = "HF_TOKEN=KEY " if keyed else ""
    for address in _addresses(host):
        yield f"  {token}HF_ENDPOINT={scheme}://{address}:{port} edgeinfer install --auto-quant"
    if is_loopback(host):
        yield "only this machine can reach it; to serve the network: --host 0.0.0.0"
    if not models and store.root != SYSTEM_STORE and (SYSTEM_STORE / "records").is_dir():
        yield f"The system service has its own models. To serve those: EDGEINFER_STORE={SYSTEM_STORE} edgeinfer mirror"


def _wheel_folder(path: Path | None, *, same_cpu: bool) -> WheelFolder | None:
    """Return the wheels to serve: those of a folder, which must exist, or those of the usual one if it does.

    Raises:
        SettingsError: there is no such folder.
    """
    from edgeinfer.errors import SettingsError
    from edgeinfer.hub.wheel_folder import WheelFolder
    from edgeinfer.user_folders import cache_folder

    folder = path or cache_folder() / "wheelhouse"
    if not folder.is_dir():
        if path or same_cpu:
            raise SettingsError(
                f"no such folder: {folder}", param="wheels", hint="scripts/wheelhouse makes one"
            )
        return None
    return WheelFolder(folder, same_cpu=same_cpu)


def _wheel_lines(folder: WheelFolder, scheme: str, host: str, port: int, *, keyed: bool) -> Iterator[str]:
    """Yield lines that say which wheels are served, how others install from them, and which are left out."""
    wheels = folder.wheels().values()
    size = sum(wheel.size for wheel in wheels)
    yield f"wheels for pip: {len(wheels)}, {size / 1e6:.0f} MB, from {folder.folder}"
    for wheel in folder.left_out():
        yield f"  left out: {wheel.path.name}: {wheel.reason}"
        if wheel.one_machine:
            yield "  for boards with this CPU: --same-cpu; for all: scripts/wheelhouse makes a portable one"
    if any(wheel.project == "edgeinfer" for wheel in wheels):
        user = "edgeinfer:KEY@" if keyed else ""
        for address in _addresses(host):
            index = f"{scheme}://{user}{address}:{port}/simple/"
            yield f"  scripts/setup --wheelhouse {index}"
            trusted = "" if scheme == "https" else f" --trusted-host {address}"
            yield f"  or without the repository: pip install --index-url {index}{trusted} edgeinfer"


def _addresses(host: str) -> list[str]:
    """Return addresses that reach a mirror listening on `host`, written as in a URL."""
    if host in ("0.0.0.0", "::", ""):
        import psutil

        # Link-local addresses also need the name of an interface.
        addresses = [
            address.address
            for interface in psutil.net_if_addrs().values()
            for address in interface
            if address.family == socket.AF_INET and not address.address.startswith(("127.", "169.254."))
        ]
        return addresses or ["127.0.0.1"]
    return [f"[{host}]" if ":" in host else host]
