"""Serves one `edgeinfer chat` or `code` on a unix socket: python -m edgeinfer.cli.private_serve SOCKET [MODEL]."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path

from msgspec.structs import replace

from edgeinfer import settings
from edgeinfer.cli.terminal import report_error
from edgeinfer.errors import EdgeinferError
from edgeinfer.server.run import exit_status, run


def main(socket: str, model: str | None = None) -> int:
    """Serve until stdin closes; return the exit code.

    The socket's folder keeps others out, so no key is needed. It is removed at the end.
    """
    _stop_with_parent()
    try:
        loaded = settings.load({"uds": socket, "model": model})
        return run(replace(loaded, settings=replace(loaded.settings, api_key_file="")))
    except EdgeinferError as e:
        report_error(e)
        return exit_status(e)
    finally:
        with contextlib.suppress(OSError):
            Path(socket).parent.rmdir()  # never one that holds anything else


def _stop_with_parent() -> None:
    """Stop once the other end of stdin closes, which also happens when our parent is killed."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
