"""`edgeinfer serve`: the daemon in the foreground."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgeinfer.cli.options import with_settings


@with_settings
def serve(
    flags: dict[str, Any],
    *,
    name: Annotated[str | None, typer.Argument(metavar="MODEL", help="As --model.")] = None,
) -> None:
    """Run the daemon in the foreground until Ctrl-C or SIGTERM.

    Without a model named here or in the configuration file, it serves the chat model installed last, or else the
    bundled one.

    Examples:
      edgeinfer serve                          http://127.0.0.1:11435 in a browser
      edgeinfer serve qwen3-0.6b               a model that is installed
      edgeinfer serve --model ~/model.gguf     any GGUF file
      edgeinfer serve --ctx 8192 --parallel 4  long conversations, four at a time

    Clients of OpenAI's API use http://127.0.0.1:11435/v1.

    Every option can also be set in the configuration file or in the environment
    (--drain-timeout is EDGEINFER_DRAIN_TIMEOUT there); options given here take precedence.
    """
    from edgeinfer import settings
    from edgeinfer.cli.terminal import report_error
    from edgeinfer.errors import EdgeinferError
    from edgeinfer.server.run import exit_status, run

    if name is not None and flags.setdefault("model", name) != name:
        raise typer.BadParameter(f"both {name} and --model {flags['model']} are given")
    try:
        status = run(settings.load(flags))
    except EdgeinferError as e:
        report_error(e)
        status = exit_status(e)
    raise typer.Exit(status)
