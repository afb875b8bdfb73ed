"""llama.cpp's log lines, handed to Python's logging."""

from __future__ import annotations

import ctypes
import logging
from typing import Any, ClassVar

import llama_cpp.llama_cpp as lib

LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}
CONTINUES = 5
"""ggml's level for a text that goes on where the last one ended."""


class LogCapture:
    """Installs itself as llama.cpp's log callback, of which there is one in a process.

    Lines of level INFO are llama.cpp's verbose loading report, so they are logged as DEBUG. The last
    errors are kept, since a failed load says why in the log alone.
    """

    _installed: ClassVar[Any] = None
    """The callback that llama.cpp calls: it must not be freed, whatever becomes of us."""

    def __init__(self, logger: logging.Logger) -> None:
        self.errors: list[str] = []
        self._logger = logger
        self._text = ""
        self._level = logging.DEBUG
        self.install()

    @property
    def reason(self) -> str:
        """Why something has just failed."""
        return "; ".join(self.errors) or "llama.cpp gave no reason"

    def install(self) -> None:
        """Take over from whichever was installed last."""
        callback = lib.llama_log_callback(self._write)
        lib.llama_log_set(callback, ctypes.c_void_p(0))
        LogCapture._installed = callback  # and not before: the last one was in use until now

    def _write(self, level: int, text: bytes, _: ctypes.c_void_p) -> None:
        if level != CONTINUES:
            self._level = LEVELS.get(level, logging.DEBUG)
        self._text += text.decode("utf-8", "replace")
        *lines, self._text = self._text.split("\n")
        for line in filter(None, map(str.strip, lines)):
            self._line(line)

    def _line(self, line: str) -> None:
        if self._level >= logging.ERROR:
            self.errors = [*self.errors[-9:], line]
        self._logger.log(logging.DEBUG if self._level == logging.INFO else self._level, line)
