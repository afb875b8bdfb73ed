"""Reads a model before the daemon has said what to load: the one that it loaded first the last time."""

from __future__ import annotations

import logging
import os
import select
import socket
import time
from pathlib import Path
from typing import NamedTuple

from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
from edgeinfer.backends.llama_cpp.binding.model import LlamaModel
from edgeinfer.backends.llama_cpp.first_load import read_first_load
from edgeinfer.backends.llama_cpp.messages import LoadProgress, ToWorker
from edgeinfer.backends.llama_cpp.worker.affinity import pin_to
from edgeinfer.backends.llama_cpp.worker.confine import confine_worker
from edgeinfer.backends.llama_cpp.worker.runtime import Progress
from edgeinfer.errors import ModelLoadFailed
from edgeinfer.hardware.memory import memory
from edgeinfer.ipc.confinement.confinement import Confinement
from edgeinfer.ipc.framing import FrameSocket

SPARE_MEMORY = 1.25
"""Available memory as a multiple of the file's size, below which the plan has to say first what fits."""


class EarlyModel(NamedTuple):
    """What a worker has when its first message comes.

    Attributes:
        model: None if it could not be read, which another attempt will explain.
        confinement: the layers that hold for this process, and for that model alone.
        seconds: how long it took.
    """

    model: LlamaModel | None
    log: LogCapture
    confinement: Confinement
    seconds: float


def early_progress(channel: FrameSocket[ToWorker], ours: socket.socket) -> Progress:
    """A callback that sends progress over `ours`, once the start has come and somebody reads what is sent.

    It ends the process if the daemon is gone.
    """

    def report(share: float) -> None:
        if select.select([ours], [], [], 0)[0]:
            try:
                channel.send(LoadProgress(share))
            except OSError:
                os._exit(0)

    return report


def read_early(record: bytes, progress: Progress = lambda _: None) -> EarlyModel | None:
    """Read the model that a record of a first load names; None if there is none, or it had better wait.

    Unless it is None, this process is confined to what that model needs. `progress` is called now and then with the
    share that has been read.
    """
    first = read_first_load(record)
    if first is None or not first.may_be_early:
        return None
    if (memory(Path("/")).available or 0) < SPARE_MEMORY * first.size:
        return None
    started = time.monotonic()
    pin_to(first.load.config.cpus)
    confinement = confine_worker(first.load)
    log = LogCapture(logging.getLogger("llama.cpp"))
    try:
        model = LlamaModel(first.load.config, log, progress)
    except ModelLoadFailed:
        model = None
    return EarlyModel(model, log, confinement, time.monotonic() - started)
