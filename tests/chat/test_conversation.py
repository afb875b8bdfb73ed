"""Conversations in the form that a template takes them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from edgeinfer.chat.arrangement import arrange
from edgeinfer.chat.capabilities import Capabilities
from edgeinfer.chat.conversation import template_messages
from edgeinfer.chat.message import Message, ToolCall
from edgeinfer.chat.tools.tool_formats import HERMES, LFM2, MISTRAL
from edgeinfer.errors import InvalidRequest

FULL = Capabilities(tools=True, tool_calls=True, tool_results=True)

USER = Message(role="user", content="Hi")
USER_TURN = {"role": "user", "content": "Hi"}


def conversation(messages: list[Message], capabilities: Capabilities) -> list[dict[str, Any]]:
    return arrange(template_messages(messages, HERMES), capabilities, HERMES)


def calling(arguments: dict[str, Any] | None = None, content: str = "") -> Message:
    return Message(role="assistant", content=content, tool_calls=(ToolCall("f", arguments or {}, "1"),))


def result(content: str, name: str | None = None) -> Message:
    return Message(role="tool", tool_call_id="1", content=content, name=name)


def system(content: str) -> Message:
    return Message(role="system", content=content)


def test_content_becomes_parts_where_the_template_insists() -> None:
    """One part holds all of it."""
    turns = conversation([USER], Capabilities(typed_content=True))
    assert turns == [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]


def test_no_messages_are_refused() -> None:
    """There is nothing to answer."""
    with pytest.raises(InvalidRequest):
        conversation([], FULL)


def test_absent_fields_are_left_out_and_others_stay() -> None:
    """Templates ask whether a field is defined."""
    message = Message(role="assistant", content="x", reasoning="r")
    assert conversation([USER, message], FULL)[1] == {
        "role": "assistant",
        "content": "x",
        "reasoning_content": "r",
    }


def test_messages_are_not_changed() -> None:
    """They are the caller's."""
    turns = template_messages([system("s"), USER, calling({"a": 1}), result("r")], HERMES)
    before = copy.deepcopy(turns)
    for capabilities in (FULL, Capabilities(system=False), Capabilities(typed_content=True)):
        arrange(turns, capabilities, HERMES)
    assert turns == before


@pytest.mark.parametrize(("as_object", "expected"), [(True, {"a": "ü"}), (False, '{"a": "ü"}')])
def test_arguments_take_the_form_the_template_wants(as_object: bool, expected: Any) -> None:
    """An object, or JSON text."""
    capabilities = Capabilities(tool_calls=True, arguments_object=as_object)
    turn = conversation([USER, calling({"a": "ü"})], capabilities)[1]
    assert turn["tool_calls"][0]["function"] == {"name": "f", "arguments": expected}


@pytest.mark.parametrize(("null", "expected"), [(False, ""), (True, None)])
def test_content_beside_calls_is_empty_or_null(null: bool, expected: str | None) -> None:
    """DeepSeek's templates show calls only where content is null."""
    capabilities = Capabilities(tool_calls=True, null_content=null)
    assert conversation([USER, calling()], capabilities)[1]["content"] == expected


def test_calls_and_results_become_text_where_the_template_drops_them() -> None:
    """Results are the user's then, in one message with what the user says next: roles must alternate."""
    messages = [USER, calling({"a": 1}, "So."), result("r"), result("s"), USER]
    assert conversation(messages, Capabilities()) == [
        USER_TURN,
        {
            "role": "assistant",
            "content": 'So.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>',
        },
        {
            "role": "user",
            "content": "<tool_response>\nr\n</tool_response>\n<tool_response>\ns\n</tool_response>\nHi",
        },
    ]


def test_leading_system_messages_become_one() -> None:
    """Many templates look at the first message only."""
    messages = [system("a"), system("b"), USER]
    assert conversation(messages, FULL) == [{"role": "system", "content": "a\n\nb"}, USER_TURN]


def test_a_later_system_message_stays_where_it_is() -> None:
    """What to do with it is the template's business."""
    assert conversation([USER, system("a")], FULL) == [USER_TURN, {"role": "system", "content": "a"}]


def test_system_text_goes_to_the_next_user_message_where_there_is_no_system_role() -> None:
    """And makes one of its own where nobody speaks after it."""
    answer = Message(role="assistant", content="a")
    turns = conversation(
        [system("s"), USER, answer, system("s"), system("s"), USER, answer, system("s")],
        Capabilities(system=False),
    )
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant", "user"]
    assert [turn["content"] for turn in turns] == ["s\n\nHi", "a", "s\n\ns\n\nHi", "a", "s"]


def test_a_result_gets_the_name_of_its_tool() -> None:
    """Some templates show it. A name that is there stays."""
    turns = template_messages([USER, calling(), result("r"), result("r", "g")], HERMES)
    assert ["f", "g"] == [turn["name"] for turn in turns[2:]]


def test_neither_call_nor_result_needs_an_id() -> None:
    """The name is then that of the call before."""
    called = Message(role="assistant", tool_calls=(ToolCall("f", {}),))
    turns = conversation([called, Message(role="tool", content="1")], FULL)
    assert turns[1]["name"] == "f"


def test_results_find_their_calls() -> None:
    """By their ids; those with an id of no call, or with none, belong to the calls without a result, in order."""
    calls = tuple(ToolCall(name, {}, id) for name, id in (("f", "1"), ("g", None), ("h", "3")))
    results = [
        Message(role="tool", content=text, tool_call_id=id)
        for text, id in (("g", "x"), ("f", "1"), ("h", None), ("stray", "y"), ("stray", None))
    ]
    call, *answers = template_messages([Message(role="assistant", tool_calls=calls), *results], HERMES)
    ids = [one["id"] for one in call["tool_calls"]]
    assert len({*ids, answers[4]["tool_call_id"]}) == 4
    assert [*(ids[n] for n in (1, 0, 2)), "y"] == [turn["tool_call_id"] for turn in answers[:4]]
    assert ["g", "f", "h", None, None] == [turn.get("name") for turn in answers]


def test_ids_take_the_form_that_templates_insist_on() -> None:
    """In calls and results alike: Mistral's refuse any but nine letters and digits."""
    _, call, answer = template_messages([USER, calling(), result("r")], MISTRAL)
    assert 9 == len(call["tool_calls"][0]["id"])
    assert call["tool_calls"][0]["id"] == answer["tool_call_id"]
    assert "f" == answer["name"]


def test_calls_are_written_as_their_family_does() -> None:
    """Where the template drops them."""
    messages = [USER, calling({"a": "x"}), result("r")]
    turns = arrange(template_messages(messages, LFM2), Capabilities(), LFM2)
    assert '<|tool_call_start|>[f(a="x")]<|tool_call_end|>' == turns[1]["content"]
    assert "<|tool_response_start|>r<|tool_response_end|>" == turns[2]["content"]


@pytest.mark.parametrize(
    ("system_role", "expected"),
    [
        (True, [{"role": "system", "content": "s\n\ntools"}, USER_TURN]),
        (False, [{"role": "user", "content": "s\n\ntools\n\nHi"}]),
    ],
)
def test_tools_are_told_at_the_end_of_the_system_message(system_role: bool, expected: Any) -> None:
    """Wherever that is."""
    turns = template_messages([system("s"), USER], HERMES)
    assert expected == arrange(turns, Capabilities(system=system_role), HERMES, "tools")
    (first, _) = arrange(template_messages([USER], HERMES), Capabilities(), HERMES, "tools")
    assert {"role": "system", "content": "tools"} == first
