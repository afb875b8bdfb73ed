"""From an OpenAI conversation to the prompt of one model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import msgspec

from edgeinfer.chat.builtin_templates import builtin
from edgeinfer.chat.capabilities import Capabilities, detect_capabilities, probe_contexts
from edgeinfer.chat.control_mask import ControlTokenMask, texts
from edgeinfer.chat.control_tokens import ControlTokens
from edgeinfer.chat.conversation import Message, arranged, conversation
from edgeinfer.chat.reasoning import Thinking, continued, detect_reasoning
from edgeinfer.chat.template_guard import TemplateGuard
from edgeinfer.chat.template_renderer import TemplateRenderer
from edgeinfer.chat.tools.detect import tool_format
from edgeinfer.chat.tools.tool_format import ToolFormat
from edgeinfer.errors import ContextLengthExceeded, InvalidRequest, TemplateError, UnsupportedParameter
from edgeinfer.inference.types import ModelInfo, Span

P = ParamSpec("P")
T = TypeVar("T")

RESERVED = ("messages", "tools", "add_generation_prompt", "bos_token", "eos_token")
"""Template variables that are ours to set."""

MAX_TOKEN_CHARS = 512
"""Characters that a token stands for at the most; vocabularies have runs of up to 256 spaces."""

LARGE = 100_000
"""Characters that take a few milliseconds."""

KNOWN = 16
"""Templates whose properties are remembered; a request can bring one of its own."""


class TemplateProfile(NamedTuple):
    """What has been found out about a template."""

    capabilities: Capabilities
    guard: TemplateGuard
    form: ToolFormat


class ChatPrompt(NamedTuple):
    """A prompt, and how the answer to it has to be read."""

    spans: list[Span]
    reasoning: Thinking
    tool_format: ToolFormat


class PromptBuilder:
    """Makes prompts for one loaded model.

    The template is the caller's, else the model's "tool_use" where there are tools, else its "default", else
    a built-in: ChatML for a model with an `<|im_start|>` token, plain `User:` / `Assistant:` for any other.

    No text of the caller becomes a control token: where it would, it stands in an untrusted span.
    """

    def __init__(self, info: ModelInfo, renderer: TemplateRenderer, tool_format: str | None = None) -> None:
        """`tool_format` names the model's, where its template does not show it."""
        self._info = info
        self._renderer = renderer
        self._tool_format = tool_format
        self._tokens = ControlTokens(info.control_tokens)
        self._known: dict[str, TemplateProfile] = {}

    def template(self, tools: bool = False) -> str:
        """The source that is rendered, with tools or without."""
        templates = self._info.chat_templates
        variant = (templates.get("tool_use") if tools else None) or templates.get("default")
        return variant or builtin(self._info.control_tokens)

    async def capabilities(self, tools: bool = False, template: str | None = None) -> Capabilities:
        """What the template can take. Raises TemplateError if finding out exceeds a limit."""
        return (await self._know(template or self.template(tools))).capabilities

    async def prompt(
        self,
        messages: list[Message],
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        template_kwargs: dict[str, Any] | None = None,
        template: str | None = None,
        thinking: bool | None = None,
    ) -> ChatPrompt:
        """Render a conversation. With `add_generation_prompt` the model's next words belong to the assistant;
        a last message that is the assistant's is then continued.

        `thinking` is the template's `enable_thinking`. Where that is false the model does not think, whatever
        the template makes of it.

        Which of the tools may be called does not change the prompt: it is long, and remembered.

        Raises:
            InvalidRequest: messages that are malformed, or a last one that cannot be continued.
            UnsupportedParameter: content other than text, a reserved name in `template_kwargs`.
            ContextLengthExceeded: text that is beyond any hope.
            TemplateError: the template refused, failed or exceeded a limit.
        """
        _check(template_kwargs or {})
        source = template or self.template(bool(tools))
        known = await self._know(source)
        turns = conversation(messages, known.form)
        going_on = add_generation_prompt and turns[-1]["role"] == "assistant"
        given = {"tools": tools or None, **_switches(thinking), **(template_kwargs or {})}
        try:
            size = sum(map(len, texts([turns, given])))
            self._check_size(size)
            mask, covered, given = await _run(size, _veiled, known, turns, given)
        except RecursionError:
            raise InvalidRequest("the messages or tools are nested too deeply", param="messages") from None
        if going_on:
            _append(covered[-1], mask.sentinel)
        given["add_generation_prompt"] = add_generation_prompt and not going_on
        text = await self._render(source, {"messages": covered, "documents": None, **given}, mask)
        if going_on:
            reasoning = continued(source, turns[-1]["content"])
            text = _cut(text, turns[-1], mask)
        else:
            reasoning = detect_reasoning(source, text)
            if add_generation_prompt and given.get("enable_thinking") is False:
                text, reasoning = text + reasoning.off, reasoning.stopped()
        return ChatPrompt(await _run(len(text), mask.spans, text), reasoning, known.form)

    def _check_size(self, size: int) -> None:
        """Spare everybody the work on what cannot fit; what does not fit by little, the worker will tell."""
        if size > self._info.ctx * MAX_TOKEN_CHARS:
            raise ContextLengthExceeded(
                f"the messages have {size} characters, more than a context of {self._info.ctx} tokens can hold",
                param="messages",
            )

    async def _render(self, source: str, context: dict[str, Any], mask: ControlTokenMask) -> str:
        try:
            return await self._renderer.render(source, self._context(context))
        except TemplateError as e:
            raise TemplateError(mask.unmask(e.message).replace(mask.sentinel, ""), param="messages") from None

    async def _know(self, source: str) -> TemplateProfile:
        known = self._known.get(source)
        if known is None:
            contexts = [self._context(probe) for probe in probe_contexts()]
            renderings = await self._renderer.render_each(source, contexts)
            form = tool_format(source, self._tool_format)
            known = TemplateProfile(
                _native(detect_capabilities(renderings), form), TemplateGuard(self._tokens, source), form
            )
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[source] = known
        return known

    def _context(self, context: dict[str, Any]) -> dict[str, Any]:
        return {**context, "bos_token": self._info.bos, "eos_token": self._info.eos}


def _check(kwargs: dict[str, Any]) -> None:
    for name in RESERVED:
        if name in kwargs:
            raise UnsupportedParameter(
                f"{name!r} cannot be set for the template: the server sets it",
                param=f"chat_template_kwargs.{name}",
                hint=f"leave {name!r} out of chat_template_kwargs",
            )


async def _run(size: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function, in a thread if it has much text to work on: the event loop serves others."""
    if size < LARGE:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)


def _native(capabilities: Capabilities, form: ToolFormat) -> Capabilities:
    """What the template can do is nothing to us where it does not do it in our form."""
    if not form.foreign:
        return capabilities
    return msgspec.structs.replace(capabilities, tools=False, tool_calls=False, tool_results=False)


def _switches(thinking: bool | None) -> dict[str, Any]:
    """What templates call it."""
    return {} if thinking is None else {"enable_thinking": thinking, "thinking": thinking}


def _veiled(
    known: TemplateProfile, turns: list[Message], given: dict[str, Any]
) -> tuple[ControlTokenMask, list[Message], dict[str, Any]]:
    """Everything of the caller's made harmless; what is ours is put around it only then, and is trusted."""
    mask = ControlTokenMask(known.guard, [turns, given])
    covered = {key: mask.mask(value) for key, value in given.items()}
    told = None
    if covered["tools"] and not known.capabilities.tools:
        told, covered["tools"] = known.form.section(covered["tools"]), None
    messages = [_covered(turn, mask) for turn in turns]
    return mask, arranged(messages, known.capabilities, known.form, told), covered


def _covered(turn: Message, mask: ControlTokenMask) -> Message:
    """All but what is ours by now: names of fields, and the role, of which templates make control tokens."""
    covered = {key: value if key == "role" else mask.mask(value) for key, value in turn.items()}
    if "tool_calls" in turn:
        covered["tool_calls"] = [_covered_call(call, mask) for call in turn["tool_calls"]]
    return covered


def _covered_call(call: dict[str, Any], mask: ControlTokenMask) -> dict[str, Any]:
    function = {key: mask.mask(value) for key, value in call["function"].items()}
    return {key: mask.mask(value) for key, value in call.items()} | {"function": function}


def _append(turn: Message, mark: str) -> None:
    """Mark where the message to be continued ends."""
    if turn.get("tool_calls"):
        raise InvalidRequest(
            "the last message calls tools and cannot be continued",
            param="messages",
            hint="add the tools' results, or leave the call out",
        )
    content = turn["content"]
    if isinstance(content, list):
        content[-1]["text"] += mark
    else:
        turn["content"] = content + mark


def _cut(text: str, turn: Message, mask: ControlTokenMask) -> str:
    """The text up to the mark, if what stands before it is the whole message to be continued."""
    head, *tails = text.split(mask.sentinel)
    content = turn["content"]
    wanted = content[-1]["text"] if isinstance(content, list) else content
    if len(tails) != 1 or not mask.unmask(head).endswith(wanted.strip() and wanted.lstrip()):
        raise InvalidRequest(
            "the last message is the assistant's, and the chat template does not render it word for word, "
            "so it cannot be continued",
            param="messages",
            hint="end with a user message",
        )
    return head
