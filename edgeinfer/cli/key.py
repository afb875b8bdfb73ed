"""`edgeinfer key`: the API keys of the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeinfer.cli.common_options import Json
from edgeinfer.cli.option_values import number

if TYPE_CHECKING:
    from edgeinfer.server.auth.keys import Key

KeyFilePath = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file",
        metavar="FILE",
        help="File of API keys. Default: the one in this machine's settings.",
    ),
]


def add(
    name: Annotated[str, typer.Argument(help="Name of the key's owner: letters, digits, dots and dashes.")],
    requests_per_minute: Annotated[
        int | None,
        typer.Option(
            help="Requests per minute with this key; 0 is no limit. Default: the setting.",
            **number(int, ge=0),
        ),
    ] = None,
    concurrent_requests: Annotated[
        int | None,
        typer.Option(
            help="Requests in progress with this key; 0 is no limit. Default: the setting.",
            **number(int, ge=0),
        ),
    ] = None,
    admin: Annotated[
        bool, typer.Option("--admin", help="Also allow loading, unloading, downloading and deleting models.")
    ] = False,
    api_key_file: KeyFilePath = None,
    json: Json = False,
) -> None:
    """Create a key and print it, once: only its hash is stored.

    A daemon that requires keys accepts it at once. One that was started without keys requires them after a
    restart.

    Examples:
      edgeinfer key add laptop
      edgeinfer key add guest --requests-per-minute 10 --concurrent-requests 1
      edgeinfer key add me --admin
    """
    import datetime

    from edgeinfer.cli import terminal
    from edgeinfer.server import audit
    from edgeinfer.server.auth import key_file
    from edgeinfer.server.auth.keys import NAME, Key, digest, generate

    if not NAME.fullmatch(name):
        raise typer.BadParameter("use letters, digits, dots and dashes, at most 64", param_hint="NAME")
    path = _path(api_key_file, "add", name)
    key = generate()
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    entry = Key(name, digest(key.encode()), requests_per_minute, concurrent_requests, today, admin)
    with key_file.editing(path) as lines:
        if name in (known.name for known in key_file.parsed(lines)[0]):
            raise typer.BadParameter(f"{path} already has a key of that name", param_hint="NAME")
        lines.append(entry.line())
    audit.report("key added", name=name, file=path)
    if json:
        terminal.write_json({"name": name, "key": key, "file": str(path)})
        return
    terminal.write(f"{key}\n")
    terminal.say(f"Keep it: it is not shown again. Its hash is stored in {path}.")
    if api_key_file is None and _is_open():
        terminal.say("The running daemon still answers without a key, until it is started again.")
        terminal.say(f"hint: {_restart_hint()}")


def ls(api_key_file: KeyFilePath = None, json: Json = False) -> None:
    """List the names and limits of the keys, not the keys themselves.

    Examples:
      edgeinfer key ls
    """
    from edgeinfer.cli import terminal
    from edgeinfer.errors import SettingsError
    from edgeinfer.server.auth import key_file

    path = _path(api_key_file, "ls")
    try:
        keys, bad = key_file.parsed(path.read_text(encoding="utf-8-sig").splitlines())
    except FileNotFoundError:
        keys, bad = [], []
    except (OSError, UnicodeDecodeError) as e:
        raise SettingsError(f"{path}: {e}", param="api_key_file") from e
    if json:
        terminal.write_json([_as_json(key) for key in keys])
    else:
        terminal.write("".join(f"{_line(key)}\n" for key in keys))
    for problem in bad:
        terminal.say(f"warning: {path}: {problem}; the line is ignored")
    if not keys:
        terminal.say(f"there are no keys in {path}\nhint: edgeinfer key add NAME")


def rm(
    name: Annotated[str, typer.Argument(help="Name of the key, as in `edgeinfer key ls`.")],
    api_key_file: KeyFilePath = None,
) -> None:
    """Remove a key. A running daemon refuses it at once.

    Examples:
      edgeinfer key rm laptop
    """
    from edgeinfer.cli import terminal
    from edgeinfer.errors import SettingsError
    from edgeinfer.server import audit
    from edgeinfer.server.auth import key_file

    path = _path(api_key_file, "rm", name)
    with key_file.editing(path) as lines:
        names = [key.name for key in key_file.parsed(lines)[0]]
        if name not in names:
            raise SettingsError(
                f"there is no key {name!r} in {path}", hint=f"the keys are: {', '.join(names) or 'none'}"
            )
        lines[:] = key_file.without(lines, name)
    audit.report("key removed", name=name, file=path)
    if set(names) == {name}:
        terminal.say("That was the last key: a running daemon now refuses all requests.")
        terminal.say(f"hint: edgeinfer key add NAME; to serve this machine without keys: rm {path}")


def _as_json(key: Key) -> dict[str, Any]:
    fields = ("name", "created", "requests_per_minute", "concurrent_requests", "admin")
    return {field: getattr(key, field) for field in fields}


def _line(key: Key) -> str:
    facts = [f"since {key.created}" if key.created else "added by hand"]
    if key.admin:
        facts.append("admin")
    if key.requests_per_minute is not None:
        facts.append(f"{key.requests_per_minute or 'any number of'} requests per minute")
    if key.concurrent_requests is not None:
        facts.append(f"{key.concurrent_requests or 'any number'} at a time")
    return f"{key.name:<16}  {', '.join(facts)}"


def _path(path: Path | None, *command: str) -> Path:
    """Return the key file: `path`, or the one that the service or this user's daemon reads.

    Raises:
        SettingsError: that would not be the one that the service on this machine reads.
    """
    from edgeinfer import settings
    from edgeinfer.server.auth.key_file import default_path

    loaded = settings.load()
    if path is None and not loaded.sources["api_key_file"].startswith("env"):
        _check_owner(*command)
    chosen = path or loaded.settings.api_key_file
    return Path(chosen) if chosen else default_path()


def _check_owner(*command: str) -> None:
    """Check that the keys of this user are those of the service on this machine, if there is one.

    Raises:
        SettingsError: the service belongs to another user, who has another key file.
    """
    import shlex

    from edgeinfer.errors import ServiceFailed, SettingsError
    from edgeinfer.service.discovery import check_default_scope, default_scope, installed_manager

    words = shlex.join(["edgeinfer", "key", *command])
    other = f"for a daemon that reads another file: {words} --api-key-file PATH"
    manager = installed_manager()
    if default_scope() == "user" and manager.scope == "system":
        raise SettingsError(
            "the service of this machine has keys of its own, which only root can read",
            param="api_key_file",
            hint=f"sudo {words}; {other}",
        )
    if not any(file.exists() for file in manager.paths()):
        try:
            check_default_scope()
        except ServiceFailed as e:
            raise SettingsError(
                f"{e.message}, with keys of its own",
                param="api_key_file",
                hint=f"without sudo: {words}; {other}",
            ) from e


def _is_open() -> bool:
    """Tell whether the daemon runs and answers without a key."""
    import httpx

    from edgeinfer.client.http import connect, target_of
    from edgeinfer.errors import EdgeinferError
    from edgeinfer.settings import load

    try:
        target = target_of(load().settings)
        with connect(target) as client:
            client.headers.pop("Authorization", None)
            return client.get("/v1/models", timeout=5.0).is_success
    except (EdgeinferError, httpx.HTTPError):
        return False


def _restart_hint() -> str:
    from edgeinfer.cli.pasteable import as_root, pasteable
    from edgeinfer.service.discovery import installed_manager

    manager = installed_manager()
    if not manager.status().pid:
        return "stop it, and start it again"
    command = "edgeinfer service restart"
    return pasteable(as_root(command) if manager.scope == "system" else command)
