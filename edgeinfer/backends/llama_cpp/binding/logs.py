"""Passes llama.cpp's log lines to Python's logging."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from typing import Any, ClassVar

import llama_cpp.llama_cpp as lib

LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}
CONTINUATION = 5
"""ggml's level for a text that continues the previous one."""


class LogCapture:
    """Installs itself as llama.cpp's log callback; a process has only one.

    llama.cpp's INFO lines are its verbose loading report, so they are logged as DEBUG. The last errors are kept,
    because only the log says why a load failed. While `is_aborting`, its errors are what was asked for.
    """

    _installed: ClassVar[Any] = None
    """The callback that llama.cpp calls; it must outlive the instance."""

    def __init__(self, logger: logging.Logger) -> None:
        self.errors: list[str] = []
        self.is_aborting: Callable[[], bool] = lambda: False
        self._logger = logger
        self._text = ""
        self._level = logging.DEBUG
        self.install()

    @property
    def reason(self) -> str:
        """Why the last operation failed."""
        return "; ".join(self.errors) or "llama.cpp gave no reason"

    def install(self) -> None:
        """Become the log callback in place of the one installed last."""
        callback = lib.llama_log_callback(self._write)
        lib.llama_log_set(callback, ctypes.c_void_p(0))
        LogCapture._installed = callback  # only now: the previous callback was in use until here

    def _write(self, level: int, text: bytes, _: ctypes.c_void_p) -> None:
        if level != CONTINUATION:
            self._level = LEVELS.get(level, logging.DEBUG)
        self._text += text.decode("utf-8", "replace")
        *lines, self._text = self._text.split("\n")
        for line in filter(None, map(str.strip, lines)):
            self._line(line)

    def _line(self, line: str) -> None:
        if self._level == logging.INFO or self.is_aborting():
            self._logger.debug("%s", line)
            return
        if self._level >= logging.ERROR:
            self.errors = [*self.errors[-9:], line]
        self._logger.log(self._level, "%s", line)
