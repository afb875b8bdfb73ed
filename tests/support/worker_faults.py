"""A worker process with faults, which the environment variable WORKER_FAULTS describes as JSON.

    {"load": [{"if": {"repack": true}, "how": "SIGILL"}],     crashes while it loads with such a configuration
     "poison": {"token": 7, "position": 40, "how": "SIGSEGV"}} crashes when a prompt with this token gets so far

`how` is a signal that it sends itself, "memory", "gone" or "hang". `faulty` gives a client such workers.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.backends.llama_cpp import spawn

VARIABLE = "WORKER_FAULTS"


def faulty(monkeypatch: pytest.MonkeyPatch, **faults: Any) -> None:
    """Start workers with these faults from now on."""
    monkeypatch.setattr(spawn, "MODULE", "tests.support.worker_faults")
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    variables = {**spawn.ENVIRONMENT, VARIABLE: json.dumps(faults)}
    monkeypatch.setattr(spawn, "ENVIRONMENT", variables)


def die(how: str) -> None:
    if how == "memory":
        raise MemoryError
    if how == "gone":
        sys.stderr.write("CUDA error: device lost\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGABRT)
    if how == "hang":
        time.sleep(1e6)
    os.kill(os.getpid(), signal.Signals[how])


def main() -> int:
    from edgeinfer.backends.llama_cpp.config import LlamaConfig
    from edgeinfer.backends.llama_cpp.worker import process
    from edgeinfer.backends.llama_cpp.worker.early_model import EarlyModel
    from edgeinfer.backends.llama_cpp.worker.runtime import Progress, Runtime, open_runtime
    from edgeinfer.engine.backend import Backend, Batch, DecodeStatus

    faults = json.loads(os.environ[VARIABLE])

    def poisoned(backend: Backend, token: int, position: int, how: str) -> None:
        carriers: dict[int, bool] = {}
        decode = backend.decode

        def faulty_decode(batch: Batch) -> DecodeStatus:
            for i in range(batch.size):
                sequence, at = int(batch.sequences[i]), int(batch.positions[i])
                has_it = int(batch.tokens[i]) == token
                carriers[sequence] = has_it or (at > 0 and carriers.get(sequence, False))
                if carriers[sequence] and at >= position:
                    die(how)
            return decode(batch)

        backend.decode = faulty_decode  # type: ignore[method-assign]

    def open_faulty(
        config: LlamaConfig, markers: Sequence[str], progress: Progress, early: EarlyModel | None
    ) -> Runtime:
        for fault in faults.get("load", ()):
            if all(getattr(config, name) == value for name, value in fault["if"].items()):
                die(fault["how"])
        runtime = open_runtime(config, markers, progress, early)
        if "poison" in faults and runtime.backend:
            poisoned(runtime.backend, **faults["poison"])
        return runtime

    vars(process)["open_runtime"] = open_faulty
    return process.main()


if __name__ == "__main__":
    sys.exit(main())
