"""Builds the prompt of one model from a conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar

import msgspec

from edgeinfer.chat.builtin_templates import builtin
from edgeinfer.chat.capabilities import Capabilities
from edgeinfer.chat.control_mask import ControlTokenMask, iter_texts
from edgeinfer.chat.conversation import TemplateMessage, template_messages
from edgeinfer.chat.draft import Draft
from edgeinfer.chat.message import Message
from edgeinfer.chat.reasoning import ReasoningFormat, detect_continued_reasoning, detect_reasoning
from edgeinfer.chat.template_limits import template_limits
from edgeinfer.chat.template_profile import TemplateProfile, TemplateProfiles, with_tokens
from edgeinfer.chat.template_renderer import TemplateRenderer
from edgeinfer.chat.tools.tool_format import ToolFormat
from edgeinfer.errors import InvalidRequest, TemplateError, UnsupportedParameter, context_exceeded
from edgeinfer.inference.types import ModelInfo, Span

P = ParamSpec("P")
T = TypeVar("T")

RESERVED = ("messages", "tools", "add_generation_prompt", "bos_token", "eos_token")
"""Template variables that are ours to set."""

MAX_TOKEN_CHARS = 512
"""Characters that one token stands for at the most; vocabularies have runs of up to 256 spaces."""

MIN_THREAD_CHARS = 100_000
"""Text that takes long enough (a few milliseconds) to be worth a thread."""

TURN_CHARS = 200
"""Characters whose work is that of one more turn."""


class ChatPrompt(NamedTuple):
    """A prompt, and how the answer to it has to be read."""

    spans: list[Span]
    reasoning: ReasoningFormat
    tool_format: ToolFormat


class PromptBuilder:
    """Builds prompts for one loaded model.

    The template is the request's, else the model's "tool_use" for tools it can tell of, else its "default", else
    a built-in: ChatML for a model with an `<|im_start|>` token, plain `User:` / `Assistant:` for any other.

    No text of the caller becomes a control token: where it would, it stands in an untrusted span.
    """

    def __init__(self, info: ModelInfo, renderer: TemplateRenderer, tool_format: str | None = None) -> None:
        """`tool_format` names the model's, where its template does not show it."""
        self._info = info
        self._renderer = renderer
        self._profiles = TemplateProfiles(info, renderer, tool_format)

    async def template(self, tools: bool = False) -> str:
        """The source that is rendered, with tools or without.

        "tool_use" tells the model of tools in a way of its own. If that is none we know, the default gets the
        tools in ours.
        """
        templates = self._info.chat_templates
        variant, default = templates.get("tool_use"), templates.get("default")
        if variant and (not default or (tools and (await self._profiles.get(variant)).capabilities.tools)):
            return variant
        return default or builtin(self._info.control_tokens)

    async def capabilities(self, tools: bool = False, template: str | None = None) -> Capabilities:
        """The capabilities of the template. Raises TemplateError if detecting them exceeds a limit."""
        return (await self._profiles.get(template or await self.template(tools))).capabilities

    def known_limits(self) -> list[str] | None:
        """What the model's template cannot do by itself; None as long as it has not been probed."""
        source = self._info.chat_templates.get("default")
        profile = self._profiles.known(source) if source else None
        return template_limits(source, profile.capabilities) if source and profile else None

    async def build(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        add_generation_prompt: bool = True,
        template_kwargs: Mapping[str, Any] | None = None,
        template: str | None = None,
        thinking: bool | None = None,
    ) -> ChatPrompt:
        """Render a conversation. With `add_generation_prompt` the model's next words belong to the assistant;
        if the last message is the assistant's, they continue it.

        `tools` are definitions in OpenAI's form. Which of them may be called does not change the prompt, so
        that it stays in the cache. `thinking` is the template's `enable_thinking`; where that is false, the
        model does not think even if the template ignores it.

        Raises:
            InvalidRequest: there are no messages, or the last one cannot be continued.
            UnsupportedParameter: a reserved name in `template_kwargs`.
            ContextLengthExceeded: the text is far longer than the context.
            TemplateError: the template refused, failed or exceeded a limit.
        """
        _check_reserved(template_kwargs or {})
        source = template or await self.template(bool(tools))
        profile = await self._profiles.get(source)
        turns = template_messages(messages, profile.tool_format)
        continues = add_generation_prompt and turns[-1]["role"] == "assistant"
        values = {
            "tools": list(tools) or None,
            "add_generation_prompt": add_generation_prompt and not continues,
            **profile.variables,
            **_thinking_kwargs(thinking),
            **(template_kwargs or {}),
        }
        try:
            size = sum(map(len, iter_texts([turns, values])))
            self._check_size(size)
            size += len(turns) * TURN_CHARS
            draft = await _run(size, Draft, profile, messages, turns, values, continues)
        except RecursionError:
            raise InvalidRequest("the messages or tools are nested too deeply", param="messages") from None
        text = await self._render(source, draft, profile, size)
        if continues:
            reasoning = detect_continued_reasoning(source, turns[-1]["content"])
            text = _cut_at_sentinel(text, turns[-1], draft.mask)
        else:
            reasoning = detect_reasoning(source, text)
            if add_generation_prompt and values.get("enable_thinking") is False:
                text, reasoning = text + reasoning.skipped, reasoning.closed()
        return ChatPrompt(await _run(len(text), draft.mask.spans, text), reasoning, profile.tool_format)

    def _check_size(self, size: int) -> None:
        """Refuse early what cannot fit by far; the engine counts the tokens of the rest."""
        if size > self._info.ctx * MAX_TOKEN_CHARS:
            raise context_exceeded(
                self._info.ctx,
                f"the messages have {size} characters, far more than that",
                trained=self._info.n_ctx_train,
                param="messages",
            )

    async def _render(self, source: str, draft: Draft, profile: TemplateProfile, size: int) -> str:
        """Render the conversation as the template's capabilities have it.

        Where it refuses that or leaves something out, its system texts are given to the user: some templates
        render one only if the user has the last word. The last try is a conversation that any template takes.
        """
        errors = []
        own = profile.capabilities
        for capabilities in (own, msgspec.structs.replace(own, system=False), own.least()):
            drafted = await _run(size, draft.contexts, capabilities)
            contexts = [with_tokens(context, self._info) for context in drafted]
            outlined, rendered = await self._renderer.render_each(source, contexts)
            lost = None if outlined.text is None else draft.lost(outlined.text)
            if rendered.text is not None and lost is None:
                return rendered.text
            message = draft.mask.unmask(rendered.error).replace(draft.mask.sentinel, "")
            errors.append(
                TemplateError(message, param="messages")
                if rendered.text is None
                else TemplateError(
                    f"the model's chat template leaves out {lost}",
                    param=lost,
                    hint="leave it out of the request, or send the text as part of another message",
                )
            )
        raise errors[0]


def _check_reserved(kwargs: Mapping[str, Any]) -> None:
    for name in RESERVED:
        if name in kwargs:
            raise UnsupportedParameter(
                f"{name!r} cannot be set for the template: the server sets it",
                param=f"chat_template_kwargs.{name}",
                hint=f"leave {name!r} out of chat_template_kwargs",
            )


async def _run(size: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function; in a thread if it has much text to work on, so that the event loop serves others."""
    if size < MIN_THREAD_CHARS:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)


def _thinking_kwargs(thinking: bool | None) -> dict[str, Any]:
    """The names that templates have for it."""
    return {} if thinking is None else {"enable_thinking": thinking, "thinking": thinking}


def _cut_at_sentinel(text: str, turn: TemplateMessage, mask: ControlTokenMask) -> str:
    """The text up to the sentinel, if what stands before it is the whole message that is to be continued."""
    head, *tails = text.split(mask.sentinel)
    content = turn["content"]
    expected = content[-1]["text"] if isinstance(content, list) else content
    if len(tails) != 1 or not mask.unmask(head).endswith(expected.strip() and expected.lstrip()):
        raise InvalidRequest(
            "the last message is the assistant's, and the chat template does not render it word for word, "
            "so it cannot be continued",
            param="messages",
            hint="end with a user message",
        )
    return head
