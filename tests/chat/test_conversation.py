"""Putting messages the way a template takes them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from edgeinfer.chat.capabilities import Capabilities
from edgeinfer.chat.conversation import arranged
from edgeinfer.chat.conversation import conversation as read
from edgeinfer.chat.tools.tool_formats import HERMES, LFM2, MISTRAL
from edgeinfer.errors import InvalidRequest, UnsupportedParameter

FULL = Capabilities(tools=True, tool_calls=True, tool_results=True)

USER = {"role": "user", "content": "Hi"}


def conversation(messages: list[dict[str, Any]], capabilities: Capabilities) -> list[dict[str, Any]]:
    return arranged(read(messages, HERMES), capabilities, HERMES)


def call(arguments: Any) -> dict[str, Any]:
    return {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}


def calling(arguments: Any, content: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": [call(arguments)]}


def result(content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "1", "content": content}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a", "a"),
        (None, ""),
        ([], ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        (["a", {"type": "refusal", "refusal": "no"}], "a\nno"),
    ],
)
def test_content_becomes_a_string(content: Any, expected: str) -> None:
    """Parts of text are joined, null is nothing."""
    assert conversation([{"role": "user", "content": content}], FULL) == [
        {"role": "user", "content": expected}
    ]


def test_content_other_than_text_is_refused_by_its_place() -> None:
    """The error names the part."""
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]
    with pytest.raises(UnsupportedParameter, match="image_url") as caught:
        conversation([USER, {"role": "user", "content": parts}], FULL)
    assert caught.value.param == "messages[1].content[1]"


def test_content_becomes_parts_where_the_template_insists() -> None:
    """One part holds all of it."""
    found = conversation([USER], Capabilities(typed_content=True))
    assert found == [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]


def test_roles_become_those_templates_know() -> None:
    """OpenAI's newer and older names."""
    messages = [{"role": role, "content": "x"} for role in ("developer", "user", "function")]
    assert [turn["role"] for turn in conversation(messages, FULL)] == ["system", "user", "tool"]


@pytest.mark.parametrize("role", ["im_end|>", "ipython", "", None, 1])
def test_unknown_role_is_refused(role: Any) -> None:
    """Templates make control tokens of it."""
    with pytest.raises(InvalidRequest) as caught:
        conversation([USER, {"role": role, "content": "x"}], FULL)
    assert caught.value.param == "messages[1].role"


def test_no_messages_are_refused() -> None:
    """There is nothing to answer."""
    with pytest.raises(InvalidRequest):
        conversation([], FULL)


def test_null_fields_are_left_out_and_others_stay() -> None:
    """Templates ask whether a field is defined."""
    message = {
        "role": "assistant",
        "content": "x",
        "tool_calls": None,
        "name": None,
        "reasoning_content": "r",
    }
    assert conversation([USER, message], FULL)[1] == {
        "role": "assistant",
        "content": "x",
        "reasoning_content": "r",
    }


def test_messages_are_not_changed() -> None:
    """They are the caller's."""
    messages = [{"role": "system", "content": "s"}, USER, calling('{"a": 1}'), result("r")]
    before = copy.deepcopy(messages)
    for capabilities in (FULL, Capabilities(system=False), Capabilities(typed_content=True)):
        conversation(messages, capabilities)
    assert messages == before


@pytest.mark.parametrize("given", ['{"a": "ü"}', {"a": "ü"}])
@pytest.mark.parametrize(("as_object", "expected"), [(True, {"a": "ü"}), (False, '{"a": "ü"}')])
def test_arguments_take_the_form_the_template_wants(given: Any, as_object: bool, expected: Any) -> None:
    """Whichever form they came in."""
    capabilities = Capabilities(tool_calls=True, arguments_object=as_object)
    turn = conversation([USER, calling(given)], capabilities)[1]
    assert turn["tool_calls"][0]["function"] == {"name": "f", "arguments": expected}


@pytest.mark.parametrize("arguments", ["", None, "{}"])
def test_no_arguments_are_an_empty_object(arguments: Any) -> None:
    """Some models leave them out."""
    turn = conversation([USER, calling(arguments)], FULL)[1]
    assert turn["tool_calls"][0]["function"]["arguments"] == {}


@pytest.mark.parametrize("arguments", ["{", "[1]", "1", "[" * 100_000])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    """The error names the place."""
    with pytest.raises(InvalidRequest) as caught:
        conversation([USER, calling(arguments)], FULL)
    assert caught.value.param == "messages[1].tool_calls[0].function.arguments"


@pytest.mark.parametrize("broken", ["x", {}, {"function": {}}, {"function": {"name": 1}}])
def test_a_call_without_a_function_is_refused(broken: Any) -> None:
    """The error names the place."""
    with pytest.raises(InvalidRequest) as caught:
        conversation([USER, {"role": "assistant", "tool_calls": [broken]}], FULL)
    assert caught.value.param == "messages[1].tool_calls[0]"


@pytest.mark.parametrize(("null", "expected"), [(False, ""), (True, None)])
def test_content_beside_calls_is_empty_or_null(null: bool, expected: str | None) -> None:
    """DeepSeek's templates show calls only where content is null."""
    capabilities = Capabilities(tool_calls=True, null_content=null)
    assert conversation([USER, calling("{}")], capabilities)[1]["content"] == expected


def test_calls_and_results_become_text_where_the_template_drops_them() -> None:
    """Results are the user's then, in one message with what the user says next: roles must alternate."""
    messages = [USER, calling('{"a": 1}', "So."), result("r"), result("s"), USER]
    assert conversation(messages, Capabilities()) == [
        USER,
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
    messages = [{"role": "system", "content": "a"}, {"role": "developer", "content": "b"}, USER]
    assert conversation(messages, FULL) == [{"role": "system", "content": "a\n\nb"}, USER]


def test_a_later_system_message_stays_where_it_is() -> None:
    """What to do with it is the template's business."""
    messages = [USER, {"role": "system", "content": "a"}]
    assert conversation(messages, FULL) == messages


def test_system_text_goes_to_the_next_user_message_where_there_is_no_system_role() -> None:
    """And makes one of its own where nobody speaks after it."""
    system = {"role": "system", "content": "s"}
    answer = {"role": "assistant", "content": "a"}
    found = conversation(
        [system, USER, answer, system, system, USER, answer, system], Capabilities(system=False)
    )
    assert [turn["role"] for turn in found] == ["user", "assistant", "user", "assistant", "user"]
    assert [turn["content"] for turn in found] == ["s\n\nHi", "a", "s\n\ns\n\nHi", "a", "s"]


def test_a_result_gets_the_name_of_its_tool() -> None:
    """Some templates show it. A name that is there stays."""
    turns = read([USER, calling("{}"), result("r"), {**result("r"), "name": "g"}], HERMES)
    assert ["f", "g"] == [turn["name"] for turn in turns[2:]]


def test_neither_call_nor_result_needs_an_id() -> None:
    """The name is then that of the call before."""
    called = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
    turns = conversation([called, {"role": "tool", "content": "1"}], FULL)
    assert turns[1]["name"] == "f"


def test_ids_take_the_form_that_templates_insist_on() -> None:
    """In calls and results alike: Mistral's refuse any but nine letters and digits."""
    _, asked, told = read([USER, calling("{}"), result("r")], MISTRAL)
    assert 9 == len(asked["tool_calls"][0]["id"])
    assert asked["tool_calls"][0]["id"] == told["tool_call_id"]
    assert "f" == told["name"]


def test_calls_are_written_as_their_family_does() -> None:
    """Where the template drops them."""
    turns = arranged(read([USER, calling('{"a": "x"}'), result("r")], LFM2), Capabilities(), LFM2)
    assert '<|tool_call_start|>[f(a="x")]<|tool_call_end|>' == turns[1]["content"]
    assert "<|tool_response_start|>r<|tool_response_end|>" == turns[2]["content"]


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (True, [{"role": "system", "content": "s\n\ntools"}, USER]),
        (False, [{"role": "user", "content": "s\n\ntools\n\nHi"}]),
    ],
)
def test_tools_are_told_at_the_end_of_the_system_message(system: bool, expected: Any) -> None:
    """Wherever that is."""
    turns = read([{"role": "system", "content": "s"}, USER], HERMES)
    assert expected == arranged(turns, Capabilities(system=system), HERMES, "tools")
    (first, _) = arranged(read([USER], HERMES), Capabilities(), HERMES, "tools")
    assert {"role": "system", "content": "tools"} == first
