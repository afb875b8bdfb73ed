"""Thoughts: whether there will be any, and where they are in an answer."""

from __future__ import annotations

from typing import Any

import pytest

from edgeinfer.chat.events import Content, Event, Reasoning
from edgeinfer.chat.reasoning import (
    REASONING_TAGS,
    ReasoningFormat,
    detect_continued_reasoning,
    detect_reasoning,
    has_unknown_reasoning,
)
from edgeinfer.chat.reply import ReplyParser

THINK = REASONING_TAGS[0]
SOURCE = "{{ content.split('</think>')[-1] }}"


@pytest.mark.parametrize(
    ("prompt", "state"),
    [
        ("<｜Assistant｜><think>\n", "open"),
        ("<｜Assistant｜><think>", "open"),
        ("assistant\n<think>\n\n</think>\n\n", "closed"),
        ("<|assistant|></think>", "closed"),
        ("assistant\n", "possible"),
        ("user\n<think> and </think>?\nassistant\n", "possible"),
    ],
)
def test_the_end_of_a_prompt_tells(prompt: str, state: str) -> None:
    """What else stands in it is somebody's words."""
    assert ReasoningFormat(state, THINK) == detect_reasoning(SOURCE, prompt)  # type: ignore[arg-type]
    assert ReasoningFormat() == detect_reasoning("no tags", prompt)


@pytest.mark.parametrize("tags", REASONING_TAGS, ids=lambda tags: tags.open)
def test_every_pair_is_told_from_a_template(tags: Any) -> None:
    """By its second."""
    source = f"{{{{ '{tags.close}' }}}}"
    assert ReasoningFormat("open", tags) == detect_reasoning(source, f"x{tags.open}{tags.open_end}")
    possible = detect_reasoning(source, "x")
    assert ReasoningFormat("possible", tags) == possible
    assert (
        ReasoningFormat("closed", tags)
        == detect_reasoning(source, "x" + possible.skipped)
        == possible.closed()
    )
    opened = ReasoningFormat("open", tags)
    assert ReasoningFormat("closed", tags) == detect_reasoning(source, f"x{tags.open}{opened.skipped}")


@pytest.mark.parametrize(
    ("content", "state"),
    [
        ("", "possible"),
        ("Hello", "closed"),
        ("<think>\nHm", "open"),
        ("<think>\nHm\n</think>\n\nHello", "closed"),
        ("<think>\na</think> <think>", "open"),
    ],
)
def test_an_answer_that_the_caller_began(content: str, state: str) -> None:
    """Its own words tell."""
    assert state == detect_continued_reasoning(SOURCE, content).state
    assert "none" == detect_continued_reasoning("", content).state


def test_how_thoughts_are_ended_and_turned_off() -> None:
    """As the models do it themselves."""
    assert "\n</think>\n\n" == ReasoningFormat("open").closing == ReasoningFormat("open").skipped
    assert "<think>\n\n</think>\n\n" == ReasoningFormat("possible").skipped
    assert "" == ReasoningFormat("closed").skipped == ReasoningFormat().skipped
    assert "[/THINK]" == ReasoningFormat("open", REASONING_TAGS[1]).closing


def parsed(state: Any, *pieces: str) -> tuple[str, str]:
    """Thoughts and content; the same letter by letter."""
    events = _parsed(state, *pieces)
    assert events == _parsed(state, *"".join(pieces))
    return events


def _parsed(state: Any, *pieces: str) -> tuple[str, str]:
    parser = ReplyParser(ReasoningFormat(state))
    events: list[Event] = [event for piece in pieces for event in parser.feed(piece)] + parser.finish()
    thoughts = "".join(event.text for event in events if isinstance(event, Reasoning))
    return thoughts, "".join(event.text for event in events if isinstance(event, Content))


@pytest.mark.parametrize(
    ("state", "text", "thoughts", "content"),
    [
        ("open", "\nHm.\nOh.\n</think>\n\nHello.\n", "Hm.\nOh.", "Hello.\n"),
        ("open", "</think>Hello", "", "Hello"),
        ("open", "Hm.\n", "Hm.", ""),
        ("open", "Hm. </thi", "Hm.", ""),
        ("open", "a </think> <think> b </think>", "a", "<think> b </think>"),
        ("possible", "<think>\nHm\n</think>\n\nHello", "Hm", "Hello"),
        ("possible", "\n<think>Hm</think>Hello", "Hm", "Hello"),
        ("possible", "<think>\n\n</think>\n\nHello", "", "Hello"),
        ("possible", "\n\nHello <think>", "", "\n\nHello <think>"),
        ("possible", "<thi", "", "<thi"),
        ("possible", "", "", ""),
        ("closed", "<think>Hm</think>", "", "<think>Hm</think>"),
        ("none", " \nHello\n", "", " \nHello\n"),
    ],
)
def test_thoughts_are_split_from_content(state: Any, text: str, thoughts: str, content: str) -> None:
    """White space around either is nobody's."""
    assert (thoughts, content) == parsed(state, text)


def test_thoughts_stream() -> None:
    """All but what could be the tag, and white space before it."""
    parser = ReplyParser(ReasoningFormat("open"))
    assert [Reasoning("a")] == parser.feed("a <")
    assert [Reasoning(" < b")] == parser.feed(" b\n")
    assert [] == parser.feed("</thin")
    assert [Content("c")] == parser.feed("k>\n\nc")


@pytest.mark.parametrize(
    ("source", "unknown"),
    [
        ("{{ '<think>' }}{{ '</think>' }}{{ message.reasoning_content }}", False),
        ("{{ message.reasoning_content }}", True),
        ("{{ '<|think|>' }}", True),
        ("{{ message.content }}", False),
    ],
)
def test_a_model_that_thinks_in_unknown_tags_is_known_as_such(source: str, unknown: bool) -> None:
    """Its template mentions thoughts, but no tags of ours."""
    assert unknown == has_unknown_reasoning(source)
