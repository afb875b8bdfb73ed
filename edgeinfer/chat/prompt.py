"""From an OpenAI conversation to the prompt of one model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

from edgeinfer.chat.builtin import builtin
from edgeinfer.chat.capabilities import Capabilities, judge, probes
from edgeinfer.chat.control import ControlTokens
from edgeinfer.chat.conversation import Message, conversation
from edgeinfer.chat.guard import Guard
from edgeinfer.chat.renderer import Renderer
from edgeinfer.chat.veil import Veil, texts
from edgeinfer.errors import ContextLengthExceeded, InvalidRequest, TemplateError, UnsupportedParameter
from edgeinfer.worker.messages import ModelInfo, Span

P = ParamSpec("P")
T = TypeVar("T")

RESERVED = ("messages", "tools", "add_generation_prompt", "bos_token", "eos_token")
"""Template variables that are ours to set."""

LONGEST_TOKEN = 512
"""Characters that a token stands for at the most; vocabularies have runs of up to 256 spaces."""

LARGE = 100_000
"""Characters that take a few milliseconds."""

KNOWN = 16
"""Templates whose properties are remembered; a request can bring one of its own."""


class Known(NamedTuple):
    """What has been found out about a template."""

    capabilities: Capabilities
    guard: Guard


class ChatPrompter:
    """Makes prompts for one loaded model.

    The template is the caller's, else the model's "tool_use" where there are tools, else its "default", else
    a built-in: ChatML for a model with an `<|im_start|>` token, plain `User:` / `Assistant:` for any other.

    No text of the caller becomes a control token: where it would, it stands in an untrusted span.
    """

    def __init__(self, info: ModelInfo, renderer: Renderer) -> None:
        self._info = info
        self._renderer = renderer
        self._tokens = ControlTokens(info.control_tokens)
        self._known: dict[str, Known] = {}

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
    ) -> list[Span]:
        """Render a conversation. With `add_generation_prompt` the model's next words belong to the assistant;
        a last message that is the assistant's is then continued.

        Raises:
            InvalidRequest: messages that are malformed, or a last one that cannot be continued.
            UnsupportedParameter: content other than text, a reserved name in `template_kwargs`.
            ContextLengthExceeded: text that is beyond any hope.
            TemplateError: the template refused, failed or exceeded a limit.
        """
        _check(template_kwargs or {})
        source = template or self.template(bool(tools))
        known = await self._know(source)
        turns = conversation(messages, known.capabilities)
        continued = add_generation_prompt and turns[-1]["role"] == "assistant"
        given = {"tools": tools or None, **(template_kwargs or {})}
        try:
            size = sum(map(len, texts([turns, given])))
            self._check_size(size)
            veil, covered, given = await _run(size, _veiled, known.guard, turns, given)
        except RecursionError:
            raise InvalidRequest("the messages or tools are nested too deeply", param="messages") from None
        if continued:
            _append(covered[-1], veil.mark)
        given["add_generation_prompt"] = add_generation_prompt and not continued
        text = await self._render(source, {"messages": covered, "documents": None, **given}, veil)
        return await _run(len(text), veil.spans, _cut(text, turns[-1], veil) if continued else text)

    def _check_size(self, size: int) -> None:
        """Spare everybody the work on what cannot fit; what does not fit by little, the worker will tell."""
        if size > self._info.ctx * LONGEST_TOKEN:
            raise ContextLengthExceeded(
                f"the messages have {size} characters, more than a context of {self._info.ctx} tokens can hold",
                param="messages",
            )

    async def _render(self, source: str, context: dict[str, Any], veil: Veil) -> str:
        try:
            return await self._renderer.render(source, self._context(context))
        except TemplateError as e:
            raise TemplateError(veil.show(e.message).replace(veil.mark, ""), param="messages") from None

    async def _know(self, source: str) -> Known:
        known = self._known.get(source)
        if known is None:
            contexts = [self._context(probe) for probe in probes()]
            renderings = await self._renderer.render_each(source, contexts)
            known = Known(judge(renderings), Guard(self._tokens, source))
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


def _veiled(
    guard: Guard, turns: list[Message], given: dict[str, Any]
) -> tuple[Veil, list[Message], dict[str, Any]]:
    veil = Veil(guard, [turns, given])
    return veil, [_covered(turn, veil) for turn in turns], {key: veil.cover(v) for key, v in given.items()}


def _covered(turn: Message, veil: Veil) -> Message:
    """All but the role: that is one of ours by now, and templates make control tokens of it."""
    return {key: value if key == "role" else veil.cover(value) for key, value in turn.items()}


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


def _cut(text: str, turn: Message, veil: Veil) -> str:
    """The text up to the mark, if what stands before it is the whole message to be continued."""
    head, *tails = text.split(veil.mark)
    content = turn["content"]
    wanted = content[-1]["text"] if isinstance(content, list) else content
    if len(tails) != 1 or not veil.show(head).endswith(wanted.strip() and wanted.lstrip()):
        raise InvalidRequest(
            "the last message is the assistant's, and the chat template does not render it word for word, "
            "so it cannot be continued",
            param="messages",
            hint="end with a user message",
        )
    return head
