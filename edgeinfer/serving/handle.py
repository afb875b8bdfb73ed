"""The part of a served model that requests are answered with."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from edgeinfer.chat.prompt import PromptBuilder
from edgeinfer.grammar.source import Grammar
from edgeinfer.inference.merge import Deltas
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput
from edgeinfer.inference.types import WHOLE, Cut, Embeddings, ModelInfo, Prompt, Scores, Span, Tokens
from edgeinfer.serving.compiled_format import CompiledFormat


class JobQueue(Protocol):
    """Admits short jobs, a caller at a time."""

    def take(self, caller: Hashable) -> AbstractAsyncContextManager[object]: ...


class ModelHandle(Protocol):
    """One model. Everything that a request does with it goes through this handle.

    Requests are counted for each `caller`, so that one does not keep others waiting.
    """

    @property
    def short_jobs(self) -> JobQueue:
        """Admits work that only counts tokens."""
        ...

    @property
    def renderings(self) -> JobQueue:
        """Admits work that renders templates."""
        ...

    async def ready(self) -> ModelInfo:
        """The loaded model.

        Raises:
            NotReady: it did not become ready in time.
            EdgeinferError: why it cannot be loaded.
        """
        ...

    async def text_model(self) -> ModelInfo:
        """The loaded model, as from `ready`. Raises InvalidRequest if it generates no text."""
        ...

    def recommended_sampling(self, *, thinks: bool) -> Mapping[str, float]:
        """Values that the catalogue recommends for an answer, by the names of SamplingParams."""
        ...

    def prompt_builder(self, info: ModelInfo) -> PromptBuilder: ...

    async def compile(self, caller: Hashable, grammar: Grammar | None) -> CompiledFormat:
        """The compiled grammar, once it is the caller's turn. Raises InvalidRequest if it is invalid."""
        ...

    def generate(
        self,
        caller: Hashable,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        n: int = 1,
        structured: StructuredOutput = UNCONSTRAINED,
        *,
        info: ModelInfo,
    ) -> Deltas:
        """Deltas of n answers to each prompt, once it is the caller's turn; closing this cancels them.

        Answer i to prompt p has the index p * n + i. `info` is the model that the prompts were made for.
        """
        ...

    async def embed(self, caller: Hashable, inputs: Sequence[Prompt], *, info: ModelInfo) -> Embeddings:
        """Vectors of the inputs, once it is the caller's turn. `info` is the model they were made for."""
        ...

    async def rerank(
        self, caller: Hashable, query: str, documents: Sequence[str], cut: Cut = WHOLE, *, info: ModelInfo
    ) -> Scores:
        """How relevant each document is, once it is the caller's turn. `info` is the model that is asked."""
        ...

    async def tokenize(
        self, caller: Hashable, prompt: list[Span], *, add_bos: bool = False, info: ModelInfo
    ) -> Tokens:
        """The tokens of a prompt. `info` is the model they are for."""
        ...

    async def detokenize(self, caller: Hashable, tokens: Sequence[int], *, info: ModelInfo) -> str:
        """The text of tokens. `info` is the model they are from."""
        ...
