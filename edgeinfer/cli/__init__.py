"""The `edgeinfer` command."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the command line and return its exit code: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C."""
    code = 1
    try:
        code = _run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # the reader of our output has left, as in `edgeinfer ... | head`
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # or the interpreter's last flush fails
    return code


def _run() -> int:
    from edgeinfer.cli.app import app
    from edgeinfer.cli.terminal import report_error
    from edgeinfer.errors import EdgeinferError

    try:
        app(prog_name="edgeinfer")
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else 0 if e.code is None else 1
    except EdgeinferError as e:
        report_error(e)
        return 1
    return 0
