"""Turns conversations and code into arrays of tokens with a mask of what the model is to say."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from chat import render
from data import conversations
from numpy.typing import NDArray
from programs import examples
from tokenizers import Tokenizer

SPOKEN = re.compile(r"(?<=<\|im_start\|>assistant\n)(.*?<\|im_end\|>)", re.DOTALL)
SHARD = 2000
CODE = 100
"""Pieces of Python to each shard of conversations."""

LONGEST = 768


Piece = tuple[str, bool]


def spoken(text: str) -> list[Piece]:
    """A conversation in pieces, and for each whether the assistant wrote it."""
    return [(part, index % 2 == 1) for index, part in enumerate(SPOKEN.split(text))]


def encode(tokenizer: Tokenizer, pieces: list[Piece]) -> tuple[list[int], list[bool]]:
    """Tokens, and for each whether the model is to write it."""
    ids: list[int] = []
    own: list[bool] = []
    for part, mine in pieces:
        piece = tokenizer.encode(part, add_special_tokens=False).ids
        ids += piece
        own += [mine] * len(piece)
    return ids, own


def shard(directory: Path, seed: int) -> tuple[NDArray[np.uint16], NDArray[np.bool_], NDArray[np.int32]]:
    """The texts of one seed, concatenated, and their lengths."""
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokens: list[int] = []
    mask: list[bool] = []
    lengths: list[int] = []
    chats = (spoken(render(c.messages, c.declared(), generate=False)) for c in conversations(seed, SHARD))
    for pieces in chain(chats, examples(seed, CODE)):
        ids, own = encode(tokenizer, pieces)
        if len(ids) <= LONGEST:
            tokens += ids
            mask += own
            lengths.append(len(ids))
    return np.array(tokens, np.uint16), np.array(mask, np.bool_), np.array(lengths, np.int32)


def build(directory: Path, seed: int, count: int) -> None:
    """Write data.npz; shards have seeds of their own, so the result doesn't depend on the pool."""
    seeds = range(seed, seed + -(-count // SHARD))
    with ProcessPoolExecutor() as pool:
        shards = list(pool.map(partial(shard, directory), seeds))
    tokens, mask, lengths = (np.concatenate(part) for part in zip(*shards, strict=True))
    np.savez(directory / "data.npz", tokens=tokens, mask=mask, lengths=lengths)
    print(f"{len(lengths)} texts, {len(tokens)} tokens, {mask.mean():.1%} for the model to write")


Batch = tuple[NDArray[np.int64], NDArray[np.bool_]]


def batches(directory: Path, size: int, seed: int, pad: int) -> Iterator[Batch]:
    """Batches of about `size` tokens, each of conversations of similar length, padded.

    Every conversation starts at position 0 and sees nothing of the others, as when served.
    """
    data = np.load(directory / "data.npz")
    tokens, mask, lengths = data["tokens"], data["mask"], data["lengths"]
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
            width = int(max(lengths[i] for i in group))
            ids = np.full((len(group), width), pad, np.int64)
            spoken = np.zeros((len(group), width), np.bool_)
            for row, i in enumerate(group):
                ids[row, : lengths[i]] = tokens[starts[i] : starts[i] + lengths[i]]
                spoken[row, : lengths[i]] = mask[starts[i] : starts[i] + lengths[i]]
            yield ids, spoken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="holds tokenizer.json; data.npz is written there")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--count", type=int, default=120000)
    options = parser.parse_args()
    build(options.directory, options.seed, options.count)


if __name__ == "__main__":
    main()
