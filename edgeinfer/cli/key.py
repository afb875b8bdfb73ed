"""`edgeinfer key`: the API keys of the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeinfer.cli.common_options import Json

if TYPE_CHECKING:
    from edgeinfer.server.auth.keys import Key

KeyFilePath = Annotated[
    Path | None,
    typer.Option("--api-key-file", help="File of API keys. Default: the one in this machine's settings."),
]


def add(
    name: Annotated[str, typer.Argument(help="Name of the key's owner: letters, digits, dots and dashes.")],
    requests_per_minute: Annotated[
        int | None,
        typer.Option(help="Requests per minute with this key; 0 is no limit. Default: the setting.", min=0),
    ] = None,
    concurrent_requests: Annotated[
        int | None,
        typer.Option(help="Requests in progress with this key; 0 is no limit. Default: the setting.", min=0),
    ] = None,
    admin: Annotated[
        bool, typer.Option("--admin", help="Also allow loading and unloading models with this key.")
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
    path = _path(api_key_file)
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


def ls(api_key_file: KeyFilePath = None, json: Json = False) -> None:
    """List the names and limits of the keys, not the keys themselves.

    Examples:
      edgeinfer key ls
    """
    from edgeinfer.cli import terminal
    from edgeinfer.errors import SettingsError
    from edgeinfer.server.auth import key_file

    path = _path(api_key_file)
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

    path = _path(api_key_file)
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


def _path(path: Path | None) -> Path:
    from edgeinfer import settings
    from edgeinfer.server.auth.key_file import default_path

    chosen = path or settings.load().settings.api_key_file
    return Path(chosen) if chosen else default_path()
