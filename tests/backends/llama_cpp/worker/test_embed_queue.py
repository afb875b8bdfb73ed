"""Embeddings leave time for answers, and callers take turns."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
import pytest

from edgeinfer.backends.llama_cpp.worker.embed_queue import EmbedJob, EmbedQueue
from edgeinfer.backends.llama_cpp.worker.runtime import FakeRuntime
from edgeinfer.engine.backend import Row
from edgeinfer.errors import DecodeFailed
from tests.support.llama import config

CHUNK = 128


class Recorded(FakeRuntime):
    """Notes the chunks it computes, by the first token of their input."""

    def __init__(self) -> None:
        super().__init__(config())
        self.computed: list[tuple[int, int]] = []
        self.forgotten_before: list[int] = []

    def forget_inputs(self) -> None:
        self.forgotten_before.append(len(self.computed))

    def embed_steps(self, tokens: list[int], chunk: Callable[[], int]) -> Generator[None, None, Row]:
        left = len(tokens)
        while left > 0:
            size = min(chunk(), left)
            self.computed.append((tokens[0], size))
            left -= size
            yield
        if tokens[0] == 255:
            raise DecodeFailed("no")
        return np.array(tokens[:1], np.float32)


def run(queue: EmbedQueue, steps: int = 10_000) -> list[EmbedJob]:
    """The jobs in the order in which they end."""
    ended = []
    for _ in range(steps):
        if not queue.has_work:
            break
        if job := queue.step(lambda: CHUNK):
            ended.append(job)
    return ended


def test_nothing_of_a_request_is_reused_for_another() -> None:
    """How long one's inputs take tells nothing of another's."""
    runtime = Recorded()
    queue = EmbedQueue(runtime)
    queue.add(EmbedJob(1, [[7], [8]], "a"))
    queue.add(EmbedJob(2, [[9], [10]], "b"))
    queue.add(EmbedJob(3, [[11]], "a"))
    run(queue)
    firsts = [first for first, _ in runtime.computed]
    owner = {7: 1, 8: 1, 9: 2, 10: 2, 11: 3}
    changes = [i for i, first in enumerate(firsts) if i == 0 or owner[first] != owner[firsts[i - 1]]]
    assert changes == runtime.forgotten_before


def test_input_is_computed_in_chunks() -> None:
    """Something else may be done after each, however long the input is."""
    runtime = Recorded()
    queue = EmbedQueue(runtime)
    queue.add(EmbedJob(1, [[7] * 300, [8] * 20]))
    for _ in range(3):
        assert queue.step(lambda: CHUNK) is None
    assert [(7, 128), (7, 128), (7, 44)] == runtime.computed
    (job,) = run(queue)
    assert [7, 8] == [int(row[0]) for row in job.rows]


@pytest.mark.parametrize("inputs", [[[1] * 2000] * 30, [[1] * 5] * 2048])
def test_callers_with_many_inputs_do_not_keep_others_waiting(inputs: list[list[int]]) -> None:
    """Turns go by tokens: long inputs or many short ones, the other's come after the input that is being computed."""
    runtime = Recorded()
    queue = EmbedQueue(runtime)
    for id in range(1, 5):
        queue.add(EmbedJob(id, inputs, "hog"))
    run(queue, 20)
    queue.add(EmbedJob(9, [[2] * 10, [3] * 10], "modest"))
    before = len(runtime.computed)
    assert 9 == run(queue, 60)[0].id
    own = [at for at, (first, _) in enumerate(runtime.computed[before:]) if first != 1]
    assert 16 + 1 >= own[-1]


def test_job_that_fails_or_is_cancelled_disturbs_no_other() -> None:
    """In the middle of an input, too."""
    runtime = Recorded()
    queue = EmbedQueue(runtime)
    queue.add(EmbedJob(1, [[5] * 500]))
    queue.add(EmbedJob(2, [[255] * 5]))
    queue.add(EmbedJob(3, [[6] * 5]))
    queue.step(lambda: CHUNK)
    queue.remove(1)
    queue.remove(77)
    failed, done = run(queue)
    assert (2, "no") == (failed.id, failed.error and failed.error.message)
    assert (3, None) == (done.id, done.error)
