"""Detects what a chat template can render, by rendering small conversations with it."""

from __future__ import annotations

from itertools import product
from typing import Any, Literal

import msgspec

from edgeinfer.chat.template_protocol import RenderOutcome

USER, SYSTEM, TOOL, ARGUMENT, RESULT = (
    "needle-in-user",
    "needle-in-system",
    "needle_tool",
    "needle_argument",
    "needle-in-result",
)

QUESTION: dict[str, Any] = {"role": "user", "content": USER}

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": TOOL,
            "description": "A tool.",
            "parameters": {
                "type": "object",
                "properties": {"place": {"type": "string", "description": "A place."}},
                "required": ["place"],
            },
        },
    }
]

CALL_SHAPES = list(product(("", None), (True, False)))
"""Ways to write a message that calls tools: its empty content, and whether arguments are an object."""


Beside = Literal["shown", "written", "apart"]
"""The treatment of what a template may not show beside something else: leave it to the template, write calls
into the text as the model would, or give each part a turn of its own."""


class Capabilities(msgspec.Struct, frozen=True):
    """The kinds of messages that one template renders, and the orders of them that it takes.

    Attributes:
        system: it renders system messages.
        later_system: it renders a system message that is not the first message.
        userless: it takes a conversation without a user.
        typed_content: it wants content as a list of parts, and would not render a string.
        empty_turns: it takes turns without any text.
        repeats: it takes two turns of one role in a row.
        assistant_first: it takes a conversation that the assistant begins.
        calls_alternate: calls count as turns of the assistant, where turns must not repeat.
        tools: it renders tools.
        unknown_calls: it renders tools or calls in a form that is not known here, so it gets none.
        tools_list: it wants an empty list, not null, where there are no tools.
        tool_calls: it renders the calls in an assistant's message.
        tool_results: it renders `tool` messages.
        stray_results: it renders `tool` messages that no call precedes.
        text_beside_calls: the treatment of text in a message that calls tools.
        parallel_calls: the treatment of several calls in one message.
        arguments_object: it wants a call's arguments as an object, not as JSON text.
        cut_arguments: it renders arguments that are not JSON, as text.
        null_content: it wants null, not "", as the content next to tool calls.
    """

    system: bool = True
    later_system: bool = True
    userless: bool = True
    typed_content: bool = False
    empty_turns: bool = True
    repeats: bool = True
    assistant_first: bool = True
    calls_alternate: bool = False
    tools: bool = False
    unknown_calls: bool = False
    tools_list: bool = False
    tool_calls: bool = False
    tool_results: bool = False
    stray_results: bool = True
    text_beside_calls: Beside = "shown"
    parallel_calls: Beside = "shown"
    arguments_object: bool = True
    cut_arguments: bool = True
    null_content: bool = False

    def least(self) -> Capabilities:
        """The least that a template of this kind of content could have: a user and an assistant who alternate."""
        return Capabilities(
            system=False,
            userless=False,
            typed_content=self.typed_content,
            tools_list=self.tools_list,
            empty_turns=False,
            repeats=False,
            assistant_first=False,
            calls_alternate=True,
        )


def probe_contexts(no_tools: list[Any] | None) -> list[dict[str, Any]]:
    """The contexts to render, each without bos_token and eos_token; `detect_capabilities` reads the outcomes.

    `no_tools` is the value of `tools` where there are none.
    """
    typed = {"role": "user", "content": [{"type": "text", "text": USER}]}
    plain: list[list[dict[str, Any]]] = [
        [QUESTION],
        [typed],
        [{"role": "system", "content": SYSTEM}, QUESTION],
        [{"role": "system", "content": [{"type": "text", "text": SYSTEM}]}, typed],
    ]
    calling = [[QUESTION]] + [[QUESTION, _call(*shape)] for shape in CALL_SHAPES]
    answered = [[QUESTION, _call(*shape), _result()] for shape in CALL_SHAPES]
    return [render_context(messages, no_tools) for messages in plain] + [
        render_context(messages, TOOLS) for messages in calling + answered
    ]


def detect_capabilities(renderings: list[RenderOutcome]) -> Capabilities:
    """The capabilities that the outcomes of `probe_contexts` show.

    A template that fails at everything shows nothing; it is then taken to be capable.
    """
    texts = [rendering.text or "" for rendering in renderings]
    user, typed_user, system, typed_system, tools = texts[:5]
    calls, answers = texts[5 : 5 + len(CALL_SHAPES)], texts[5 + len(CALL_SHAPES) :]
    typed = USER not in user and USER in typed_user
    scores = [_score(text, as_object) for text, (_, as_object) in zip(calls, CALL_SHAPES, strict=True)]
    # Among equals the shortest: some templates add an empty answer, some write "None".
    best = min(range(len(scores)), key=lambda n: (-scores[n], len(calls[n]) if scores[n] else 0))
    content, arguments_object = CALL_SHAPES[best]
    return Capabilities(
        system=SYSTEM in (typed_system if typed else system) or USER not in user + typed_user,
        typed_content=typed,
        tools=TOOL in tools,
        tool_calls=scores[best] > 0,
        tool_results=RESULT in answers[best],
        arguments_object=arguments_object,
        null_content=content is None,
    )


def _score(text: str, as_object: bool) -> int:
    """A score for how the template rendered the arguments; 0 is not at all, or as JSON within JSON.

    Writing an object beats copying JSON text: that is what the model was trained on. Python's own notation,
    however, is the sign of a template that meant to copy text.
    """
    if f'"{ARGUMENT}":' in text:
        return 4 if as_object else 2
    if ARGUMENT not in text or f'\\"{ARGUMENT}' in text:
        return 0
    return 3 if as_object and f"'{ARGUMENT}':" not in text else 1


def render_context(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> dict[str, Any]:
    """A context without bos_token and eos_token."""
    return {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": False}


def _call(content: str | None, as_object: bool) -> dict[str, Any]:
    arguments = {ARGUMENT: "value"} if as_object else f'{{"{ARGUMENT}": "value"}}'
    # Nine letters and digits: the only id that every Mistral template takes.
    call = {"id": "call00001", "type": "function", "function": {"name": TOOL, "arguments": arguments}}
    return {"role": "assistant", "content": content, "tool_calls": [call]}


def _result() -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "call00001", "name": TOOL, "content": RESULT}
