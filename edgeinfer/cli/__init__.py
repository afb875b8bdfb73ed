"""The `edgeinfer` command."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import sys
from typing import TYPE_CHECKING

from edgeinfer.backends.llama_cpp.spawn import discard, record_of, start_ahead

if TYPE_CHECKING:
    from edgeinfer.errors import EdgeinferError


def main() -> int:
    """Run the command line and return its exit code: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C."""
    from edgeinfer.cli.completion_scripts import VARIABLE

    code = 1
    _open_streams()
    try:
        code = _complete() if VARIABLE in os.environ else _run()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # the reader of our output has left, as in `edgeinfer ... | head`
        _discard_output()
    finally:
        discard()  # there was an error before anything was to be loaded
    return code


def _complete() -> int:
    """Answer a shell that completes a command line. It has no place for an error: nothing is completed then."""
    from edgeinfer.cli.completion_scripts import VARIABLE
    from edgeinfer.cli.completion_words import answer
    from edgeinfer.errors import EdgeinferError

    with contextlib.suppress(EdgeinferError, OSError):
        answer(sys.argv[1:], os.environ[VARIABLE])
    sys.stdout.flush()
    return 0


def _discard_output() -> None:
    """Give what has not been written yet to nobody, or the interpreter's last flush fails."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_streams() -> None:
    """Open what a cron wrapper or a daemon has closed, in the order of the descriptors.

    Python sets such a stream to None, and its descriptor would go to the next file or socket that is opened.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # Output that nobody can read is a failure, as it is for other commands; a message to nobody is none.
            flags = os.O_WRONLY if name == "stderr" else os.O_RDONLY
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))


def _run() -> int:
    if sys.argv[1:2] == ["serve"] and not {"-h", "--help"} & set(sys.argv):
        start_ahead(record_of(sys.argv[1:]))  # it has as much to do as we, and we have not begun
        gc.disable()  # until the app is built: what is imported stays, and looking through it takes a tenth of the time
    from edgeinfer.cli.app import app
    from edgeinfer.cli.service import point_to_service
    from edgeinfer.cli.terminal import report_error
    from edgeinfer.errors import EdgeinferError, NotReady

    try:
        try:
            app(prog_name="edgeinfer")
        finally:
            sys.stdout.flush()
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else 0 if e.code is None else 1
    except EdgeinferError as e:
        if isinstance(e, NotReady):
            point_to_service(e)
        report_error(e)
        return 1
    except OSError as e:
        if (error := _translated(e)) is None:
            raise
        if e.errno == errno.EBADF:
            _discard_output()
        report_error(error)
        return 1
    return 0


def _translated(error: OSError) -> EdgeinferError | None:
    """Return the error in words, if it is one of the machine's and none of ours: a traceback would explain nothing."""
    from edgeinfer.errors import SettingsError

    if error.errno == errno.EBADF and error.filename is None:
        return SettingsError("there is no output to write to: it was closed (>&-)")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SettingsError(f"{error.filename or 'the output'}: {error.strerror}")
    if error.filename is None:
        return None
    hint = None
    if isinstance(error, PermissionError):
        hint = "run this as the user that it belongs to, or set HOME and the XDG_ variables to folders of your own"
    return SettingsError(f"{error.filename}: {error.strerror}", hint=hint)
