"""A worker's log, which its daemon writes."""

from __future__ import annotations

import logging
import os
from logging.handlers import MemoryHandler

from edgeinfer.backends.llama_cpp.messages import LogLine, ToWorker
from edgeinfer.ipc.framing import FrameSocket


class WorkerLog(MemoryHandler):
    """Sends log records to the daemon; those before `start` wait for it.

    Nobody reads them until then, and a socket that is full would stop the worker.
    """

    def __init__(self, channel: FrameSocket[ToWorker]) -> None:
        super().__init__(capacity=1)
        self._sender = _Sender(channel)

    def start(self) -> None:
        self.setTarget(self._sender)
        self.flush()


class _Sender(logging.Handler):
    def __init__(self, channel: FrameSocket[ToWorker]) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._channel.send(LogLine(record.levelno, record.name, self.format(record)))
        except OSError:
            os._exit(1)  # the daemon is gone
