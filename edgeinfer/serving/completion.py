"""One completion request: texts that the model continues, or fills in before a suffix."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import msgspec

from edgeinfer.chat.fim import NEEDS_FIM, FimParts, fim_prompt, untrusted_text
from edgeinfer.chat.reasoning import ReasoningFormat
from edgeinfer.errors import UnsupportedParameter
from edgeinfer.grammar.source import Grammar, GrammarSource
from edgeinfer.inference.merge import Deltas
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import StructuredOutput
from edgeinfer.inference.types import ModelInfo, Prompt
from edgeinfer.serving.answer_size import check_answer_size
from edgeinfer.serving.handle import ModelHandle
from edgeinfer.serving.inputs import Input, check_inputs, check_num_ctx, input_prompt
from edgeinfer.serving.reply import AnswerFormat, Reply
from edgeinfer.serving.sampling import resolve_sampling


class CompletionCall(msgspec.Struct, frozen=True, kw_only=True):
    """A completion request.

    Attributes:
        prompts: texts in which control tokens are recognised, or tokens.
        suffix: the text that follows what the model is to write.
        echo: the reply has the prompts as texts.
        response_format: the form of an answer.
        complete: lead an answer to a valid end within its token limit instead of cutting it.
        sampling: the values that the request has, by the names of SamplingParams.
        n: answers to generate for each prompt.
        num_ctx: tokens of context that the caller counts on.
    """

    prompts: Sequence[Input]
    suffix: str = ""
    echo: bool = False
    response_format: GrammarSource | None = None
    complete: bool = False
    sampling: Mapping[str, Any] = {}
    n: int = 1
    num_ctx: int | None = None


class CompletionReply(Reply):
    """A reply to a completion request.

    Attributes:
        echoes: the text of each prompt, "" where the call has no `echo`.
        params: what the answers are generated with.
    """

    def __init__(
        self,
        info: ModelInfo,
        deltas: Deltas,
        answer_format: AnswerFormat,
        echoes: Sequence[str],
        n: int,
        params: SamplingParams,
    ) -> None:
        super().__init__(info, deltas, answer_format, prompts=len(echoes), n=n)
        self.echoes = echoes
        self.params = params


async def start_completion(model: ModelHandle, caller: Hashable, call: CompletionCall) -> CompletionReply:
    """Check the call and compile its grammar. The model generates once the reply is read.

    Raises:
        InvalidRequest: the call cannot be answered; its subclasses say why.
        EdgeinferError: the model cannot be loaded, or is too busy.
    """
    info = await model.text_model()
    check_num_ctx(call.num_ctx, info)
    check_inputs(call.prompts, info, "prompt")
    params = resolve_sampling(call.sampling, info, model.recommended_sampling(thinks=True))
    check_answer_size(params, len(call.prompts) * call.n, info)
    echoes = await _texts(model, caller, info, call.prompts) if call.echo else [""] * len(call.prompts)
    prompts = [_prompt(info, prompt, call.suffix) for prompt in call.prompts]
    source = call.response_format
    grammar = Grammar(f"start: @{source.name}", (source,)) if source else None
    compiled = await model.compile(caller, grammar)
    structured = StructuredOutput(compiled.grammar, call.complete)
    deltas = model.generate(caller, prompts, params, call.n, structured, info=info)
    answer_format = AnswerFormat(ReasoningFormat(), None, source, compiled)
    return CompletionReply(info, deltas, answer_format, echoes, call.n, params)


def _prompt(info: ModelInfo, prompt: Input, suffix: str) -> Prompt:
    if not suffix:
        return input_prompt(prompt, trusted=True)
    if info.fim is None:
        message = f"{info.name} has no fill-in-the-middle tokens"
        raise UnsupportedParameter(message, param="suffix", hint=NEEDS_FIM)
    parts = FimParts(input_prompt(prompt, trusted=False), untrusted_text(suffix))
    return fim_prompt(info.fim, parts)


async def _texts(
    model: ModelHandle, caller: Hashable, info: ModelInfo, prompts: Sequence[Input]
) -> list[str]:
    async def text(prompt: Input) -> str:
        if isinstance(prompt, str):
            return prompt
        tokens = [part for part in prompt if isinstance(part, int)]
        if len(tokens) == len(prompt):
            return await model.detokenize(caller, tokens, info=info)
        runs = itertools.groupby(prompt, type)
        return "".join([await run_text(list(run)) for _, run in runs])

    async def run_text(run: Sequence[int | str]) -> str:
        tokens = [part for part in run if isinstance(part, int)]
        texts = "".join(part for part in run if isinstance(part, str))
        return await model.detokenize(caller, tokens, info=info) if tokens else texts

    return await asyncio.gather(*map(text, prompts))
