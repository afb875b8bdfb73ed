"""Finding control tokens, and halves of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.chat.control_tokens import ControlTokens

TOKENS = ControlTokens(["<s>", "</s>", "<|im_end|>", "<|im_start|>", "[INST]", "[INST]x"])

LETTERS = "<|>/a[]b "


def pieces(text: str, tokens: ControlTokens = TOKENS) -> set[str]:
    return {text[start:end] for start, end in tokens.fragments(text)}


def test_finds_the_longest_at_each_place() -> None:
    """Also where they overlap."""
    tokens = ControlTokens(["<a", "<a>", "><b"])
    assert list(tokens.find("x<a><b<a")) == [(1, 4), (3, 6), (6, 8)]


@given(st.lists(st.text(LETTERS, min_size=1, max_size=5), max_size=8), st.text(LETTERS, max_size=20))
def test_finds_what_a_plain_search_finds(texts: list[str], text: str) -> None:
    """The index means the same as trying every token at every place."""
    expected = [
        (n, n + max(len(t) for t in texts if text.startswith(t, n)))
        for n in range(len(text))
        if any(t and text.startswith(t, n) for t in texts)
    ]
    assert list(ControlTokens(texts).find(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", set()),
        ("1 <", {"<"}),
        ("> quote", {">"}),
        ("so <|im_", {"<|im_"}),
        ("end|> so", {"end|>"}),
        (" end|> ", {"end|>"}),
        ("|im_end|", {"|im_end|"}),
        ("im_end", set()),
        ("_", set()),
        ("a </s", {"</s"}),
        ("a <|im_end|> b", set()),
        ("", set()),
        ("  ", set()),
    ],
)
def test_fragments_are_at_the_ends(text: str, expected: set[str]) -> None:
    """A beginning at the end, an end at the beginning, white space aside; a whole text, unless a word."""
    assert pieces(text) == expected


def test_fragments_of_every_length_are_found() -> None:
    """Hiding the longest might leave a shorter one standing."""
    assert pieces("a<a<a", ControlTokens(["<a<ab"])) == {"<a", "<a<a"}


def test_quotes_in_the_middle_of_a_token_are_no_fragment() -> None:
    """Gemma has one; a text that is but a quote must stay one that JSON escapes."""
    assert pieces('"', ControlTokens(['<|"|>'])) == set()
    assert pieces('|"', ControlTokens(['<|"|>'])) == {'|"'}


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("</think>", False),
        ("<tool_response>", False),
        ("</s", True),
        ("<|", True),
        ("a<s>b", True),
        ("x<", True),
        (">x", True),
        ("im_end", True),
    ],
)
def test_touches(marker: str, expected: bool) -> None:
    """A marker is safe if no control token can overlap it, wherever it stands."""
    assert TOKENS.touches(marker) is expected


def test_keys_hit_every_token_that_has_punctuation() -> None:
    """As few as possible, and no letters."""
    assert TOKENS.keys == {"<", "["}
    assert ControlTokens(["EOS", "<a>", "b|"]).keys == {"<", "|"}
    assert ControlTokens(['a "b"']).keys == set()


def test_a_model_without_control_tokens() -> None:
    """Finds nothing anywhere."""
    tokens = ControlTokens(["", ""])
    assert list(tokens.find("<s>")) == []
    assert pieces("<s>", tokens) == set()
    assert not tokens.touches("<s>")
