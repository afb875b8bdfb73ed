"""Knows what model files say about themselves, whether the models are loaded or not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from edgeinfer.gguf.file_identity import FileIdentity, file_identity
from edgeinfer.plan.context import DEFAULT_CONTEXT
from edgeinfer.serving.model import ServedModel
from edgeinfer.serving.registry import ModelRegistry
from edgeinfer.store.file_facts import FileFacts, read_facts

MAX_FILES = 1024
"""Files whose facts are kept."""

MAX_WAIT = 2.0
"""Seconds that a list of models waits for headers; clients wait for it no longer than 3 to 10."""


class ModelFiles:
    """Reads the header of each file once, in a thread: one with a large vocabulary takes a tenth of a second."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._facts: dict[str, tuple[FileIdentity, FileFacts | None]] = {}
        self._reading: dict[str, asyncio.Task[FileFacts | None]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model-files")

    async def facts(self, model: ServedModel) -> FileFacts | None:
        """The facts about the file of `model`; None if it has none, or none that can be read."""
        path = self._registry.file(model)
        if path is None:
            return None
        kept = self._facts.get(path)
        if kept and kept[0] == file_identity(path):
            return kept[1]
        if path not in self._reading:
            self._reading[path] = asyncio.create_task(self._read(path))
        return await asyncio.shield(self._reading[path])

    async def all_facts(self, models: Iterable[ServedModel]) -> dict[ServedModel, FileFacts]:
        """The facts about all models whose files can be read within MAX_WAIT; others are there the next time."""
        tasks = {model: asyncio.ensure_future(self.facts(model)) for model in models}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=MAX_WAIT)
        known = {}
        for model, task in tasks.items():
            if not task.done():
                task.cancel()
            elif facts := task.result():
                known[model] = facts
        return known

    async def _read(self, path: str) -> FileFacts | None:
        try:
            identity = file_identity(path)
            facts = await asyncio.get_running_loop().run_in_executor(self._thread, read_facts, path)
            if len(self._facts) >= MAX_FILES:
                del self._facts[next(iter(self._facts))]
            self._facts[path] = (identity, facts)
            return facts
        finally:
            del self._reading[path]


def smallest_context(model: ServedModel, facts: FileFacts) -> int:
    """Tokens of context that `model` is sure to have once it is loaded, if nothing else is known."""
    ctx = model.settings.ctx or DEFAULT_CONTEXT
    return min(ctx, facts.n_ctx_train) if facts.n_ctx_train else ctx
