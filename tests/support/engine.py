"""A clock, a driver and answers computed without an engine, shared by the tests of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from edgeinfer.engine.backend import Batch, DecodeStatus, Row
from edgeinfer.engine.config import EngineConfig
from edgeinfer.engine.engine import Engine
from edgeinfer.engine.fake import FakeBackend
from edgeinfer.engine.sampler import Sampler
from edgeinfer.engine.sequence import Request
from edgeinfer.inference.output import ChosenLogprob, Delta, Finish, PartialAnswer
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput

LAYOUTS = ("streams", "unified")
CONFIG = EngineConfig(ctx=256, parallel=8, cells=2048, batch=64)
Prompt = str | Sequence[int]


def config(layout: str = "streams", **changes: Any) -> EngineConfig:
    return msgspec.structs.replace(CONFIG, layout=layout, **changes)


def padded(config: EngineConfig) -> EngineConfig:
    """The configuration after llama.cpp has rounded its cells up to a multiple of 256."""
    ctx, cells = (-(-n // 256) * 256 for n in (config.ctx, config.cells))
    return msgspec.structs.replace(config, ctx=ctx, cells=cells)


class Clock:
    """A clock that advances by a millisecond at each reading."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1e-3
        return self.now


class Answer:
    """Collects the deltas of one answer."""

    def __init__(self) -> None:
        self.text = ""
        self.tokens: list[int] = []
        self.logprobs: list[ChosenLogprob] = []
        self.finishes: list[Finish] = []

    def add(self, delta: Delta) -> None:
        assert not self.finishes, f"{delta} came after the end"
        self.text += delta.text
        self.tokens += delta.tokens
        self.logprobs += delta.logprobs or []
        if delta.finish:
            self.finishes.append(delta.finish)

    @property
    def finish(self) -> Finish:
        (finish,) = self.finishes
        return finish


class Driver:
    """Drives an engine and collects its output: `answers` by request and index, `failed` by request."""

    def __init__(self, config: EngineConfig, backend: FakeBackend | None = None, *, length: int = 60) -> None:
        self.config = config
        self.backend = backend or FakeBackend(config, length)
        self.engine = Engine(self.backend, config, Clock())
        self.answers: dict[tuple[int, int], Answer] = {}
        self.failed: dict[int, str] = {}

    def add(
        self,
        id: int,
        prompt: Prompt,
        n: int = 1,
        structured: StructuredOutput = UNCONSTRAINED,
        *,
        caller: str = "",
        cache_domain: str = "",
        prediction: Prompt = (),
        partial_answers: tuple[PartialAnswer | None, ...] = (),
        **params: Any,
    ) -> None:
        """Queue a request, with a fixed seed unless `params` has one: no test depends on chance."""
        sampling = SamplingParams(**{"seed": 1000 + id} | params)
        compiler = self.engine.constraint_compiler
        constraint = compiler.compile(structured.grammar) if structured.grammar else None
        request = Request(
            id,
            encode(prompt),
            sampling,
            n,
            structured,
            constraint,
            partial_answers,
            caller=caller,
            cache_domain=cache_domain,
            prediction=encode(prediction),
        )
        self.engine.add(request)
        self.answers |= {(id, index): Answer() for index in range(n)}

    def cancel(self, id: int) -> None:
        self.engine.cancel(id)
        self.answers = {key: answer for key, answer in self.answers.items() if key[0] != id}

    def step(self) -> list[Delta]:
        deltas = self.engine.step()
        for delta in deltas:
            self.answers[delta.id, delta.index].add(delta)
        for id, error in self.engine.failures:
            assert id not in self.failed, f"{id} failed twice"
            self.failed[id] = error.code
        self.engine.failures.clear()
        return deltas

    def run(self, limit: int = 5000) -> Answer:
        """Step until the engine has no work; -> the answer to the first request that was not cancelled."""
        for _ in range(limit):
            if not self.engine.has_work:
                break
            self.step()
        assert not self.engine.has_work, f"still at work after {limit} steps: {self.engine.stats()}"
        self.engine.check_integrity()
        return next(iter(self.answers.values()), Answer())

    @property
    def texts(self) -> dict[tuple[int, int], str]:
        return {key: answer.text for key, answer in self.answers.items()}


def encode(prompt: Prompt) -> list[int]:
    return list(prompt.encode()) if isinstance(prompt, str) else list(prompt)


def decode_alone(backend: FakeBackend, sequence: int, tokens: list[int]) -> Row:
    """Logits after `tokens`, appended to what `sequence` holds."""
    batch = Batch(len(tokens))
    at = batch.add(sequence, backend.length(sequence), tokens, output=True)
    assert backend.decode(batch) is DecodeStatus.OK
    return backend.logits(at)


def row_after(tokens: list[int]) -> Row:
    """The fake's logits after `tokens`, computed by a backend that has never seen anything else."""
    return decode_alone(FakeBackend(config(ctx=len(tokens))), 0, tokens)


def plain(prompt: Prompt, *, ctx: int = 256, index: int = 0, length: int = 60, **params: Any) -> str:
    """The answer to `prompt` from the simplest loop: no batch, cache, scheduler or stream of text."""
    sampling = SamplingParams(**{"seed": 1000} | params)
    tokens = encode(prompt)
    sampler = Sampler(sampling, sampling.seed or 0, index, tokens)
    backend = FakeBackend(config(ctx=ctx), length)
    row = decode_alone(backend, 0, tokens)
    produced: list[int] = []
    while True:
        token = sampler.sample(row)
        if backend.vocab.is_end(token) and not sampling.ignore_eos:
            break
        sampler.accept(token)
        produced.append(token)
        if len(produced) == sampling.max_tokens or len(tokens) + len(produced) >= ctx:
            break
        row = decode_alone(backend, 0, [token])
    return b"".join(backend.vocab.piece(t) for t in produced).decode("utf-8", "replace")


class Failing(FakeBackend):
    """Decodes end as `script` says, then well. A failed one leaves half of its cells behind."""

    def __init__(self, *args: Any, script: tuple[DecodeStatus, ...] = (), poison: int | None = None) -> None:
        super().__init__(*args)
        self.script = list(script)
        self.poison = poison
        self.decodes = 0

    def decode(self, batch: Batch) -> DecodeStatus:
        self.decodes += 1
        status = self.script.pop(0) if self.script else DecodeStatus.OK
        if self.poison in batch.tokens[: batch.size]:
            status = DecodeStatus.FAILED
        if status in (DecodeStatus.FAILED, DecodeStatus.ABORTED):
            size, batch.size = batch.size, batch.size // 2
            super().decode(batch)
            batch.size = size
        return super().decode(batch) if status is DecodeStatus.OK else status


def assert_clean(driver: Driver) -> None:
    """Assert that nothing runs or waits and that the engine's records agree."""
    stats = driver.engine.stats()
    assert (0, 0, 0) == (stats.running, stats.waiting, stats.cells_used)
    assert not driver.engine.has_work
    assert not any(slot.running for slot in driver.engine.cache.slots)
    driver.engine.check_integrity()


SYSTEM = "You are a helpful assistant on a small machine, and you answer in few words. " * 2
PROMPTS = [SYSTEM[: 20 * i] + f"Question {i}?" for i in range(8)]
ALONE = [plain(p, seed=1000 + id, temperature=0.8) for id, p in enumerate(PROMPTS)]
