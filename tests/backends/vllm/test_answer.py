"""How vLLM's tokens become an answer, and how one goes on in another process."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.backends.vllm.answer import VllmAnswer, VllmChoice, VllmLogprobs
from edgeinfer.backends.vllm.sampling import check_sampling, sampling_fields
from edgeinfer.backends.vllm.span_tokenizer import SpanTokenizer
from edgeinfer.errors import DecodeFailed, EdgeinferError
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import Span
from edgeinfer.safetensors.folder import TokenizerFacts, read_tokenizer
from tests.support.tiny_qwen2 import write_tiny_qwen2

THE, IM_START, END, THINK = 258, 263, 264, 265


@pytest.fixture
def facts(tmp_path: Path) -> TokenizerFacts:
    return read_tokenizer(write_tiny_qwen2(tmp_path / "tiny"))


def answer(facts: TokenizerFacts, *stops: str, logprobs: int | None = None) -> VllmAnswer:
    return VllmAnswer(facts.vocabulary, frozenset({END}), ("<|im_start|>",), stops, logprobs)


def chunk(*tokens: int, finish: str | None = None) -> VllmChoice:
    return VllmChoice(token_ids=list(tokens), finish_reason=finish)


def test_a_character_comes_when_it_is_whole(facts: TokenizerFacts) -> None:
    """A token may be a part of one."""
    one = answer(facts)
    euro = "\N{EURO SIGN}".encode()
    assert ["", "", "\N{EURO SIGN}"] == [one.add(chunk(byte)).text for byte in euro]
    assert "\N{REPLACEMENT CHARACTER}" == one.add(chunk(euro[0], finish="length")).text
    assert ("length", True) == (one.reason, one.was_cut)


def test_the_token_that_ends_it_is_not_in_it(facts: TokenizerFacts) -> None:
    """Other control tokens have no text, but for markers and those that are not special."""
    one = answer(facts)
    assert "<think><|im_start|>" == one.add(chunk(THINK, IM_START, 262)).text
    one.add(chunk(END, finish="stop"))
    assert [THINK, IM_START, 262] == one.tokens
    assert ("stop", None, False) == (one.reason, one.matched_stop, one.was_cut)


def test_a_stop_text_across_tokens_ends_it(facts: TokenizerFacts) -> None:
    """What could become one is held back."""
    one = answer(facts, "abc")
    assert ["x", "", "", ""] == [one.add(chunk(ord(letter))).text for letter in "xabc"]
    assert ("abc", True) == (one.matched_stop, one.finished)


def test_logprobs_come_with_the_text_of_their_tokens(facts: TokenizerFacts) -> None:
    """The chosen token's own, and the most likely ones, best first and no more than asked for."""
    one = answer(facts, "ab", logprobs=1)
    candidates = {"token_id:97": -2.0, "token_id:98": -0.5}
    logprobs = VllmLogprobs(["token_id:97"], [-2.0], [candidates])
    held = one.add(VllmChoice(token_ids=[97], logprobs=logprobs))
    assert ("", []) == (held.text, held.logprobs)
    released = one.add(chunk(ord("x"), finish="length"))
    assert "ax" == released.text
    assert released.logprobs
    assert (b"a", -2.0) == (released.logprobs[0].chosen.piece, released.logprobs[0].chosen.logprob)
    assert [b"b"] == [top.piece for top in released.logprobs[0].top]


def test_tokens_that_are_computed_again_are_not_sent_again(facts: TokenizerFacts) -> None:
    """Only what comes after them."""
    one = answer(facts)
    one.add(chunk(*b"abc"))
    one.replay()
    assert "" == one.add(chunk(*b"ab")).text
    assert "d" == one.add(chunk(*b"cd")).text
    assert "abcd" == one.text


def test_other_tokens_than_before_end_it_with_an_error(facts: TokenizerFacts) -> None:
    """Its beginning has been sent already."""
    one = answer(facts)
    one.add(chunk(*b"abc"))
    one.replay()
    with pytest.raises(DecodeFailed, match="word for word"):
        one.add(chunk(*b"ax"))


def test_forced_tokens_are_part_of_it(facts: TokenizerFacts) -> None:
    """After a limit that was not its end."""
    one = answer(facts)
    one.add(chunk(*b"hm", finish="length"))
    one.reopen()
    assert "</think>" == one.add_forced([THINK + 1]).text
    assert "hm</think>" == one.text
    assert not one.finished


async def test_control_tokens_come_from_trusted_text_only(facts: TokenizerFacts) -> None:
    """The encoder never gets one to find, of those that it would."""
    seen: list[str] = []

    async def encode(text: str) -> list[int]:
        seen.append(text)
        return list(text.encode())

    tokenizer = SpanTokenizer(facts, facts.vocabulary.special, encode)
    text = "a<|im_end|>b<think>"
    trusted = await tokenizer.tokens([Span(text)], add_bos=True)
    assert [97, END, 98, THINK] == trusted
    plain = await tokenizer.tokens([Span(text, trusted=False), 5], add_bos=False)
    assert [*text.encode(), 5] == plain
    assert not [piece for piece in seen if "<|im_end|>" in piece]


async def test_a_letter_that_looks_like_one_makes_no_control_token(facts: TokenizerFacts) -> None:
    """A normalizer of the tokenizer may turn one text into another."""

    async def encode(text: str) -> list[int]:
        return [END] if text == "\uff1cim_end\uff1e" else list(text.encode())

    tokenizer = SpanTokenizer(facts, facts.vocabulary.special, encode)
    tokens = await tokenizer.tokens([Span("\uff1cim_end\uff1e", trusted=False)], add_bos=False)
    assert END not in tokens
    assert tokens


async def test_a_lone_surrogate_is_text(facts: TokenizerFacts) -> None:
    """JSON can carry one, and UTF-8 cannot."""

    async def encode(text: str) -> list[int]:
        return list(text.encode())

    tokens = await SpanTokenizer(facts, (), encode).tokens([Span("\ud800x", trusted=False)], add_bos=False)
    assert list("\N{REPLACEMENT CHARACTER}x".encode()) == tokens


@pytest.mark.parametrize(
    ("params", "field"),
    [
        (SamplingParams(typical_p=0.9), "typical_p"),
        (SamplingParams(repeat_penalty=1.1, repeat_last_n=5), "repeat_last_n"),
        (SamplingParams(logprobs=1000), "top_logprobs"),
    ],
)
def test_what_vllm_lacks_is_refused_by_name(params: SamplingParams, field: str) -> None:
    """Rather than left out."""
    with pytest.raises(EdgeinferError) as error:
        check_sampling(params)
    assert field == error.value.param


def test_sampling_parameters_have_vllms_names() -> None:
    """And its limits."""
    params = SamplingParams(
        temperature=0.5,
        repeat_penalty=1.2,
        logit_bias={3: float("-inf"), 4: 2.5},
        logprobs=2,
        repeat_last_n=-1,
    )
    check_sampling(params)
    fields = sampling_fields(params, (1 << 63) + 7)
    assert (0.5, 1.2, 7) == (fields["temperature"], fields["repetition_penalty"], fields["seed"])
    assert {"3": -100.0, "4": 2.5} == fields["logit_bias"]
    assert 2 == fields["logprobs"]
    off = SamplingParams(repeat_penalty=1.2, repeat_last_n=0)
    check_sampling(off)
    assert 1.0 == sampling_fields(off, 1)["repetition_penalty"]
