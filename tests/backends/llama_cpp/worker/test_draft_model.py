"""llama.cpp computes what a draft model guesses, and its answers are those without one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.worker.runtime import LlamaRuntime
from edgeinfer.engine.backend import Backend, Batch, DecodeStatus
from edgeinfer.engine.engine import Engine
from edgeinfer.engine.sequence import Request
from edgeinfer.errors import EdgeinferError, ModelLoadFailed
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import Span
from tests.support.gguf import write_tiny
from tests.support.llama_client import supervised
from tests.support.nano import PROMPTS
from tests.support.paths import BUNDLED
from tests.support.shallow_model import write_shallow

GREEDY = SamplingParams(temperature=0.0, max_tokens=40, ignore_eos=True)
CONFIG = LlamaConfig(
    model=str(BUNDLED), name="nano", ctx=512, parallel=2, cells=1536, batch=128, ubatch=64, threads=1
)


class Slow:
    """A backend whose decodes are taken to last `ms`, whatever they really do."""

    now = 0.0

    def __init__(self, backend: Backend, ms: float) -> None:
        self._backend, self._ms = backend, ms

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def decode(self, batch: Batch) -> DecodeStatus:
        Slow.now += self._ms / 1e3
        return self._backend.decode(batch)


@contextmanager
def engine(draft: Path | None, **changes: Any) -> Iterator[Engine]:
    """An engine whose draft model is ten times as fast."""
    config = replace(CONFIG, draft_model=str(draft) if draft else None, **changes)
    runtime = LlamaRuntime(config)
    assert runtime.backend
    second: Any = Slow(runtime.draft, 10) if runtime.draft else None
    target: Any = Slow(runtime.backend, 100)
    try:
        yield Engine(target, config, lambda: Slow.now, draft=second)
    finally:
        runtime.close()


def answers(engine: Engine, params: SamplingParams = GREEDY, n: int = 1) -> dict[tuple[int, int], list[int]]:
    vocab = engine.backend.vocab
    for id, prompt in enumerate(PROMPTS):
        engine.add(Request(id, vocab.tokenize(prompt, special=True), params, n))
    tokens: dict[tuple[int, int], list[int]] = {}
    while engine.has_work:
        for delta in engine.step():
            tokens.setdefault((delta.id, delta.index), []).extend(delta.tokens)
    assert not engine.failures
    engine.check_integrity()
    return tokens


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shallow(BUNDLED, tmp_path_factory.mktemp("models") / "shallow.gguf", 1)


@pytest.fixture(scope="module")
def plain() -> dict[tuple[int, int], list[int]]:
    with engine(None) as alone:
        return answers(alone)


LAYOUTS = pytest.mark.parametrize(
    "changes", [{}, {"layout": "unified", "flash_attention": True}], ids=["streams", "unified"]
)


@LAYOUTS
def test_a_model_is_right_about_itself(
    plain: dict[tuple[int, int], list[int]], changes: dict[str, Any]
) -> None:
    with engine(BUNDLED, **changes) as pair:
        assert plain == answers(pair)
        stats = pair.stats()
    assert stats.accepted_by_model_total > 0.9 * stats.drafted_by_model_total > 60


@LAYOUTS
def test_a_model_that_is_often_wrong_changes_no_answer(
    plain: dict[tuple[int, int], list[int]], shallow: Path, changes: dict[str, Any]
) -> None:
    with engine(shallow, **changes) as pair:
        assert plain == answers(pair)
        stats = pair.stats()
    assert stats.drafted_by_model_total > 0
    assert stats.accepted_by_model_total < 0.5 * stats.drafted_by_model_total


def test_sampled_answers_are_those_without_a_draft_model(shallow: Path) -> None:
    params = SamplingParams(temperature=0.7, seed=3, max_tokens=24)
    with engine(None) as alone:
        expected = answers(alone, params, n=2)
    for draft in (BUNDLED, shallow):
        with engine(draft) as pair:
            assert expected == answers(pair, params, n=2)
            assert pair.stats().drafted_by_model_total > 0


async def test_a_worker_loads_it_and_may_read_its_file(shallow: Path) -> None:
    async with supervised(replace(CONFIG, draft_model=str(shallow))) as client:
        text = ""
        async with aclosing(client.generate([Span(PROMPTS[0], True)], GREEDY)) as deltas:
            async for delta in deltas:
                text += delta.text
        assert (await client.ready()).draft_model == str(shallow)
    assert text


async def test_an_answer_survives_that_its_worker_is_killed(
    plain: dict[tuple[int, int], list[int]], shallow: Path
) -> None:
    """The next one has a draft model too, and goes on with the same text."""
    tokens: list[int] = []
    killed = False
    async with supervised(replace(CONFIG, draft_model=str(shallow))) as client:
        async with aclosing(client.generate([Span(PROMPTS[0], True)], GREEDY)) as deltas:
            async for delta in deltas:
                tokens += delta.tokens
                if len(tokens) > 5 and not killed and (pid := client.health.pid):
                    os.kill(pid, signal.SIGKILL)
                    killed = True
        assert client.health.restarts == 1
    assert plain[0, 0] == tokens


def test_another_vocabulary_is_refused_with_the_first_token_that_differs(tmp_path: Path) -> None:
    draft = write_shallow(BUNDLED, tmp_path / "other.gguf", 1, lost_tokens=1)
    with (
        pytest.raises(
            ModelLoadFailed, match=r"other.gguf has another vocabulary than nano: token \d+ is"
        ) as e,
        engine(draft),
    ):
        pass
    assert e.value.param == "draft_model"


def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.gguf")
    with pytest.raises(ModelLoadFailed, match="has another vocabulary"), engine(tmp_path / "tiny.gguf"):
        pass


async def test_a_worker_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    draft = write_shallow(BUNDLED, tmp_path / "other.gguf", 1, lost_tokens=1)
    with pytest.raises(EdgeinferError, match="another vocabulary than nano"):
        async with supervised(replace(CONFIG, draft_model=str(draft))) as client:
            await client.ready()
