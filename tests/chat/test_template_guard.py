"""What in a caller's text is dangerous, given the template."""

from __future__ import annotations

import pytest

from edgeinfer.chat.control_tokens import ControlTokens
from edgeinfer.chat.template_guard import TemplateGuard, inspect_source

TOKENS = ControlTokens(["<s>", "</s>", "<|im_end|>", "<|user|>"])


def guard_of(tokens: ControlTokens, source: str) -> TemplateGuard:
    return TemplateGuard(tokens, source, inspect_source(tokens, source))


def harmless(source: str, text: str, tokens: ControlTokens = TOKENS) -> list[str]:
    return [part for part, safe in guard_of(tokens, source).parts(text) if safe]


def dangers(source: str, text: str) -> set[str]:
    return {text[start:end] for start, end in guard_of(TOKENS, source).dangers(text)}


def test_markers_of_the_template_stay() -> None:
    """The template looks for them."""
    source = "{% if '</think>' in c %}{{ c.split(\"<think>\\n\") }}{% endif %}"
    assert harmless(source, "a<think>\nb</think>c<b>") == ["<think>\n", "</think>"]


def test_markers_that_a_control_token_can_overlap_do_not_stay() -> None:
    """Half a token is half a token, whoever mentions it."""
    source = "{{ '<|' + r + '|>' }}{{ c.split('</s>') }}{% if '<' in c %}{% endif %}"
    assert harmless(source, "<| |> </s> <") == []


def test_a_marker_that_is_a_control_token_does_not_stay() -> None:
    """Where </think> is a control token, a caller's is not one."""
    assert harmless("{{ c.split('</think>') }}", "a</think>b", ControlTokens(["</think>"])) == []


@pytest.mark.parametrize("text", ["object", " name ", "arguments"])
def test_names_the_template_mentions_stay(text: str) -> None:
    """It reads fields by them, and compares values with them."""
    source = "{% if t == 'object' %}{{ f.name }}{{ f['arguments'] }}{% endif %}"
    assert harmless(source, text) == [text]


def test_a_control_token_is_no_name() -> None:
    """Even where the template mentions it."""
    assert harmless("{{ 'EOS' }}", "EOS", ControlTokens(["EOS"])) == []


def test_words_are_dangerous_where_the_template_builds_tags_of_them() -> None:
    """'<' ~ key ~ '>' with the key "s" is "<s>"."""
    for source in ("{{ '<' ~ key ~ '>' }}", "<{{ key }}>", "{{ '<%s>' % key }}", "{{ '<{}>'.format(key) }}"):
        assert dangers(source, "s") == {"s"}
        assert dangers(source, " s ") == {"s"}
        assert dangers(source, "user") == set()


def test_words_are_harmless_elsewhere() -> None:
    """Most templates write their tokens out."""
    assert dangers("{{ '<|user|>' + message.content + '<s>' }}", "user") == set()
    assert dangers("{{ '<|user|>' + message.content + '<s>' }}", "s") == set()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ '<' ~ key ~ '>' }}", ("/s", "s", "|im_end|", "|user|")),
        ("<|{{ key }}|>", ("im_end", "user")),
        ("{{ '<|im_%s' % key }}>", ("end|",)),
        ("<{{ key }}", ()),
    ],
)
def test_words_are_what_completes_a_token(source: str, words: tuple[str, ...]) -> None:
    """Between what the template writes before and after."""
    assert inspect_source(TOKENS, source).words == words
