"""A model that follows a script, as the handle that `serving` works with: no HTTP, no engine."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence

import msgspec

from edgeinfer.chat.prompt import PromptBuilder
from edgeinfer.chat.template_renderer import TemplateRenderer
from edgeinfer.grammar.compiler import GrammarCompiler
from edgeinfer.grammar.source import Grammar
from edgeinfer.inference.merge import Deltas
from edgeinfer.inference.output import ChosenLogprob, Delta, Finish, Logprob
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput
from edgeinfer.inference.types import WHOLE, Cut, Embeddings, ModelInfo, Prompt, Scores, Span, Tokens
from edgeinfer.serving.compiled_format import CompiledFormat, compile_format
from edgeinfer.serving.task import check_task
from edgeinfer.store.sampling_defaults import SamplingDefaults
from tests.support.templates import bare_model

CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")


class ScriptedModel:
    """Every answer is `texts`, one delta each; the last carries the finish.

    Attributes:
        finish: how every answer ends.
        closed: generations that were closed, however they ended.
    """

    def __init__(self, *texts: str, info: ModelInfo | None = None) -> None:
        self.texts = texts
        self.info = info or bare_model(CHATML_TOKENS)
        self.finish = Finish("stop", 5, 1, len(texts), None, 1.0, 10.0, 20.0)
        self.renderer = TemplateRenderer()
        self.compiler = GrammarCompiler(10.0)
        self.callers: list[Hashable] = []
        self.closed = 0
        self.defaults = SamplingDefaults()

    async def aclose(self) -> None:
        await self.renderer.close()
        await self.compiler.close()

    @property
    def short_jobs(self) -> ScriptedModel:
        return self

    @property
    def renderings(self) -> ScriptedModel:
        return self

    @contextlib.asynccontextmanager
    async def take(self, caller: Hashable) -> AsyncIterator[None]:
        self.callers.append(caller)
        yield

    async def ready(self) -> ModelInfo:
        return self.info

    async def text_model(self) -> ModelInfo:
        check_task(self.info, "generate")
        return self.info

    def recommended_sampling(self, *, thinks: bool) -> Mapping[str, float]:
        return self.defaults.values(thinks=thinks)

    def prompt_builder(self, info: ModelInfo) -> PromptBuilder:
        return PromptBuilder(info, self.renderer)

    async def compile(self, caller: Hashable, grammar: Grammar | None) -> CompiledFormat:
        self.callers.append(caller)
        return await compile_format(self.compiler, grammar)

    async def generate(
        self,
        caller: Hashable,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        n: int = 1,
        structured: StructuredOutput = UNCONSTRAINED,
        *,
        info: ModelInfo,
    ) -> Deltas:
        assert info is self.info
        self.callers.append(caller)
        self.prompts, self.params, self.structured = prompts, params, structured
        try:
            for at, text in enumerate(self.texts):
                for index in range(len(prompts) * n):
                    logprobs = None if params.logprobs is None else [logprob(text)]
                    end = self.finish if at == len(self.texts) - 1 else None
                    yield Delta(1, index, text, [at], logprobs, end)
        finally:
            self.closed += 1

    async def embed(self, caller: Hashable, inputs: Sequence[Prompt], *, info: ModelInfo) -> Embeddings:
        assert info is self.info
        self.callers.append(caller)
        self.prompts = inputs
        return Embeddings([b"\x00\x00\x80\x3f" * self.info.n_embd for _ in inputs], len(inputs))

    async def rerank(
        self, caller: Hashable, query: str, documents: Sequence[str], cut: Cut = WHOLE, *, info: ModelInfo
    ) -> Scores:
        assert info is self.info
        self.callers.append(caller)
        self.cut = cut
        return Scores([float(document.count(query)) for document in documents], len(documents))

    async def tokenize(
        self, caller: Hashable, prompt: list[Span], *, add_bos: bool = False, info: ModelInfo
    ) -> Tokens:
        assert info is self.info
        characters = [c for span in prompt for c in span.text]
        return Tokens([ord(c) for c in characters], [c.encode() for c in characters])

    async def detokenize(self, caller: Hashable, tokens: Sequence[int], *, info: ModelInfo) -> str:
        assert info is self.info
        return "".join(map(chr, tokens))


def logprob(text: str) -> ChosenLogprob:
    return ChosenLogprob(Logprob(1, text.encode(), -0.5), [])


def prompt_text(prompt: Prompt) -> str:
    return "".join(part.text if isinstance(part, Span) else f"[{part}]" for part in prompt)


def with_finish(model: ScriptedModel, **changes: object) -> ScriptedModel:
    model.finish = msgspec.structs.replace(model.finish, **changes)
    return model
