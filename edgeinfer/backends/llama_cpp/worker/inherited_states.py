"""Takes over what the worker before has left in the daemon's memory."""

from __future__ import annotations

import logging
import os

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.worker.prefix_store import state_fingerprint
from edgeinfer.engine.state_memory import StateMemory

log = logging.getLogger("edgeinfer.worker")


def inherited_states(descriptor: int, config: LlamaConfig) -> StateMemory | None:
    """The states in the file. None if nothing is to be kept in RAM, or the file cannot be used."""
    try:
        if config.ram_cache_mb:
            return StateMemory(descriptor, config.ram_cache_mb * 1_000_000, state_fingerprint(config))
        os.ftruncate(descriptor, 0)  # the worker before may have died because it had too much
    except (OSError, ValueError, OverflowError) as e:  # a process of 32 bits cannot map every size
        log.warning("what is kept in RAM will not outlive the worker: %s", e)
    return None
