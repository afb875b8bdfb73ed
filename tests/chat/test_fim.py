"""The layout of a prompt with a hole, and what of it fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.chat.fim import (
    FRAME_TOKENS,
    FimParts,
    extra_file_text,
    fim_prompt,
    fit_parts,
    surely_fits,
    untrusted_text,
)
from edgeinfer.errors import ContextLengthExceeded
from edgeinfer.inference.types import FimTokens, Span, Tokens

QWEN = FimTokens(prefix=1, suffix=2, middle=3, repo=4, file=5)
PLAIN = FimTokens(prefix=1, suffix=2, middle=3)


def span(text: str) -> Span:
    return Span(text, trusted=False)


def letters(text: str) -> Tokens:
    """A token for each character."""
    return Tokens(list(map(ord, text)), [c.encode() for c in text])


def shown(tokens: object) -> str:
    assert isinstance(tokens, list)
    return "".join(map(chr, tokens))


def test_a_hole_stands_between_its_tokens() -> None:
    """Its beginning comes last. An empty text leads, before which a worker puts BOS."""
    parts = FimParts(untrusted_text("a"), untrusted_text("c"), untrusted_text("b"))
    assert [span(""), 1, span("a"), 2, span("c"), 3, span("b")] == fim_prompt(QWEN, parts)


def test_extra_files_stand_before_it_as_a_repository() -> None:
    """Each with its name, in their order."""
    extra = [
        untrusted_text(extra_file_text(QWEN, name, text)) for name, text in (("x.py", "1\n"), ("y.py", "2\n"))
    ]
    parts = FimParts(untrusted_text("a"), untrusted_text("c"), extra=extra)
    files = [4, span("myproject\n"), 5, span("x.py\n1\n"), 5, span("y.py\n2\n"), 5, span("filename\n")]
    assert [span(""), *files, 1, span("a"), 2, span("c"), 3] == fim_prompt(QWEN, parts)


def test_a_model_without_tokens_for_files_reads_snippets() -> None:
    """As llama.cpp has it; their names are not told."""
    extra = [untrusted_text(extra_file_text(PLAIN, "x.py", "1\n"))]
    parts = FimParts(untrusted_text("a"), untrusted_text("c"), extra=extra)
    snippet = span("\n\n--- snippet ---\n\n1\n")
    assert [span(""), snippet, 1, span("a"), 2, span("c"), 3] == fim_prompt(PLAIN, parts)


def test_the_frame_has_room_for_what_stands_around_the_texts() -> None:
    """Even where each of its letters is a token, with a space before each text, and BOS."""
    around = [p for p in fim_prompt(QWEN, FimParts((), (), (), [()])) if p != 5 or not isinstance(p, int)]
    assert FRAME_TOKENS > 1 + sum(1 + len(p.text) if isinstance(p, Span) else 1 for p in around) + 1


def test_what_fits_is_left_whole() -> None:
    """With nothing cut, and nothing said to be."""
    parts, cut = fit_parts(
        letters("abc"), letters("de"), letters("f"), [letters("ghi")], FRAME_TOKENS + 3 + 2 + 1 + 4
    )
    assert ("abc", "de", "f", ["ghi"]) == (
        shown(parts.prefix),
        shown(parts.suffix),
        shown(parts.middle),
        [shown(e) for e in parts.extra],
    )
    assert not cut


def test_the_first_extra_files_go_before_anything_else() -> None:
    """The last ones are those an editor saw last."""
    files = [letters("1111"), letters("2222"), letters("3333")]
    parts, cut = fit_parts(letters("abc"), letters("de"), letters(""), files, FRAME_TOKENS + 5 + 2 * 5 + 4)
    assert ["2222", "3333"] == [shown(e) for e in parts.extra]
    assert ("abc", "de", True) == (shown(parts.prefix), shown(parts.suffix), cut)


def test_prefix_and_suffix_lose_whole_lines_far_from_the_hole() -> None:
    """Three quarters of the room are the prefix's."""
    prefix = "".join(f"p{i:02}\n" for i in range(50))
    suffix = "".join(f"s{i:02}\n" for i in range(50))
    parts, cut = fit_parts(
        letters(prefix), letters(suffix), letters("mid"), [letters("x")], FRAME_TOKENS + 3 + 42
    )
    assert prefix[-32:] == shown(parts.prefix)
    assert suffix[:8] == shown(parts.suffix)
    assert "mid" == shown(parts.middle)
    assert ((), True) == (tuple(parts.extra), cut)


@pytest.mark.parametrize(
    ("prefix", "suffix", "sizes"), [(4, 200, (4, 36)), (200, 4, (36, 4)), (200, 0, (40, 0))]
)
def test_what_one_side_leaves_the_other_takes(prefix: int, suffix: int, sizes: tuple[int, int]) -> None:
    """A hole at the end of a file has no suffix."""
    line = "abc\n"
    parts, _ = fit_parts(
        letters(line * (prefix // 4)), letters(line * (suffix // 4)), letters(""), [], FRAME_TOKENS + 40
    )
    assert sizes == (len(parts.prefix), len(parts.suffix))


def test_a_line_longer_than_half_the_room_is_cut_within() -> None:
    """Or next to nothing would be left."""
    parts, _ = fit_parts(
        letters("x" * 100 + "\n"), letters("y" * 100 + "\n"), letters(""), [], FRAME_TOKENS + 40
    )
    assert ("x" * 29 + "\n", "y" * 10) == (shown(parts.prefix), shown(parts.suffix))


def test_a_line_break_within_a_token_is_a_border_too() -> None:
    """There are tokens that begin with one, and go on with the next line's indentation."""
    pieces = [b"a", b"\n  ", b"b", b"\n\n", b"c"]
    parts, _ = fit_parts(Tokens([1, 2, 3, 4, 5], pieces), letters(""), letters(""), [], FRAME_TOKENS + 4)
    assert [2, 3, 4, 5] == parts.prefix


def test_a_beginning_without_room_is_refused_with_the_counts() -> None:
    """It stands at the cursor: there is nothing to cut it from."""
    with pytest.raises(ContextLengthExceeded, match="50 tokens, but there is room for 20") as e:
        fit_parts(letters("a"), letters("b"), letters("m" * 50), [], FRAME_TOKENS + 20)
    assert "prompt" == e.value.param


LINES = st.lists(st.text("ab\n", max_size=8), max_size=12).map("".join).map(letters)


@given(LINES, LINES, st.lists(LINES, max_size=4), st.integers(0, 120))
def test_whatever_is_given_what_comes_fits_and_stands_at_the_hole(
    prefix: Tokens, suffix: Tokens, extra: list[Tokens], room: int
) -> None:
    """And is cut only where it must be."""
    parts, cut = fit_parts(prefix, suffix, letters(""), extra, FRAME_TOKENS + room)
    size = len(parts.prefix) + len(parts.suffix) + sum(1 + len(e) for e in parts.extra)
    needed = len(prefix.ids) + len(suffix.ids) + sum(1 + len(e.ids) for e in extra)
    assert size <= room
    assert cut == (needed > room)
    assert shown(prefix.ids).endswith(shown(parts.prefix))
    assert shown(suffix.ids).startswith(shown(parts.suffix))


def test_bytes_bound_tokens() -> None:
    """So that most holes need no counting."""
    texts = ["é" * 10, "", "abc"]
    needed = FRAME_TOKENS + 20 + 3 + 2 * 3
    assert surely_fits(texts, needed)
    assert not surely_fits(texts, needed - 1)
