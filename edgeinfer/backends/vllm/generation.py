"""The answers of one request, and how each is computed: in one go, or in several after a crash or a limit on thinking."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from typing import Any

from edgeinfer.backends.supervision.crash_holds import Activity
from edgeinfer.backends.supervision.request import InFlightRequest
from edgeinfer.backends.vllm.answer import Addition, VllmAnswer
from edgeinfer.backends.vllm.completion_stream import Usage, completion_chunks
from edgeinfer.backends.vllm.grammar import to_lark
from edgeinfer.backends.vllm.process import VllmProcess
from edgeinfer.backends.vllm.sampling import check_sampling, sampling_fields
from edgeinfer.errors import ConstraintFailed, UnsupportedParameter, context_exceeded
from edgeinfer.inference.merge import merge
from edgeinfer.inference.output import Delta, Finish, PromptProgress, StartTimings
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import StructuredOutput
from edgeinfer.inference.types import Prompt, Span


class VllmGeneration(InFlightRequest):
    """Answers that are being generated. Each is a request of its own to vLLM, which shares their prompt.

    A process that follows a crashed one continues an answer from its tokens. Under a grammar, vLLM can only begin
    at the beginning: the same tokens are computed again, by the same seed, and are not sent twice.
    """

    def __init__(
        self,
        prompt: Prompt,
        params: SamplingParams,
        n: int,
        add_bos: bool,
        structured: StructuredOutput,
        revision: str | None,
        accepted_at: float | None,
        caller: str,
        cache_domain: str,
        markers: Collection[str],
    ) -> None:
        """Raises UnsupportedParameter for what vLLM cannot do."""
        super().__init__(revision, Activity(caller, "generating text"))
        check_sampling(params)
        _check_structure(structured)
        self.n = n
        self.params = params
        self.budget = structured.thinking
        self.lark = to_lark(structured.grammar) if structured.grammar is not None else None
        self._prompt = prompt
        self._add_bos = add_bos
        self._accepted_at = time.monotonic() if accepted_at is None else accepted_at
        self._seed = secrets.randbits(62) if params.seed is None else params.seed
        self._cache_domain = cache_domain
        self._markers = markers
        self._tokens: list[int] | None = None
        self._answers: list[VllmAnswer] | None = None
        self._started: set[int] = set()
        self._ended: set[int] = set()
        self._usage: dict[int, Usage] = {}
        self._submitted_at = 0.0
        self._first_at: dict[int, float] = {}

    @property
    def unfinished(self) -> int:
        """Answers that have not ended."""
        return self.n - len(self._ended)

    @property
    def has_output(self) -> bool:
        return any(answer.tokens for answer in self._answers or ())

    async def prepare(self, worker: VllmProcess) -> None:
        """Make tokens of the prompt. Raises ContextLengthExceeded."""
        if self._tokens is None:
            tokens = await worker.tokens(self._prompt, add_bos=self._add_bos)
            if len(tokens) >= worker.config.ctx:
                trained = worker.info.n_ctx_train if worker.info else 0
                problem = f"the prompt has {len(tokens)} tokens"
                raise context_exceeded(worker.config.ctx, problem, tokens=len(tokens), trained=trained)
            self._tokens = tokens
            vocabulary, stop = worker.tokenizer.vocabulary, self.params.stop
            ends = frozenset[int]() if self.params.ignore_eos else worker.ends
            self._answers = [
                VllmAnswer(vocabulary, ends, self._markers, stop, self.params.logprobs) for _ in range(self.n)
            ]
        self._submitted_at = self._submitted_at or time.monotonic()

    async def deltas(self, worker: VllmProcess) -> AsyncGenerator[Delta, None]:
        """What is missing of all answers; closing this cancels them. Raises as `completion_chunks`."""
        missing = [index for index in range(self.n) if index not in self._ended]
        async with aclosing(
            merge([self._deltas(worker, index) for index in missing], [0] * len(missing))
        ) as deltas:
            async for delta in deltas:
                yield delta

    async def _deltas(self, worker: VllmProcess, index: int) -> AsyncGenerator[Delta, None]:
        """What is missing of one answer."""
        assert self._answers is not None
        answer = self._answers[index]
        while not answer.finished:
            cap = self._thinking_cap(answer)
            limit = min(self._num_left(worker, answer), cap) if cap else self._num_left(worker, answer)
            if limit <= 0:
                answer.end("length")
                break
            async with aclosing(self._computed(worker, index, limit)) as deltas:
                async for delta in deltas:
                    yield delta
            if answer.was_cut and self._num_left(worker, answer) > 0:
                answer.reopen()
                if self._thinks(answer):
                    yield await self._closing(worker, index)
        self._ended.add(index)
        yield Delta(1, index, "", finish=self._finish(answer, index))

    async def _computed(self, worker: VllmProcess, index: int, limit: int) -> AsyncGenerator[Delta, None]:
        """What one request to vLLM adds to an answer."""
        assert self._answers is not None
        answer, given_up = self._answers[index], worker.log.matcher_errors
        async with aclosing(completion_chunks(worker, self._body(worker, index, limit))) as chunks:
            async for chunk in chunks:
                if chunk.usage:
                    self._usage.setdefault(index, chunk.usage)
                for choice in chunk.choices:
                    worker.on_output()
                    if self.lark and choice.finish_reason and worker.log.matcher_errors > given_up:
                        raise ConstraintFailed(
                            "the answer could not be kept to its grammar: vLLM gave up a grammar meanwhile",
                            hint="send the request again, with a simpler schema or grammar if it fails again",
                        )
                    addition = answer.add(choice)
                    if addition.tokens:
                        worker.on_progress(self)
                    if start := self._start(index):
                        for delta in start:
                            yield delta
                    if addition.tokens or addition.text or addition.logprobs:
                        yield _delta(index, addition)
                    if answer.matched_stop is not None:
                        return

    def _body(self, worker: VllmProcess, index: int, limit: int) -> dict[str, Any]:
        assert self._answers is not None
        assert self._tokens is not None
        answer = self._answers[index]
        so_far = [] if self.lark else answer.tokens
        body: dict[str, Any] = {
            "model": worker.config.name,
            "prompt": [*self._tokens, *so_far],
            "max_tokens": limit + (len(answer.tokens) if self.lark else 0),
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_token_ids": True,
            "add_special_tokens": False,
            **sampling_fields(self.params, self._seed + index + len(so_far)),
        }
        if not self.params.ignore_eos:
            body["stop_token_ids"] = sorted(worker.ends)
        if self._cache_domain:
            body["cache_salt"] = self._cache_domain
        if self.lark:
            answer.replay()
            body["structured_outputs"] = {"grammar": self.lark}
        return body

    def _num_left(self, worker: VllmProcess, answer: VllmAnswer) -> int:
        """Tokens that the answer may still have."""
        assert self._tokens is not None
        room = worker.config.ctx - len(self._tokens)
        return min(room if self.params.max_tokens is None else self.params.max_tokens, room) - len(
            answer.tokens
        )

    def _thinking_cap(self, answer: VllmAnswer) -> int | None:
        """Tokens after which thinking must end; None if it is over, or has no limit."""
        if self.budget is None or len(answer.tokens) >= self.budget.tokens:
            return None
        return self.budget.tokens - len(answer.tokens)

    def _thinks(self, answer: VllmAnswer) -> bool:
        """Whether the answer is still within thoughts."""
        budget = self.budget
        if budget is None or budget.end in answer.text:
            return False
        return budget.opened or answer.text.lstrip().startswith(budget.begin)

    async def _closing(self, worker: VllmProcess, index: int) -> Delta:
        """End the thoughts that have reached their limit."""
        assert self.budget
        assert self._answers is not None
        tokens = await worker.tokens([Span(self.budget.closing)], add_bos=False)
        return _delta(index, self._answers[index].add_forced(tokens))

    def _start(self, index: int) -> list[Delta]:
        """What comes before an answer's first token: timings, and how much of the prompt has been computed."""
        if index in self._started:
            return []
        self._started.add(index)
        self._first_at[index] = time.monotonic()
        queued, prompt_ms = self._times(index)
        total = len(self._tokens or ())
        start = Delta(1, index, "", timings=StartTimings(queued, prompt_ms, 0, total))
        if not self.params.prompt_progress:
            return [start]
        return [Delta(1, index, "", progress=PromptProgress(total, 0, total, prompt_ms)), start]

    def _times(self, index: int) -> tuple[float, float]:
        """Milliseconds in the queue, and on the prompt."""
        first = self._first_at.get(index, self._submitted_at)
        return (self._submitted_at - self._accepted_at) * 1e3, (first - self._submitted_at) * 1e3

    def _finish(self, answer: VllmAnswer, index: int) -> Finish:
        queue_ms, prompt_ms = self._times(index)
        now = time.monotonic()
        return Finish(
            answer.reason,
            len(self._tokens or ()),
            self._usage[index].cached_tokens if index in self._usage else 0,
            len(answer.tokens),
            stop=answer.matched_stop,
            queue_ms=queue_ms,
            prompt_ms=prompt_ms,
            predicted_ms=(now - self._first_at.get(index, now)) * 1e3,
        )


def _delta(index: int, addition: Addition) -> Delta:
    return Delta(1, index, addition.text, addition.tokens, addition.logprobs)


def _check_structure(structured: StructuredOutput) -> None:
    """Raise UnsupportedParameter for what vLLM cannot enforce."""
    if structured.complete:
        raise UnsupportedParameter(
            "models that vLLM serves cannot lead an answer to a valid end within max_tokens",
            param="length_policy",
            hint="leave it out, and raise max_tokens",
        )
    if structured.grammar is not None and structured.thinking is not None:
        raise UnsupportedParameter(
            "models that vLLM serves cannot limit thinking in an answer with a format or tools",
            param="reasoning_effort",
            hint='leave the limit out, or turn thinking off: "reasoning_effort": "none"',
        )
