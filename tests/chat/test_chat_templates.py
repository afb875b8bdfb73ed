"""Conversations of ten shapes with the templates of sixty families: nothing of them is lost."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from edgeinfer.chat.message import Message, ToolCall
from edgeinfer.chat.outline import outline
from edgeinfer.chat.prompt import PromptBuilder
from edgeinfer.chat.template_renderer import TemplateRenderer
from tests.support.chat_templates import chat_templates, row
from tests.support.paths import ROOT
from tests.support.templates import bare_model

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROWS = {
    match[1]: match[0]
    for match in re.finditer(
        r"^\| ([\w.-]+) \|.*\|$",
        (ROOT / "docs/models.md").read_text().partition("| template |")[2].partition("\n\n")[0],
        re.M,
    )
}
"""The table of docs/models.md by the names of the templates."""

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "Where."}}},
    },
}
SYSTEM = Message(role="system", content="system")
USER = Message(role="user", content="user")
ANSWER = Message(role="assistant", content="answer")
CALL, OTHER = ToolCall("get_weather", {"city": "Paris"}, "call_1"), ToolCall("get_weather", {}, "call_2")
CUT = ToolCall("get_weather", '{"ci', "call_1")
RESULT = Message(role="tool", content="result", tool_call_id="call_1")
OTHER_RESULT = Message(role="tool", content="result", tool_call_id="call_2")


def calling(*calls: ToolCall, text: str = "") -> Message:
    return Message(role="assistant", content=text, tool_calls=calls)


SHAPES = {
    "roles that repeat": [USER, USER, ANSWER, ANSWER, USER],
    "the assistant first": [SYSTEM, ANSWER, USER],
    "a later system message": [SYSTEM, USER, ANSWER, SYSTEM, USER],
    "a system message alone": [SYSTEM],
    "a call": [SYSTEM, USER, calling(CALL), RESULT],
    "text beside a call": [USER, calling(CALL, text="text"), RESULT, ANSWER, USER],
    "several calls": [USER, calling(CALL, OTHER), RESULT, OTHER_RESULT, ANSWER, USER],
    "a cut call": [USER, calling(CUT), RESULT, USER],
    "a call without a result": [USER, calling(CALL), USER],
    "a result without a call": [USER, ANSWER, RESULT, USER],
    "empty turns": [Message(role="user"), ANSWER, USER, Message(role="assistant"), USER],
    "an answer to continue": [USER, ANSWER],
}


@pytest.fixture(scope="module")
def templates() -> dict[str, str]:
    return chat_templates()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def renderer() -> AsyncIterator[TemplateRenderer]:
    renderer = TemplateRenderer()
    yield renderer
    await renderer.close()


async def test_the_table_has_every_template(templates: dict[str, str]) -> None:
    """And no other."""
    assert set(ROWS) == set(templates)


@pytest.mark.parametrize("name", ROWS)
async def test_the_table_says_what_a_template_cannot_do(templates: dict[str, str], name: str) -> None:
    """`python -m tests.support.chat_templates` prints the right rows."""
    assert ROWS[name] == row(name, templates[name])


@pytest.mark.parametrize("tools", [(), (TOOL,)], ids=["without tools", "with tools"])
@pytest.mark.parametrize("name", ROWS)
async def test_nothing_is_lost(
    templates: dict[str, str], renderer: TemplateRenderer, name: str, tools: tuple[Any, ...]
) -> None:
    """Every text, every call and every tool is in the prompt."""
    chat = PromptBuilder(bare_model(templates={"default": templates[name]}, bos="<s>", eos="</s>"), renderer)
    for shape, messages in SHAPES.items():
        sketch = outline(messages)
        prompt = "".join(span.text for span in (await chat.build(sketch.messages, tools)).spans)
        assert (shape, None) == (shape, sketch.lost(prompt))
        assert bool(tools) <= ("get_weather" in prompt)
