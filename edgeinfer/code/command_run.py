"""Runs a command that the user has allowed, shows its output and keeps the end of it for the model."""

from __future__ import annotations

import codecs
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import msgspec
from msgspec.structs import replace

from edgeinfer.code.git_places import MAX_FOLDERS, find_git_places
from edgeinfer.code.sandbox import CommandJob, Sandbox
from edgeinfer.code.visible import visible
from edgeinfer.errors import EdgeinferError

MAX_SHOWN = 200_000
"""Characters of a command's output that are shown; a program may print without end."""

MAX_KEPT = 20_000
"""Characters from the beginning and the end of the output, together, that the model can be given."""

MAX_PROTECTED = 500
"""Places that a sandbox can be told of."""

MAX_NAMES = 10
"""Files that a warning names."""

TIMEOUT = 600.0
"""Seconds."""


class CommandResult(msgspec.Struct, frozen=True):
    """The end of a command.

    Attributes:
        output: what it wrote to stdout and stderr; the middle of a long one is left out, and says so.
        timed_out: it was ended after `TIMEOUT`.
    """

    code: int
    output: str
    timed_out: bool = False

    def __str__(self) -> str:
        return f"still running after {TIMEOUT:g} s, and ended" if self.timed_out else f"exit code {self.code}"


def run_command(
    line: str, sandbox: Sandbox, show: Callable[[str], None], timeout: float = TIMEOUT
) -> CommandResult:
    """Run a shell's command line until it ends. Ctrl-C ends it and whatever it has started.

    What has changed by then of what tells git which programs to start, is shown.
    """
    root = Path(sandbox.root)
    before = find_git_places(root)
    if not before.complete:
        show(f"(only the first {MAX_FOLDERS:,} folders of {root} were searched for git repositories)\n")
    if sandbox.kind != "none" and len(before.protected) > MAX_PROTECTED:
        raise EdgeinferError(
            f"{root} has more than {MAX_PROTECTED} git repositories in it", hint="change to the folder of one"
        )
    try:
        return _run(line, replace(sandbox, protected=before.protected), show, timeout)
    finally:
        _report(find_git_places(root).changed_since(before), show)


def _report(changed: Sequence[str], show: Callable[[str], None]) -> None:
    if changed:
        names = ", ".join(visible(name).replace("\n", "\\n") for name in changed[:MAX_NAMES])
        more = f" and {len(changed) - MAX_NAMES} more" if len(changed) > MAX_NAMES else ""
        show(
            f"\nwarning: the command has changed what tells git which programs to start: {names}{more}\n"
            "Your next git command, or your editor's, may start them: look at the files first.\n"
        )


def _run(line: str, sandbox: Sandbox, show: Callable[[str], None], timeout: float) -> CommandResult:
    with tempfile.TemporaryDirectory(prefix="edgeinfer-", ignore_cleanup_errors=True) as temporary:
        job = CommandJob(line, sandbox, temporary)
        output = CommandOutput(show)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        deadline = time.monotonic() + timeout
        timed_out = False
        process = subprocess.Popen(
            job.program(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )
        assert process.stdin
        assert process.stdout
        try:
            while True:
                if not timed_out and not _is_readable(process.stdout, deadline):
                    timed_out = True
                    process.stdin.close()  # the rest is what it has written by then
                if not (block := process.stdout.read(8192)):
                    break
                output.add(decoder.decode(block))
            output.add(decoder.decode(b"", final=True))
        finally:
            process.stdin.close()  # which ends what still runs
            process.wait()
            process.stdout.close()
        return CommandResult(process.returncode, output.kept(), timed_out)


def _is_readable(pipe: IO[bytes], deadline: float) -> bool:
    """Wait until there is something to read, or the end of it; -> False at the deadline.

    No thread does this: one would keep the interpreter from ending after a Ctrl-C just after it has started.
    """
    left = deadline - time.monotonic()
    return left > 0 and bool(select.select([pipe], [], [], left)[0])


class CommandOutput:
    """Shows output as it comes, and keeps its beginning and its end."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._shown = 0
        self._head = ""
        self._tail = ""
        self._left_out = 0

    def add(self, text: str) -> None:
        """Take the next piece."""
        room = MAX_SHOWN - self._shown
        if room > 0:
            self._show(text[:room])
            if len(text) >= room:
                self._show("\n(more output follows, which is not shown)\n")
        self._shown += len(text)
        space = MAX_KEPT // 4 - len(self._head)
        self._head, rest = self._head + text[:space], text[space:]
        tail = self._tail + rest
        kept = MAX_KEPT - MAX_KEPT // 4
        self._left_out += max(0, len(tail) - kept)
        self._tail = tail[-kept:]

    def kept(self) -> str:
        """Return the output, with a note where something is left out."""
        note = f"\n[{self._left_out} characters left out]\n" if self._left_out else ""
        return self._head + note + self._tail
