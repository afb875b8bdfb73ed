from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.engine.detokenizer import IncrementalDetokenizer


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` cut at `cuts`, which may repeat: there are tokens of no bytes."""
    borders = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(borders)]


def streamed(stream: IncrementalDetokenizer, *tokens: bytes) -> list[str]:
    return [*(stream.push(t) for t in tokens), stream.flush()]


def test_text_comes_at_once_where_there_is_no_stop() -> None:
    """Complete characters are released at once."""
    assert ["Hel", "lo", ""] == streamed(IncrementalDetokenizer(), b"Hel", b"lo")


def test_a_character_split_over_tokens_comes_whole() -> None:
    """A character split over tokens is released once it is complete."""
    euro = "€".encode()
    assert ["a", "", "€b", ""] == streamed(
        IncrementalDetokenizer(), b"a" + euro[:1], euro[1:2], euro[2:] + b"b"
    )


def test_a_character_that_is_never_finished_is_replaced_at_the_end() -> None:
    """An incomplete character becomes U+FFFD at the end."""
    assert ["a", "\ufffd"] == streamed(IncrementalDetokenizer(), b"a\xe2\x82")


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    """Invalid UTF-8 becomes U+FFFD."""
    assert ["a\ufffdb", "\ufffd", ""] == streamed(IncrementalDetokenizer(), b"a\xffb", b"\xc0")


def test_a_stop_text_ends_the_answer_and_is_no_part_of_it() -> None:
    """The stop text itself is not sent, as in OpenAI's API."""
    stream = IncrementalDetokenizer(["END"])
    assert ["one ", "", ""] == streamed(stream, b"one END two", b"three")
    assert stream.matched_stop == "END"


def test_a_stop_text_may_span_tokens() -> None:
    """No part of a stop text is sent, however tokens split it."""
    stream = IncrementalDetokenizer(["\n\n"])
    assert ["a", "", "", ""] == streamed(stream, b"a\n", b"\n", b"b")
    assert stream.matched_stop == "\n\n"


def test_a_stop_text_may_end_inside_a_token() -> None:
    """The rest of the token after a stop text is dropped."""
    stream = IncrementalDetokenizer(["stop"])
    assert ["a ", "", ""] == streamed(stream, b"a st", b"op and more")


def test_a_stop_text_may_be_split_inside_a_character() -> None:
    """A token may end inside a character of a stop text."""
    stop = "→".encode()
    assert ["a", "", ""] == streamed(IncrementalDetokenizer(["→"]), b"a" + stop[:2], stop[2:] + b"b")


def test_what_could_become_a_stop_text_is_held_back_until_it_cannot() -> None:
    """Held text is released as soon as it cannot become a stop text."""
    assert ["x", "", "", "<ab>", ""] == streamed(IncrementalDetokenizer(["<ab|"]), b"x<", b"a", b"b", b">")


def test_what_was_held_back_is_let_go_at_the_end() -> None:
    """Flushing releases the beginning of a stop text that was never completed."""
    stream = IncrementalDetokenizer(["User:"])
    assert ["yes ", "Use"] == streamed(stream, b"yes Use")
    assert stream.matched_stop is None


def test_only_the_part_that_could_begin_a_stop_is_held_back() -> None:
    """After a false start of a repetitive stop text, a shorter start is still tracked."""
    assert ["", "a", "", ""] == streamed(IncrementalDetokenizer(["aab"]), b"aa", b"a", b"b")


@pytest.mark.parametrize("stops", [("one", "two"), ("two", "one")])
def test_the_earliest_of_several_stops_wins(stops: tuple[str, ...]) -> None:
    """The earliest match counts, in whatever order the stop texts are listed."""
    stream = IncrementalDetokenizer(stops)
    assert "x " == stream.push(b"x two one")
    assert stream.matched_stop == "two"


@pytest.mark.parametrize("tokens", [(b"xabc",), (b"xab", b"c"), (b"x", b"a", b"b", b"c")], ids=len)
def test_a_stop_inside_another_wins_however_the_bytes_are_cut(tokens: tuple[bytes, ...]) -> None:
    """A short stop text inside a longer one is complete first."""
    stream = IncrementalDetokenizer(["abc", "b"])
    assert "xa" == "".join(streamed(stream, *tokens))
    assert stream.matched_stop == "b"


def test_each_of_several_stops_holds_back_what_could_begin_it() -> None:
    """As much text is held as the longest possible start of a stop text."""
    assert ["x", "", "aby", ""] == streamed(IncrementalDetokenizer(["b!", "ab?"]), b"xa", b"b", b"y")


def test_nothing_comes_after_a_stop() -> None:
    """After a stop text, nothing more is released."""
    stream = IncrementalDetokenizer(["."])
    assert ["a", "", "", ""] == streamed(stream, b"a.", b"b", b".c")
    assert stream.matched_stop == "."


ALPHABET = st.text("ab.é→😀", max_size=24)
CUTS = st.lists(st.integers(0, 60), max_size=12)


@given(ALPHABET, st.lists(st.text("ab.é→😀", min_size=1, max_size=4), max_size=3), CUTS)
def test_however_bytes_are_cut_the_text_is_cut_at_the_stop_that_is_complete_first(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    """Sent text is never revoked, and less is held back than a stop text is long."""
    stream = IncrementalDetokenizer(stops)
    met = [(at + len(s), at) for s in stops if (at := text.find(s)) >= 0]
    expected = text[: min(met)[1]] if met else text
    sent, fed = "", b""
    longest = max(map(len, stops), default=1)
    for piece in pieces(text.encode(), cuts):
        sent += stream.push(piece)
        fed += piece
        assert expected.startswith(sent)
        if stream.matched_stop is None:
            assert len(fed.decode("utf-8", "ignore")) - len(sent) < longest
    assert expected == sent + stream.flush()
    assert (stream.matched_stop is not None) == bool(met)


@given(st.binary(max_size=40), CUTS)
def test_however_any_bytes_are_cut_they_decode_as_a_whole(data: bytes, cuts: list[int]) -> None:
    """Tokens decode like the whole byte string, including invalid sequences."""
    assert data.decode("utf-8", "replace") == "".join(streamed(IncrementalDetokenizer(), *pieces(data, cuts)))
