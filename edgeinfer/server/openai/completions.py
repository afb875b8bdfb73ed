"""POST /v1/completions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.chat.fim import NEEDS_FIM, FimParts, fim_prompt, untrusted_text
from edgeinfer.errors import UnsupportedParameter
from edgeinfer.grammar.source import Grammar, GrammarSource
from edgeinfer.inference.output import Delta, Finish
from edgeinfer.inference.structured_output import StructuredOutput
from edgeinfer.inference.types import ModelInfo, Prompt
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.body import read
from edgeinfer.server.http.respond import respond
from edgeinfer.server.openai.logprobs import TextOffsets
from edgeinfer.server.openai.response import Answer, Kind
from edgeinfer.server.openai.schemas.completions import CompletionRequest
from edgeinfer.server.openai.schemas.inputs import Input, check_inputs
from edgeinfer.server.openai.types import Choice, TextChoice, TextLogprobs
from edgeinfer.server.state import registry_of
from edgeinfer.serving.compiled_format import CompiledFormat
from edgeinfer.serving.merge import Deltas
from edgeinfer.serving.model import ServedModel, as_prompt


async def completions(request: Request) -> Response:
    """Continue a text, in which control tokens are recognised; or, with a suffix, fill the hole before it."""
    asked = await read(request, CompletionRequest)
    return await respond(request, lambda: _begin(request, asked), stream=asked.stream)


async def _begin(request: Request, asked: CompletionRequest) -> tuple[TextAnswer, Deltas]:
    model = registry_of(request).get(asked.model)
    caller = principal_of(request.scope).id
    asked.check_stream()
    asked.check_echo()
    asked.check_form()
    info = await model.text_model()
    check_inputs(asked.prompt, info, "prompt")
    params = asked.params(info, asked.logprobs, asked.limit())
    echoes = await _texts(model, asked.prompt) if asked.echo else [""] * len(asked.prompt)
    prompts = [_prompt(info, prompt, asked.suffix) for prompt in asked.prompt]
    part = asked.form()
    grammar = Grammar(f"start: @{part.name}", (part,)) if part else None
    form = await model.compile(caller, grammar)
    structured = StructuredOutput(form.grammar, asked.completes())
    answer = TextAnswer(asked, info.name, echoes, part, form)
    return answer, model.generate(caller, prompts, params, asked.n, structured, info=info)


def _prompt(info: ModelInfo, given: Input, suffix: str) -> Prompt:
    if not suffix:
        return as_prompt(given, trusted=True)
    if info.fim is None:
        message = f"{info.name} has no fill-in-the-middle tokens"
        raise UnsupportedParameter(message, param="suffix", hint=NEEDS_FIM)
    return fim_prompt(info.fim, FimParts(as_prompt(given, trusted=False), untrusted_text(suffix)))


async def _texts(model: ServedModel, prompts: Sequence[Input]) -> list[str]:
    """The prompts as text, to be echoed."""

    async def text(prompt: Input) -> str:
        return prompt if isinstance(prompt, str) else await model.detokenize(prompt)

    return await asyncio.gather(*map(text, prompts))


class TextAnswer(Answer):
    """`echoes`: what stands before the text of each prompt's choices."""

    id_prefix: ClassVar[str] = "cmpl"
    whole_kind: ClassVar[Kind] = "text_completion"
    chunk_kind: ClassVar[Kind] = "text_completion"

    def __init__(
        self,
        asked: CompletionRequest,
        model: str,
        echoes: Sequence[str],
        part: GrammarSource | None,
        form: CompiledFormat,
    ) -> None:
        super().__init__(asked, model, len(echoes))
        self._part = part
        self._form = form
        self._echoes = echoes
        self._n = asked.n
        self._top = asked.logprobs or 0
        self._offsets = [TextOffsets() for _ in range(len(echoes) * asked.n)]

    def choice(self, index: int, text: str, finish: Finish) -> Choice:
        return TextChoice(index, self._echoes[index // self._n] + text, self._take(index), finish.reason)

    async def check(self, text: str) -> None:
        part = self._part
        if part and part.kind == "json_schema":
            await self._form.check(part.content, part.param, text)

    def pieces(self, delta: Delta, first: bool) -> list[Choice]:
        index = delta.index
        echo = self._echoes[index // self._n] if first else ""
        found: list[Choice] = [TextChoice(index, echo)] if echo else []
        if delta.text or delta.finish:
            reason = delta.finish.reason if delta.finish else None
            found.append(TextChoice(index, delta.text, self._take(index), reason))
        return found

    def _take(self, index: int) -> TextLogprobs | None:
        taken = self.take_logprobs(index)
        return self._offsets[index].convert(taken, self._top) if taken else None
