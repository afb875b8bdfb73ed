"""`edgeinfer key`: who may use the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgeinfer.server.auth.keys import Key

File = Annotated[
    Path | None,
    typer.Option("--api-key-file", help="The file of keys. Default: the one of this machine's settings."),
]
Json = Annotated[bool, typer.Option("--json", help="For a program.")]


def add(
    name: Annotated[str, typer.Argument(help="Whom it is for: letters, digits, dots, dashes.")],
    requests_per_minute: Annotated[
        int | None, typer.Option(help="What its holder may ask; 0 is no limit. Default: the setting.", min=0)
    ] = None,
    concurrent_requests: Annotated[
        int | None, typer.Option(help="How much of it at once; 0 is no limit. Default: the setting.", min=0)
    ] = None,
    api_key_file: File = None,
    json: Json = False,
) -> None:
    """Make a key and print it, once: only its hash is kept.

    A daemon that asks for keys takes it from now on. One that was started without keys asks for them when it
    is started again.

    Examples:
      edgeinfer key add laptop
      edgeinfer key add guest --requests-per-minute 10 --concurrent-requests 1
    """
    import datetime

    from edgeinfer.cli import terminal
    from edgeinfer.server import audit
    from edgeinfer.server.auth import key_file
    from edgeinfer.server.auth.keys import NAME, Key, digest, generate

    if not NAME.fullmatch(name):
        raise typer.BadParameter("letters, digits, dots and dashes, 64 at the most", param_hint="NAME")
    path = _path(api_key_file)
    key = generate()
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    found = Key(name, digest(key.encode()), requests_per_minute, concurrent_requests, today)
    with key_file.editing(path) as lines:
        if name in (known.name for known in key_file.parsed(lines)[0]):
            raise typer.BadParameter(f"there is a key of that name in {path}", param_hint="NAME")
        lines.append(found.line())
    audit.report("key added", name=name, file=path)
    if json:
        _print_json({"name": name, "key": key, "file": str(path)})
        return
    terminal.write(f"{key}\n")
    terminal.say(f"Keep it: it is not shown again. Its hash is in {path}.")


def ls(api_key_file: File = None, json: Json = False) -> None:
    """List the keys by name. Nobody can tell what they are.

    Examples:
      edgeinfer key ls
    """
    from edgeinfer.cli import terminal
    from edgeinfer.errors import SettingsError
    from edgeinfer.server.auth import key_file

    path = _path(api_key_file)
    try:
        keys, bad = key_file.parsed(path.read_text().splitlines())
    except FileNotFoundError:
        keys, bad = [], []
    except (OSError, UnicodeDecodeError) as e:
        raise SettingsError(f"{path}: {e}", param="api_key_file") from e
    if json:
        _print_json([_shown(key) for key in keys])
    else:
        terminal.write("".join(f"{_line(key)}\n" for key in keys))
    for problem in bad:
        terminal.say(f"{path}: {problem}: no key")
    if not keys:
        terminal.say(f"no keys in {path}; hint: edgeinfer key add NAME")


def rm(
    name: Annotated[str, typer.Argument(help="The name it has in `edgeinfer key ls`.")],
    api_key_file: File = None,
) -> None:
    """Remove a key. A running daemon refuses it from now on.

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
                f"no key {name!r} in {path}", hint=f"the keys are: {', '.join(names) or 'none'}"
            )
        lines[:] = key_file.without(lines, name)
    audit.report("key removed", name=name, file=path)
    if set(names) == {name}:
        terminal.say("That was the last one: a running daemon lets nobody in.")
        terminal.say(f"hint: edgeinfer key add NAME; to serve this machine without keys: rm {path}")


def _shown(key: Key) -> dict[str, Any]:
    fields = ("name", "created", "requests_per_minute", "concurrent_requests")
    return {field: getattr(key, field) for field in fields}


def _line(key: Key) -> str:
    facts = [f"since {key.created}" if key.created else "written by hand"]
    if key.requests_per_minute is not None:
        facts.append(f"{key.requests_per_minute or 'any number of'} requests a minute")
    if key.concurrent_requests is not None:
        facts.append(f"{key.concurrent_requests or 'any number'} at once")
    return f"{key.name:<16}  {', '.join(facts)}"


def _path(given: Path | None) -> Path:
    from edgeinfer import settings
    from edgeinfer.server.auth.key_file import default_path

    named = given or settings.load().settings.api_key_file
    return Path(named) if named else default_path()


def _print_json(data: object) -> None:
    import msgspec

    from edgeinfer.cli import terminal

    terminal.write(msgspec.json.format(msgspec.json.encode(data)).decode() + "\n")
