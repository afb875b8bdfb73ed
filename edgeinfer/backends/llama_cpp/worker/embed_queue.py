"""Computes embeddings a chunk at a time, so that the engine's answers go on in between."""

from __future__ import annotations

from collections.abc import Callable, Generator

from edgeinfer.backends.llama_cpp.worker.runtime import Runtime
from edgeinfer.engine.backend import Row
from edgeinfer.engine.caller_shares import CallerShares
from edgeinfer.errors import EdgeinferError


class EmbedJob:
    """Inputs to embed for request `id`, and the vectors of those that are done."""

    def __init__(self, id: int, inputs: list[list[int]], caller: str = "") -> None:
        self.id = id
        self.inputs = inputs
        self.caller = caller
        self.rows: list[Row] = []
        self.error: EdgeinferError | None = None

    @property
    def ended(self) -> bool:
        return self.error is not None or len(self.rows) == len(self.inputs)


class EmbedQueue:
    """Callers take turns by the tokens computed for each; an input that has begun is computed to its end."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._jobs: list[EmbedJob] = []
        self._shares = CallerShares()
        self._current: tuple[EmbedJob, Generator[None, None, Row]] | None = None
        self._last_id: int | None = None

    @property
    def has_work(self) -> bool:
        return bool(self._jobs)

    def add(self, job: EmbedJob) -> None:
        """Queue a job. Raises ContextLengthExceeded: an input is too long."""
        self._runtime.check_embedding(job.inputs)
        self._shares.enter(job.caller)
        self._jobs.append(job)

    def remove(self, id: int) -> None:
        """Drop a job. Unknown ids are ignored: it may have just ended."""
        self._jobs = [job for job in self._jobs if job.id != id]
        if self._current and self._current[0].id == id:
            self._current = None

    def step(self, chunk: Callable[[], int], on_input: Callable[[], None] = lambda: None) -> EmbedJob | None:
        """Compute one chunk, of about `chunk` tokens; -> the job that has ended by it, which leaves the queue.

        `on_input` is called if it was the last of an input.
        """
        job, steps = self._current = self._current or self._next(chunk)
        try:
            next(steps)
            return None
        except StopIteration as e:
            job.rows.append(e.value)
        except EdgeinferError as e:
            job.error = e
        self._current = None
        on_input()
        if not job.ended:
            return None
        self.remove(job.id)
        return job

    def _next(self, chunk: Callable[[], int]) -> tuple[EmbedJob, Generator[None, None, Row]]:
        job = min(self._jobs, key=lambda waiting: self._shares.work(waiting.caller))
        tokens = job.inputs[len(job.rows)]
        self._shares.add(job.caller, len(tokens), prompt=True)
        if job.id != self._last_id:
            self._runtime.forget_inputs()
            self._last_id = job.id
        return job, self._runtime.embed_steps(tokens, chunk)
