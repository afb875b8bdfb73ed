"""Keeps texts from llama.cpp's tokenizers that these would crash on, or be busy with for minutes.

Most BPE tokenizers split texts with std::regex, which recurses once for each character of a match: 320 bytes of stack
on x86. Some of the patterns also take time that grows with the square of a run, and finding control tokens
takes the square of their number. SentencePiece's does so for characters that it spells in bytes.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from edgeinfer.errors import InvalidRequest

R = TypeVar("R")

ITERATIVE = frozenset(
    {
        "a.x-4.0", "chatglm-bpe", "codeshell", "command-r", "dbrx", "deepseek-r1-qwen", "exaone", "exaone4", "f2llmv2",
        "falcon-h1", "falcon3", "gemma4", "gigachat", "glm4", "glm5", "gpt-2", "granite-docling",
        "granite-embed-multi-311m", "grok-2", "hunyuan", "jais", "jina-de", "jina-es", "jina-v1-en", "jina-v2-code",
        "jina-v2-de", "jina-v2-es", "jina-v5-nano", "kimi-k2", "kormo", "laguna", "lfm2", "llama-bpe", "llama-v3",
        "llama3", "megrez", "mellum", "mellum2", "midm-2.0", "minerva-7b", "modern-bert", "mpt", "olmo", "phi-2",
        "pixtral", "qwen2", "qwen35", "refact", "roberta-bpe", "sarvam-moe", "smaug-bpe", "smollm", "solar-open",
        "stablelm2", "starcoder", "trillion",
    }
)  # fmt: skip
"""Values of tokenizer.ggml.pre for which llama.cpp has loops of its own in place of std::regex."""

STACK_PER_CHARACTER = 1024
"""Bytes; three times what was measured, since compilers and processors differ."""

SHALLOW = 256
"""Characters that any thread's stack has room for; musl's have 128 KiB."""

MAX_DEPTH = 1 << 18
"""Characters of a match. They take 80 MB while the text is tokenized."""

MEMORY_SHARE = 16
"""The stack may take this part of the machine's memory."""

SPACES = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""What llama.cpp takes for white space. A match spans one run of it at most, and one of everything else."""

EXCEPTIONS = {"exaone-moe": r"[^\t-\r!-@[-`{-~]"}
"""What a match may span in patterns that go on after a space."""

SQUARES = {
    "deepseek-llm": (re.compile(r"[^\S\r\n]{32,}"), "spaces", 1 << 25),
    "jais-2": (re.compile(rf"[{SPACES}]{{512,}}"), "spaces", 1 << 31),
    "superbpe": (re.compile(r"[0-9]{32,}"), "digits", 1 << 23),
}
"""Runs that take quadratic time: their pattern, their name, and the largest sum of their squares, half a second's."""

MAX_SPECIAL_TOKENS = 4096
"""Control tokens and the like that are looked for in the texts of a request, each time from their beginning."""


MAX_COPIED_TOKENS = 1 << 32
"""Half a second's."""


class TokenizerLimits:
    """Knows what one tokenizer can take.

    Attributes:
        max_depth: characters that one match of its patterns may span; None if it does not recurse.
        spells_in_bytes: it is SentencePiece's, which is slow at characters without a token.
    """

    def __init__(self, model: str, pre: str, memory: int | None = None) -> None:
        """`model` and `pre` are tokenizer.ggml.model and .pre; `memory` is that of the machine in bytes."""
        memory = _memory() if memory is None else memory
        depth = min(MAX_DEPTH, memory // MEMORY_SHARE // STACK_PER_CHARACTER)
        self.spells_in_bytes = model == "llama"
        bpe = model in ("gpt2", "hybriddna", "whitespace")
        self.max_depth = None if not bpe or pre in ITERATIVE else max(SHALLOW, depth)
        kinds = EXCEPTIONS.get(pre), f"[^{SPACES}]", f"[{SPACES}]"
        run = "|".join(f"{kind}{{{(self.max_depth or 0) + 1},}}" for kind in kinds if kind)
        self._run = re.compile(run) if self.max_depth else None
        self._squares = SQUARES.get(pre) if bpe else None

    def check(self, texts: Iterable[str]) -> None:
        """Raises InvalidRequest for texts of one request that would take too much stack or time together."""
        squares = 0
        for text in texts:
            if self._run and len(text) > (self.max_depth or 0) and (run := self._run.search(text)):
                kind = "spaces" if run[0].isspace() else "characters"
                raise InvalidRequest(
                    f"the text has {len(run[0])} {kind} without a break; "
                    f"this model's tokenizer takes at most {self.max_depth}",
                    hint="break the text into shorter words",
                )
            if self._squares:
                pattern, name, limit = self._squares
                squares += sum(len(run) ** 2 for run in pattern.findall(text))
                if squares > limit:
                    raise InvalidRequest(
                        f"too many {name} follow one another: this model's tokenizer would take too long",
                        hint=f"leave out some of the {name}",
                    )

    def run(self, text: str, tokenize: Callable[[], R]) -> R:
        """Run `tokenize`, which tokenizes `text`, where the stack is large enough for it."""
        if self.max_depth is None or len(text) <= SHALLOW:
            return tokenize()
        return _on_stack(min(len(text), self.max_depth) * STACK_PER_CHARACTER + (1 << 20), tokenize)


def check_special_tokens(texts: Iterable[str], special_tokens: Sequence[str]) -> None:
    """Raises InvalidRequest if the texts hold more of these than can be found in reasonable time."""
    found = 0
    for text in texts:
        if len(text) > MAX_SPECIAL_TOKENS:
            found += sum(text.count(token) for token in special_tokens)
        if found > MAX_SPECIAL_TOKENS:
            raise InvalidRequest(
                f"the text has {found} control tokens, more than {MAX_SPECIAL_TOKENS}",
                hint="send tokens in place of the text",
            )


def check_byte_fallback(texts: Iterable[str], characters: Collection[str]) -> None:
    """Raises InvalidRequest for texts that SentencePiece's tokenizer would spell in bytes for too long.

    `characters` are those that have a token. For each of the others, llama.cpp copies all tokens so far.
    """
    work = 0
    for text in texts:
        if len(text) > MAX_SPECIAL_TOKENS:
            rare = [(len(c.encode()), n) for c, n in Counter(text).items() if c not in characters]
            work += sum(n for _, n in rare) * (len(text) + sum(size * n for size, n in rare))
        if work > MAX_COPIED_TOKENS:
            raise InvalidRequest(
                "the text has too many characters that this model has no token for",
                hint="send less of the text, or use another model",
            )


_stack_size = threading.Lock()


def _on_stack(size: int, function: Callable[[], R]) -> R:
    """Run `function` on a stack of `size` bytes, which exists only meanwhile."""
    future: Future[R] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as e:
            future.set_exception(e)

    thread = threading.Thread(target=run, name="tokenizer")
    with _stack_size:
        before = threading.stack_size((size + 0xFFFF) & ~0xFFFF)
        try:
            thread.start()
        finally:
            threading.stack_size(before)
    thread.join()
    return future.result()


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
