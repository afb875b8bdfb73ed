"""A fake engine that follows a script, for tests of the service and of clients without a model."""

# ruff: noqa: ARG002 (the protocol has arguments that a script does not need)
from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, Callable, Sequence

import msgspec

from edgeinfer.errors import EdgeinferError, ModelReplaced, NotReady, ShuttingDown
from edgeinfer.inference.client import EngineExit, EngineState
from edgeinfer.inference.output import (
    ChosenLogprob,
    Delta,
    EngineStats,
    Finish,
    Logprob,
    PartialAnswer,
    PromptProgress,
    StartTimings,
)
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput
from edgeinfer.inference.types import (
    WHOLE,
    Cut,
    Embeddings,
    EngineBuild,
    ModelInfo,
    Prompt,
    Scores,
    Span,
    Tokens,
)

BOS = 256
"""The only token that does not stand for a byte."""

PROMPT_TOKENS = 5
"""Tokens that every prompt is said to have."""

SCRIPTED_MODEL = ModelInfo(
    name="scripted",
    path="/models/scripted.gguf",
    architecture="script",
    description="a model that follows a script",
    n_params=1,
    size=4,
    vocab_size=258,
    n_embd=4,
    n_ctx_train=4096,
    ctx=4096,
    parallel=8,
    generates=True,
    add_bos=False,
    bos="",
    eos="",
    control_tokens=(),
    chat_templates={},
    sampling={},
)


class FakeEngineClient:
    """Implements ResumableEngineClient and EngineHealth. Every answer is `pieces`, one delta each; the last has the finish.

    A token is a byte. A changed attribute takes effect at once, also on requests that run.

    Attributes:
        model: served while the state is "ready".
        requests: prompt, params and n of each request, in order.
        structured: structured output of the last request.
        running: requests that are being answered.
        ended: requests that have ended, by completion, error or cancellation.
        before_first, before_last: called before the first and the last piece of a request; may raise.
        hold_first, hold_each: seconds to wait before the first piece, and after each.
    """

    def __init__(self, *pieces: str, model: ModelInfo = SCRIPTED_MODEL) -> None:
        self.pieces = pieces or ("Hel", "lo")
        self.model = model
        self.requests: list[tuple[Prompt, SamplingParams, int]] = []
        self.structured = UNCONSTRAINED
        self.running = 0
        self.ended = 0
        self.before_first: Callable[[], object] = lambda: None
        self.before_last: Callable[[], object] = lambda: None
        self.hold_first = 0.0
        self.hold_each = 0.0
        self.state: EngineState = "starting"
        self.healthy = True
        self.last_error: EdgeinferError | None = None
        self.last_exit: str | None = None
        self.exits: list[EngineExit] = []
        self.load_progress: float | None = None
        self.earlier_stats = EngineStats()
        self.restarts = 0
        self.resumed = 0
        self.load_seconds = 0.0
        self.pid: int | None = None
        self.confinement: str | None = None
        self.build: EngineBuild | None = None

    @property
    def health(self) -> FakeEngineClient:
        return self

    @property
    def config(self) -> object:
        return {"ctx": self.model.ctx, "parallel": self.model.parallel}

    @property
    def config_changes(self) -> Sequence[str]:
        return []

    @property
    def info(self) -> ModelInfo | None:
        return self.model if self.state == "ready" else None

    @property
    def stats(self) -> EngineStats:
        return EngineStats(
            running=self.running, cells=4096, cells_used=7, prompt_tokens_total=5, step_ms=12.5
        )

    async def start(self) -> None:
        if self.state == "starting":
            self.state = "ready"

    async def ready(self) -> ModelInfo:
        if self.last_error:
            raise self.last_error
        if self.state == "stopped":
            raise ShuttingDown("the engine is closed", retry_after=7)
        if self.info is None:
            raise NotReady(f"the model is not ready ({self.state})", retry_after=7)
        return self.info

    async def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        n: int = 1,
        add_bos: bool = True,
        structured: StructuredOutput = UNCONSTRAINED,
        revision: str | None = None,
        accepted_at: float | None = None,
        caller: str = "",
        cache_domain: str = "",
        session: str = "",
        partial_answers: Sequence[PartialAnswer | None] = (),
    ) -> AsyncGenerator[Delta, None]:
        self._check_revision(revision)
        begun = partial_answers or [PartialAnswer()] * n
        self.requests.append((prompt, params, n))
        self.structured = structured
        self.running += 1
        try:
            await asyncio.sleep(self.hold_first)
            if params.prompt_progress:
                for computed in (3, 5):
                    yield Delta(1, 0, "", progress=PromptProgress(5, 1, computed, 2.5 * computed))
            self.before_first()
            for number, piece in enumerate(self.pieces, 1):
                is_last = number == len(self.pieces)
                if is_last:
                    self.before_last()
                there = sum(map(len, self.pieces[:number]))
                ends_empty = is_last and not piece
                missing = [
                    i for i, one in enumerate(begun) if one and (ends_empty or len(one.tokens) < there)
                ]
                if not missing:
                    continue
                for index in missing:
                    cached = 1 if index == 0 else 4
                    finish = fake_finish(number, cached) if is_last else None
                    delta = fake_delta(piece, index, params.logprobs is not None, finish)
                    start = StartTimings(1.0, 10.0, cached, PROMPT_TOKENS) if number == 1 else None
                    yield msgspec.structs.replace(delta, timings=start)
                await asyncio.sleep(self.hold_each)
        finally:
            self.running -= 1
            self.ended += 1

    async def tokenize(
        self, prompt: list[Span], *, add_bos: bool = False, revision: str | None = None, caller: str = ""
    ) -> Tokens:
        self._check_revision(revision)
        ids = [BOS] * add_bos + [byte for span in prompt for byte in span.text.encode()]
        return Tokens(ids, [bytes([id]) if id < BOS else b"<s>" for id in ids])

    async def detokenize(
        self, tokens: Sequence[int], *, revision: str | None = None, caller: str = ""
    ) -> str:
        self._check_revision(revision)
        return bytes(tokens).decode()

    async def embed(
        self, inputs: list[Prompt], *, revision: str | None = None, caller: str = ""
    ) -> Embeddings:
        self._check_revision(revision)
        return Embeddings([struct.pack("<4f", 0.8, 0.6, 0.0, 0.0) for _ in inputs], 3 * len(inputs))

    async def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        cut: Cut = WHOLE,
        first: int = 0,
        revision: str | None = None,
        caller: str = "",
    ) -> Scores:
        """The share of the query's words that each document has."""
        self._check_revision(revision)
        words = set(query.split())
        shares = [len(words & set(document.split())) / (len(words) or 1) for document in documents]
        return Scores(shares, sum(len(query) + len(document) for document in documents))

    def _check_revision(self, revision: str | None) -> None:
        if revision not in (None, self.model.revision):
            raise ModelReplaced("the model was replaced before this answer began", retry_after=1)

    async def aclose(self, drain: float = 0.0) -> None:
        self.state = "stopped"

    async def kill(self) -> None:
        await self.aclose()


def fake_delta(text: str, index: int = 0, logprobs: bool = False, finish: Finish | None = None) -> Delta:
    """A delta of one token for each character."""
    chosen = [ChosenLogprob(Logprob(ord(char), char.encode(), -0.5), []) for char in text]
    return Delta(1, index, text, [ord(char) for char in text], chosen if logprobs else None, finish)


def fake_finish(tokens: int = 2, cached: int = 1) -> Finish:
    """The end of an answer of `tokens` to a prompt of five."""
    return Finish("stop", PROMPT_TOKENS, cached, tokens, None, 1.0, 10.0, 20.0)
