"""Turns conversations and code into arrays of tokens with a mask of what the model is to say."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from chat import render
from data import conversations
from numpy.typing import NDArray
from programs import examples
from tokenizers import Tokenizer
from turns import Chat

SPOKEN = re.compile(r"(?<=<\|im_start\|>assistant\n)(.*?<\|im_end\|>)", re.DOTALL)
VALUES = re.compile(r'(?<=": )((?:"(?:[^"\\]|\\.)*"|[\w.-]+)(?:, |\}))')
"""The values of a JSON object, each with what ends it; a grammar writes the rest."""

SHARD = 2000
CODE = 500
"""Pieces of Python to each shard of conversations."""

LONGEST = 1024
"""Tokens of a text: half of what the model is served with."""


Piece = tuple[str, bool]
"""Text, and whether the model is to write it."""
Arrays = dict[str, NDArray[Any]]


@dataclass
class Text:
    """Tokens, whether the model is to write each, and the branch of each.

    Branch 0 is seen by all others, which see nothing of each other.
    """

    ids: list[int] = field(default_factory=list)
    own: list[bool] = field(default_factory=list)
    branch: list[int] = field(default_factory=list)

    def add(self, tokenizer: Tokenizer, pieces: list[Piece], branch: int = 0) -> None:
        for part, mine in pieces:
            ids = tokenizer.encode(part, add_special_tokens=False).ids
            self.ids += ids
            self.own += [mine] * len(ids)
            self.branch += [branch] * len(ids)


def spoken(text: str, pattern: re.Pattern[str] = SPOKEN) -> list[Piece]:
    """A conversation in pieces."""
    return [(part, index % 2 == 1) for index, part in enumerate(pattern.split(text)) if part]


def encoded(tokenizer: Tokenizer, chat: Chat) -> Text:
    """A conversation's tokens; what does not fit any more is left out."""
    text, declared = Text(), chat.declared()
    trunk = render(chat.messages, declared, generate=False)
    text.add(tokenizer, spoken(trunk))
    for number, messages in enumerate(chat.alternatives, 1):
        before = Text(list(text.ids), list(text.own), list(text.branch))
        whole = render([*chat.messages, *messages], declared, generate=False)
        pattern = VALUES if chat.kind == "form" else SPOKEN
        text.add(tokenizer, spoken(whole.removeprefix(trunk), pattern), number)
        if len(text.ids) > LONGEST:
            return before
    return text


def shard(directory: Path, seed: int) -> Arrays:
    """The texts of one seed, concatenated, and their lengths."""
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    texts = [encoded(tokenizer, chat) for chat in conversations(seed, SHARD)]
    for pieces in examples(seed, CODE):
        texts.append(Text())
        texts[-1].add(tokenizer, pieces)
    kept = [text for text in texts if len(text.ids) <= LONGEST and any(text.own)]
    return {
        "tokens": np.array([i for text in kept for i in text.ids], np.uint16),
        "mask": np.array([mine for text in kept for mine in text.own], np.bool_),
        "branch": np.array([b for text in kept for b in text.branch], np.uint8),
        "lengths": np.array([len(text.ids) for text in kept], np.int32),
    }


def build(directory: Path, seed: int, count: int) -> None:
    """Write data.npz; shards have seeds of their own, so the result doesn't depend on the pool."""
    seeds = range(seed, seed + -(-count // SHARD))
    with ProcessPoolExecutor() as pool:
        shards = list(pool.map(partial(shard, directory), seeds))
    tokens, mask, branch, lengths = (
        np.concatenate([part[name] for part in shards]) for name in ("tokens", "mask", "branch", "lengths")
    )
    np.savez(directory / "data.npz", tokens=tokens, mask=mask, branch=branch, lengths=lengths)
    print(f"{len(lengths)} texts, {len(tokens)} tokens, {mask.mean():.1%} for the model to write")


class Batch(NamedTuple):
    """Texts of similar length, padded: arrays of texts × tokens."""

    ids: NDArray[np.int64]
    spoken: NDArray[np.bool_]
    branch: NDArray[np.int64]
    position: NDArray[np.int64]


def positions(branch: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Each branch goes on where branch 0 ends."""
    at = np.arange(len(branch))
    begins = np.flatnonzero(np.diff(branch, prepend=0))
    if not len(begins):
        return at
    shift = np.zeros(len(branch), np.int64)
    shift[begins] = begins - begins[0]
    return at - np.maximum.accumulate(shift)


def batches(directory: Path, size: int, seed: int, pad: int) -> Iterator[Batch]:
    """Batches of about `size` tokens, each of conversations of similar length, padded.

    Every conversation starts at position 0 and sees nothing of the others, as when served.
    """
    data = dict(np.load(directory / "data.npz"))
    lengths = data["lengths"]
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lengths))
    for window in np.array_split(order, max(1, len(order) // 1024)):
        window = window[np.argsort(lengths[window], kind="stable")]
        groups: list[list[int]] = [[]]
        for index in window:
            if (len(groups[-1]) + 1) * lengths[index] > size:
                groups.append([])
            groups[-1].append(int(index))
        for at in rng.permutation(len(groups)):
            group = groups[at]
            shape = (len(group), int(max(lengths[i] for i in group)))
            batch = Batch(np.full(shape, pad, np.int64), np.zeros(shape, np.bool_),
                          np.zeros(shape, np.int64), np.zeros(shape, np.int64))  # fmt: skip
            for row, i in enumerate(group):
                text = slice(starts[i], starts[i] + lengths[i])
                batch.ids[row, : lengths[i]] = data["tokens"][text]
                batch.spoken[row, : lengths[i]] = data["mask"][text]
                batch.branch[row, : lengths[i]] = data["branch"][text]
                batch.position[row, : lengths[i]] = positions(data["branch"][text])
            yield batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="holds tokenizer.json; data.npz is written there")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--count", type=int, default=120000)
    options = parser.parse_args()
    build(options.directory, options.seed, options.count)


if __name__ == "__main__":
    main()
