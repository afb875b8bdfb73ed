"""Conversations in any order, arranged for what a template takes."""

from __future__ import annotations

import time
from typing import Any

import pytest

from edgeinfer.chat.arrangement import FILLER, arrange
from edgeinfer.chat.capabilities import Capabilities
from edgeinfer.chat.conversation import template_messages
from edgeinfer.chat.message import Message, ToolCall
from edgeinfer.chat.tools.tool_formats import HERMES, QWEN_CODER

FULL = {"tools": True, "tool_calls": True, "tool_results": True}
CALL, OTHER = ToolCall("f", {"a": 1}, "1"), ToolCall("g", {}, "2")
ROLES = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}


def message(text: str, *calls: ToolCall, call_id: str | None = None) -> Message:
    """A message whose role is that of its text's first letter."""
    role: Any = ROLES[text[0]]
    return Message(role=role, content=text[1:], tool_calls=calls, tool_call_id=call_id)


def arranged(messages: list[Message], **capabilities: Any) -> list[dict[str, Any]]:
    return arrange(template_messages(messages, HERMES), Capabilities(**capabilities), HERMES)


def brief(turns: list[dict[str, Any]]) -> list[str]:
    """A turn is the first letter of its role, its text, and the names of its calls."""
    return [
        turn["role"][0]
        + (turn["content"] or "")
        + "".join(f"({call['function']['name']})" for call in turn.get("tool_calls", ()))
        for turn in turns
    ]


STRICT: dict[str, Any] = {"repeats": False, "assistant_first": False}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["u1", "u2"], ["u1\n\n2"]),
        (["u1", "u2", "u3"], ["u1\n\n2\n\n3"]),
        (["a1", "u2"], ["u", "a1", "u2"]),
        (["a1"], ["u", "a1"]),
        (["u1", "a2", "a3", "u4"], ["u1", "a2\n\n3", "u4"]),
        (["s1", "a2", "u3"], ["s1", "u", "a2", "u3"]),
        (["u1", "a", "u2"], ["u1", "a", "u2"]),
        (["u1", "a2", "u", "u3"], ["u1", "a2", "u3"]),
    ],
)
def test_turns_alternate(texts: list[str], expected: list[str]) -> None:
    """Neighbours of one role are joined, and an empty user goes before an assistant who begins."""
    assert expected == brief(arranged([message(text) for text in texts], **STRICT))


def test_an_assistant_may_begin_where_only_that_is_refused() -> None:
    """Turns that repeat are left alone then."""
    texts = ["a1", "a2", "u3", "u4"]
    assert ["u", *texts] == brief(arranged([message(text) for text in texts], assistant_first=False))


def test_turns_that_must_not_be_empty_are_filled() -> None:
    """Fillers and the caller's own alike; a call is not empty."""
    turns = arranged(
        [message("a1"), message("u"), message("a", CALL), message("t3", call_id="1")],
        **STRICT,
        **FULL,
        empty_turns=False,
    )
    assert [f"u{FILLER}", "a1", f"u{FILLER}", "a(f)", "t3"] == brief(turns)


CALLED = [message("u1"), message("a", CALL), message("t2", call_id="1")]


def test_calls_do_not_count_where_turns_alternate() -> None:
    """Mistral's templates skip them and their results, so what follows a result is an answer's turn."""
    assert ["u1", "a(f)", "t2", "a", "u3"] == brief(arranged([*CALLED, message("u3")], **STRICT, **FULL))
    assert ["u1", "a(f)", "a", "u3"] == brief(arranged([*CALLED[:2], message("u3")], **STRICT, **FULL))
    assert ["u1", "a(f)", "t2", "a3"] == brief(arranged([*CALLED, message("a3")], **STRICT, **FULL))


def test_calls_count_where_the_template_counts_them() -> None:
    """An answer after them repeats their role."""
    turns = arranged([*CALLED, message("a3")], **STRICT, **FULL, calls_alternate=True)
    assert ["u1", "a(f)", "t2", "u", "a3"] == brief(turns)
    assert ["u1", "a(f)", "t2", "u3"] == brief(
        arranged([*CALLED, message("u3")], **STRICT, **FULL, calls_alternate=True)
    )


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["s1", "u2", "a3", "s4", "u5"], ["s1", "u2", "a3", "u4\n\n5"]),
        (["u1", "a2", "s3"], ["u1", "a2", "u3"]),
        (["u1", "s2", "a3", "u4"], ["u1", "u2", "a3", "u4"]),
        (["s1", "s2", "u3", "s4", "s5", "u6"], ["s1\n\n2", "u3", "u4\n\n5\n\n6"]),
    ],
)
def test_a_later_system_message_becomes_the_user_s(texts: list[str], expected: list[str]) -> None:
    """In its place; the first one stays."""
    turns = brief(arranged([message(text) for text in texts], later_system=False))
    assert expected == [turn.replace("s1\n\ns2", "s1\n\n2") for turn in turns]


def test_a_system_message_without_a_user_becomes_the_user_s() -> None:
    """Where the template keeps it for the first user message."""
    assert ["u1"] == brief(arranged([message("s1")], userless=False))
    assert ["s1", "u2"] == brief(arranged([message("s1"), message("u2")], userless=False))


BESIDE = [message("u1"), message("anow", CALL), message("t2", call_id="1")]
WRITTEN = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("shown", ["u1", "anow(f)", "t2"]),
        ("written", ["u1", f"anow\n{WRITTEN}", "t2"]),
        ("apart", ["u1", "anow", "a(f)", "t2"]),
    ],
)
def test_text_beside_a_call(way: str, expected: list[str]) -> None:
    """In one turn, as text, or in two turns; a call alone is always a call."""
    assert expected == brief(arranged(BESIDE, **FULL, text_beside_calls=way))
    assert ["u1", "a(f)", "t2"] == brief(arranged(CALLED, **FULL, text_beside_calls=way))


PAIR = [message("u1"), message("anow", CALL, OTHER), message("t2", call_id="2"), message("t1", call_id="1")]


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("shown", ["u1", "anow(f)(g)", "t2", "t1"]),
        ("apart", ["u1", "anow(f)", "t1", "a(g)", "t2"]),
    ],
)
def test_several_calls(way: str, expected: list[str]) -> None:
    """Each with its own result, where the template takes one at a time."""
    assert expected == brief(arranged(PAIR, **FULL, parallel_calls=way))


def test_results_that_answer_no_call_are_kept() -> None:
    """Behind those that do."""
    messages = [*PAIR[:2], message("t3", call_id="3"), *PAIR[2:]]
    turns = arranged(messages, **FULL, parallel_calls="apart")
    assert ["u1", "anow(f)", "t1", "a(g)", "t2", "t3"] == brief(turns)
    (result,) = arranged([message("t3", call_id="3")], **FULL, stray_results=False)
    assert {"role": "user", "content": "<tool_response>\n3\n</tool_response>"} == result


def test_results_of_written_calls() -> None:
    """They are stray: the template sees no call before them."""
    turns = arranged(BESIDE, **FULL, text_beside_calls="written", stray_results=False)
    assert ["u1", f"anow\n{WRITTEN}", "u<tool_response>\n2\n</tool_response>"] == brief(turns)


CUT = message("a", ToolCall("f", '{"a": "x', "1"))


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({}, '{"a": "x'),
        ({"arguments_object": False}, '{"a": "x'),
        ({"cut_arguments": False}, {"arguments": '{"a": "x'}),
        ({"cut_arguments": False, "arguments_object": False}, '{"arguments": "{\\"a\\": \\"x"}'),
    ],
)
def test_arguments_that_were_cut(capabilities: dict[str, Any], expected: Any) -> None:
    """As the text they are, or in an object for templates that go through one."""
    (_, turn) = arranged([message("u1"), CUT], **FULL, **capabilities)
    assert expected == turn["tool_calls"][0]["function"]["arguments"]


def test_cut_arguments_in_a_call_that_is_written() -> None:
    """As the model wrote them."""
    (turn,) = arranged([CUT])
    assert '<tool_call>\n{"name": "f", "arguments": {"a": "x}\n</tool_call>' == turn["content"]
    (turn,) = arrange(template_messages([CUT], QWEN_CODER), Capabilities(), QWEN_CODER)
    assert '{"a": "x' in turn["content"]


@pytest.mark.parametrize("letter", ["u", "t"])
def test_many_turns_are_joined_at_once(letter: str) -> None:
    """One by one, they would cost minutes: each copy is longer than the one before."""
    turns = template_messages([message(letter + "x" * 2000) for _ in range(8000)], HERMES)
    start = time.process_time()
    (turn,) = arrange(turns, Capabilities(**STRICT), HERMES)
    assert len(turn["content"]) > 16_000_000
    assert time.process_time() - start < 5
