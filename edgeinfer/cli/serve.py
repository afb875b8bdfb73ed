"""`edgeinfer serve`: the daemon in the foreground."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeinfer.cli.options import with_settings

if TYPE_CHECKING:
    from edgeinfer.settings import Loaded


@with_settings
def serve(
    flags: dict[str, Any], *, private: Annotated[bool, typer.Option("--private", hidden=True)] = False
) -> None:
    """Run the daemon in the foreground until Ctrl-C or SIGTERM.

    Examples:
      edgeinfer serve                              the bundled model on http://127.0.0.1:11435
      edgeinfer serve --model ~/qwen3-0.6b.gguf    any GGUF file
      edgeinfer serve --ctx 8192 --parallel 4      longer conversations, four at a time

    Every option can also be set in the configuration file or in the environment
    (--drain-timeout is EDGEINFER_DRAIN_TIMEOUT there); options given here take precedence.
    """
    from edgeinfer import settings
    from edgeinfer.cli.terminal import report_error
    from edgeinfer.errors import EdgeinferError
    from edgeinfer.server.run import exit_status, run

    try:
        loaded = settings.load(flags)
        status = _run_private(loaded) if private else run(loaded)
    except EdgeinferError as e:
        report_error(e)
        status = exit_status(e)
    raise typer.Exit(status)


def _run_private(loaded: Loaded) -> int:
    """Serve one `edgeinfer chat`: the socket's folder keeps others out, so no key is needed."""
    import contextlib
    from pathlib import Path

    from msgspec.structs import replace

    from edgeinfer.server.run import run

    _stop_with_parent()
    try:
        return run(replace(loaded, settings=replace(loaded.settings, api_key_file="")))
    finally:
        with contextlib.suppress(OSError):
            Path(loaded.settings.uds or "").parent.rmdir()  # never one that holds anything else


def _stop_with_parent() -> None:
    """Stop once the other end of stdin closes, which also happens when our parent is killed."""
    import os
    import signal
    import threading

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()
