"""Confines a worker to the files that its model needs."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

from edgeinfer.backends.llama_cpp.messages import Load
from edgeinfer.ipc.confinement.confinement import Confinement, confine_process
from edgeinfer.ipc.confinement.file_access import llama_files


def confine_worker(load: Load) -> Confinement:
    """Forbid all that this model does not need; to be called before llama.cpp starts its threads."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would contain prompts
    if not load.confine:
        return Confinement(missing=("confinement: the setting confine is off",))
    config, change = load.config, []
    if load.prefix_cache:
        change.append(load.prefix_cache.directory)
        with contextlib.suppress(OSError):  # told when the cache is used
            Path(change[0]).mkdir(mode=0o700, parents=True, exist_ok=True)
    gpu = config.gpu_layers != 0
    read = [path for path in (config.model, config.draft_model) if path]
    return confine_process(llama_files(read=read, change=change, gpu=gpu), gpu=gpu)
