"""Texts that llama.cpp's tokenizers crash on, or take minutes for, with each kind of tokenizer it has."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import llama_cpp.llama_cpp as lib
import pytest

from edgeinfer.backends.llama_cpp.binding import tokenizer_limits
from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
from edgeinfer.backends.llama_cpp.binding.tokenizer_limits import (
    ITERATIVE,
    MAX_SPECIAL_TOKENS,
    SQUARES,
    STACK_PER_CHARACTER,
    TokenizerLimits,
)
from edgeinfer.backends.llama_cpp.binding.vocab import LlamaVocab
from edgeinfer.engine.structured.tokenizer import TextTokenizer
from edgeinfer.errors import InvalidRequest
from tests.support.vocabularies import MODELS, PRE_TYPES, write_vocabulary

GB = 1 << 30
SMILEY = "\U0001f600"
RECURSIVE = [pre for pre in PRE_TYPES if pre not in ITERATIVE]

OFTEN = ("default", "gpt-4o", "tekken", "falcon", "deepseek-llm", "superbpe", "llama3", "llama")
"""Kinds that are tried each time; only another llama.cpp can change the others, which are heavy together."""

UNITS = {
    "letters": "a", "capitals": "A", "both": "aA", "digits": "1", "spaces": " ", "tabs": "\t", "newlines": "\n",
    "carriage returns": "\r\n", "spaces and newlines": " \n", "no-break spaces": "\u00a0", "marks": "!", "signs": "=",
    "quotes": "'", "slashes": "./", "accented": "é", "Chinese": "字", "Korean": "한", "Thai": "ก",
    "combining marks": "\u0301", "letters with marks": "a\u0301", "words": "a ", "emoji": SMILEY,
    "joined emoji": "\U0001f468\u200d", "zeros": "\0", "controls": "\x1c!", "private": "\ue000", "superscripts": "²",
    "mixed": "aé字1! \n\u0301" + SMILEY, "images": "IMGIMGA",
}  # fmt: skip
"""What a text repeats."""

COMMON = "letters", "digits", "spaces", "newlines", "marks", "Chinese", "combining marks", "emoji", "mixed"

R = TypeVar("R")


def weighed(*kinds: str) -> list[Any]:
    """The kinds as parameters; all but those that are tried often are marked heavy."""
    return [kind if kind in OFTEN else pytest.param(kind, marks=pytest.mark.heavy) for kind in kinds]


def repeated(unit: str, size: int) -> str:
    return (unit * (size // len(unit) + 1))[:size]


@contextmanager
def loaded(path: Path, memory: int = 8 * GB) -> Iterator[LlamaVocab]:
    """The vocabulary of a file, on a machine with so much memory."""
    params = lib.llama_model_default_params()
    params.vocab_only = True
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    assert model
    try:
        tokenizer = (path.stem, "") if path.stem in MODELS else ("gpt2", path.stem)
        yield LlamaVocab(lib.llama_model_get_vocab(model), TokenizerLimits(*tokenizer, memory))
    finally:
        lib.llama_model_free(model)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, llama_log: LogCapture) -> Callable[[str], Path]:
    directory = tmp_path_factory.mktemp("vocabularies")

    def path(kind: str) -> Path:
        file = directory / f"{kind}.gguf"
        if not file.exists():
            write_vocabulary(file, kind)
        return file

    return path


def on_stack_of(size: int, function: Callable[[], R]) -> R:
    future: Future[R] = Future()
    before = threading.stack_size(size)
    thread = threading.Thread(target=lambda: future.set_result(function()))
    thread.start()
    threading.stack_size(before)
    thread.join()
    return future.result()


def touched(size: int) -> int:
    """Bytes of this thread's stack, the only one of about this `size`, that have been used."""
    found, of_stack = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            of_stack = abs(int(match[2], 16) - int(match[1], 16) - size) < 1 << 20
        elif of_stack and line.startswith("Rss:"):
            found += int(line.split()[1]) << 10
    return found


@pytest.mark.parametrize("kind", weighed(*PRE_TYPES, *MODELS))
def test_the_stack_that_a_tokenizer_needs_is_what_is_reckoned_with(
    kind: str, written: Callable[[str], Path]
) -> None:
    """Next to none for those that loop, and at most half of the allowance for those that recurse."""
    size, count = 613 << 20, 4000
    with loaded(written(kind)) as vocab:

        def use() -> int:
            for unit in UNITS.values():
                vocab._tokenize(repeated(unit, count), False, False)
            return touched(size)

        used = on_stack_of(size, use)
    recursive = kind in RECURSIVE
    assert used < count * (STACK_PER_CHARACTER // 2 if recursive else 16) + (64 << 10)


@pytest.mark.parametrize("kind", weighed(*RECURSIVE))
def test_a_long_run_of_one_kind_gives_llama_cpp_s_own_tokens(
    kind: str, written: Callable[[str], Path]
) -> None:
    """40,000 characters end a thread with an ordinary stack."""
    with loaded(written(kind)) as vocab:
        for unit in ("a", "字", "!", "\n") if kind in SQUARES else ("a", "字", "!", "\n", " "):
            text = repeated(unit, 40_000)
            expected = on_stack_of(613 << 20, partial(vocab._tokenize, text, False, False))
            assert vocab.tokenize(text, special=False) == expected
            assert expected or unit.isspace()


@pytest.mark.slow
@pytest.mark.parametrize("kind", weighed(*RECURSIVE, *MODELS))
def test_every_tokenizer_survives_262_144_characters_of_anything(
    kind: str, written: Callable[[str], Path]
) -> None:
    """It returns the text's tokens, or refuses the text, and takes seconds."""
    with loaded(written(kind)) as vocab:
        for name in COMMON:
            text = repeated(UNITS[name], (1 << 18) - 1) + SMILEY
            started = time.process_time()
            with suppress(*[InvalidRequest] * (kind in (*SQUARES, "llama"))):
                vocab.tokenize(text, special=False)
            assert time.process_time() - started < 20, name


@pytest.mark.parametrize(
    ("kind", "unit"), [("gpt-4o", "a"), ("tekken", " "), ("exaone-moe", "a "), ("poro-chat", "a1"), ("falcon", "\x1c!")]
)  # fmt: skip
def test_a_run_that_a_small_machine_s_stack_has_no_room_for_is_refused(
    kind: str, unit: str, written: Callable[[str], Path]
) -> None:
    """The stack takes a sixteenth of the memory. Runs that are interrupted may be of any length."""
    with loaded(written(kind), memory=GB // 2) as vocab:
        longest = vocab._limits.max_depth
        assert longest == 32_768
        with pytest.raises(InvalidRequest, match="without a break"):
            vocab.tokenize(repeated(unit, longest + 1), special=False)
        assert vocab.tokenize("\n.".join([repeated(unit, longest - 2)] * 3), special=False)


@pytest.mark.parametrize("kind", ["qwen2", "llama3", "gpt-2"])
def test_a_tokenizer_that_does_not_recurse_takes_any_run(kind: str, written: Callable[[str], Path]) -> None:
    with loaded(written(kind), memory=GB // 2) as vocab:
        assert vocab.tokenize("a" * 300_000, special=False)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("deepseek-llm", " " * 8_000 + SMILEY),
        ("deepseek-llm", ("\u00a0" * 3_000 + SMILEY) * 4),
        ("jais-2", " " * 50_000),
        ("superbpe", "1" * 8_000),
        ("superbpe", ("1" * 2_000 + "x") * 4),
    ],
)
def test_runs_that_take_quadratic_time_are_refused(
    kind: str, text: str, written: Callable[[str], Path]
) -> None:
    """Their squares count together; shorter runs are as many as one likes."""
    with loaded(written(kind)) as vocab:
        with pytest.raises(InvalidRequest, match="take too long"):
            vocab.tokenize(text, special=False)
        assert vocab.tokenize(("1" * 100 + " " * 100 + SMILEY) * 500, special=False)


def test_runs_are_counted_over_all_texts_of_a_request(written: Callable[[str], Path]) -> None:
    with loaded(written("deepseek-llm")) as vocab:
        text = " " * 3_000 + SMILEY
        vocab.check([text])
        with pytest.raises(InvalidRequest, match="take too long"):
            vocab.check([text] * 4)


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_thousands_of_control_tokens_are_refused(kind: str, written: Callable[[str], Path]) -> None:
    """llama.cpp takes the square of their number; as plain text they do not count."""
    with loaded(written(kind)) as vocab:
        control = vocab.control_tokens()[-1]
        assert len(vocab.tokenize(control * MAX_SPECIAL_TOKENS, special=True)) == MAX_SPECIAL_TOKENS
        text = control * (MAX_SPECIAL_TOKENS + 1)
        with pytest.raises(InvalidRequest, match="control tokens"):
            vocab.tokenize(text, special=True)
        assert vocab.tokenize(text, special=False)


def test_characters_without_a_token_are_limited_where_they_take_quadratic_time(
    written: Callable[[str], Path],
) -> None:
    """SentencePiece's tokenizer spells them in bytes."""
    with loaded(written("llama")) as vocab:
        assert len(vocab.tokenize(SMILEY * 20_000, special=False)) == 80_001
        assert vocab.tokenize("a b." * 60_000, special=False)
        for texts in ([SMILEY * 60_000], [SMILEY * 20_000] * 10):
            with pytest.raises(InvalidRequest, match="no token for"):
                vocab.check(texts)


def test_an_inserted_text_that_the_tokenizer_refuses_is_spelled_out(written: Callable[[str], Path]) -> None:
    """A grammar may force any text; the answer goes on."""
    with loaded(written("superbpe")) as vocab:
        tokens = TextTokenizer(vocab).encode("1" * 8_000)
    assert len(tokens) == 8_000


def test_other_threads_keep_their_stack_size() -> None:
    before = threading.stack_size()
    assert 3 == tokenizer_limits._on_stack(64 << 20, lambda: 3)
    assert before == threading.stack_size()
