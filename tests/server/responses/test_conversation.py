"""Items as messages: what belongs to one turn of the assistant, and what ends it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from edgeinfer.chat.message import Message, ToolCall
from edgeinfer.server.responses.conversation import to_messages
from edgeinfer.server.responses.schemas.items import ItemParam

ITEMS: TypeAdapter[list[Any]] = TypeAdapter(list[ItemParam])

USER = {"role": "user", "content": "Hi"}
THOUGHT = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hmm"}]}
TEXT = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes"}]}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "2"}

USER_MESSAGE = Message(role="user", content="Hi")
MADE = ToolCall("f", {"a": 1}, "c1")
RESULT_MESSAGE = Message(role="tool", content="2", tool_call_id="c1")


def messages(*items: dict[str, Any], instructions: str | None = None) -> list[Message]:
    return to_messages([entry.item for entry in ITEMS.validate_python(list(items))], instructions)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ((USER, TEXT), [USER_MESSAGE, Message(role="assistant", content="Yes")]),
        (
            (USER, THOUGHT, TEXT, CALL, CALL, RESULT),
            [
                USER_MESSAGE,
                Message(role="assistant", content="Yes", reasoning="hmm", tool_calls=(MADE, MADE)),
                RESULT_MESSAGE,
            ],
        ),
        (
            (THOUGHT, CALL, RESULT, THOUGHT, CALL),
            [
                Message(role="assistant", reasoning="hmm", tool_calls=(MADE,)),
                RESULT_MESSAGE,
                Message(role="assistant", reasoning="hmm", tool_calls=(MADE,)),
            ],
        ),
        ((TEXT, TEXT), [Message(role="assistant", content="Yes")] * 2),
        (
            (CALL, TEXT),
            [Message(role="assistant", tool_calls=(MADE,)), Message(role="assistant", content="Yes")],
        ),
        ((THOUGHT, THOUGHT, TEXT), [Message(role="assistant", content="Yes", reasoning="hmm\nhmm")]),
        ((THOUGHT, USER), [Message(role="assistant", reasoning="hmm"), USER_MESSAGE]),
    ],
)
def test_the_items_of_a_turn_are_one_message(
    items: tuple[dict[str, Any], ...], expected: list[Message]
) -> None:
    """Thoughts, then a text, then calls; whatever comes in another order begins another turn."""
    assert messages(*items) == expected


def test_instructions_come_first() -> None:
    """As a system message; a developer's are the system's too."""
    found = messages({"role": "developer", "content": "Be brief."}, USER, instructions="Be kind.")
    assert found == [
        Message(role="system", content="Be kind."),
        Message(role="system", content="Be brief."),
        USER_MESSAGE,
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("", {}), ("{}", {}), ('{"a": ', '{"a": '), ("[1]", "[1]"), ('{"a": 1, "a": 2}', '{"a": 1, "a": 2}')],
)
def test_arguments_that_are_no_object_stay_a_text(arguments: str, expected: object) -> None:
    """A call that was cut has such ones."""
    (turn,) = messages({**CALL, "arguments": arguments})
    assert turn.tool_calls[0].arguments == expected


def test_a_refusal_is_what_the_assistant_said() -> None:
    """The model is told."""
    refusal = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert messages(USER, refusal)[1] == Message(role="assistant", content="No.")
