"""The code assistant's terminal."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from edgeinfer.cli import terminal
from edgeinfer.cli.chat_session import AnswerPrinter
from edgeinfer.client.stream import Chunk
from edgeinfer.errors import EdgeinferError

WORDS = {"y": "[y]es", "n": "[n]o", "a": "[a]lways in this conversation", "e": "[e]dit", "q": "[q]uit"}

COLOURS = {"+++": "1", "---": "1", "@@": "36", "+": "32", "-": "31"}
"""By the beginning of a diff's line: bold, cyan, green and red."""

DOT_EACH = 40
"""Pieces of an answer that is not text, for each of which a dot shows that it goes on."""


class TerminalScreen:
    """Implements Screen. Answers and, with `dry_run`, diffs go to stdout; all that is asked about goes to stderr."""

    def __init__(self, *, dry_run: bool = False) -> None:
        self._dry_run = dry_run
        self._printer = AnswerPrinter()
        self._hidden = 0

    def chunk(self, chunk: Chunk, *, text: bool) -> None:
        if chunk.kind == "thinking" or (text and chunk.kind == "answer"):
            self._printer.add(chunk)
            return
        if self._hidden % DOT_EACH == 0:
            terminal.show_inline("(writing" if self._hidden == 0 else ".")
        self._hidden += 1

    def end_answer(self) -> None:
        if self._hidden:
            terminal.show(")")
        self._printer.end()
        self._printer, self._hidden = AnswerPrinter(), 0

    def say(self, text: str) -> None:
        terminal.say(text)

    def output(self, text: str) -> None:
        terminal.say_inline(text)

    def diff(self, lines: Iterable[str]) -> None:
        stream = sys.stdout if self._dry_run else sys.stderr
        coloured = terminal.has_colours(stream)
        for line in lines:
            text = terminal.escape_control(line)
            stream.write((_coloured(text) if coloured else text) + "\n")
        stream.flush()

    def ask(self, question: str, answers: str) -> str:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise EdgeinferError(
                f"{question} Nobody can be asked: this is not a terminal",
                hint="run the command in a terminal",
            )
        words = ", ".join(WORDS[letter] for letter in answers)
        while True:
            with suppress(termios.error):
                termios.tcflush(
                    sys.stdin, termios.TCIFLUSH
                )  # what was typed before the question is no answer
            terminal.say_inline(f"{question} {words}: ")
            line = sys.stdin.readline()
            if not line:  # Ctrl-D
                terminal.say()
                return "q" if "q" in answers else "n"
            if (letter := line.strip().lower()[:1]) and letter in answers:
                return letter

    def edit(self, text: str, name: str) -> str:
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        with tempfile.TemporaryDirectory(prefix="edgeinfer-") as folder:
            file = Path(folder, Path(name).name)
            file.write_text(text, encoding="utf-8", newline="")
            # Ctrl-C is for the editor alone; a handler, unlike SIG_IGN, does not pass to it.
            before = signal.signal(signal.SIGINT, lambda *_: None)
            try:
                done = subprocess.run([*shlex.split(editor), str(file)], check=False)
            except (OSError, ValueError) as e:
                raise EdgeinferError(
                    f"the editor {editor!r} cannot be started: {e}", hint="export EDITOR=nano"
                ) from e
            finally:
                signal.signal(signal.SIGINT, before)
            if done.returncode:
                raise EdgeinferError(f"the editor {editor!r} has failed: nothing is written")
            return file.read_bytes().decode("utf-8", "replace")


def _coloured(line: str) -> str:
    colour = next((code for start, code in COLOURS.items() if line.startswith(start)), None)
    return f"\x1b[{colour}m{line}\x1b[0m" if colour else line
