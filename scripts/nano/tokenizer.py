"""Trains the byte-level BPE vocabulary on generated conversations.

The pre-tokenizer is Qwen2's, because the GGUF names it (`tokenizer.ggml.pre`) and
llama.cpp then splits text by that very expression; a vocabulary trained on another
split would never see half of its merges applied.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from pathlib import Path

from chat import render
from data import conversations
from fields import FOLDER
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

QWEN2_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
INNER_SPLIT = r"\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_middle|>",
           "<|fim_suffix|>",
           "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>")  # fmt: skip
MARKUP = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
SPECIAL = CONTROL + MARKUP
VOCABULARY = 6144
SPACED = 1900
REPEATED = 8
"""How often the fields' own words are read, so that they come before those of the word lists."""
SPACE = "Ġ"


def train(seed: int, count: int) -> Tokenizer:
    """Learn the merges within words, then join the commonest words with the space before them.

    A rare or invented word so splits alike wherever it stands: after a space in what the user
    says, after a quote in the call that repeats it. The special tokens come last.
    """
    cut = re.compile("|".join(map(re.escape, SPECIAL)))
    texts = [render(c.messages, c.declared(), generate=False) for c in conversations(seed, count)]
    parts = [part for text in texts for part in cut.split(text)]
    parts += [file.read_text() for file in sorted(FOLDER.glob("*.txt"))] * REPEATED
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(INNER_SPLIT), behavior="isolated"), level]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL) - SPACED,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=3,
        show_progress=False,
    )
    inner.train_from_iterator(parts, trainer)
    learned = json.loads(inner.to_str())["model"]
    vocabulary: dict[str, int] = learned["vocab"]
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in learned["merges"]]
    merges: list[tuple[str, str]] = [(first, second) for first, second in pairs]
    words = Counter(word for part in parts for word in re.findall(r" ([A-Za-z]+)", part))
    for word, _ in words.most_common():
        if len(vocabulary) == VOCABULARY - len(SPECIAL):
            break
        if word in vocabulary:
            vocabulary[SPACE + word] = len(vocabulary)
            merges.append((SPACE, word))
    return assemble(vocabulary, merges)


def assemble(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    """A tokenizer with these tokens and merges, and the special tokens after them."""
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    split = pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in MARKUP])
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="directory for tokenizer.json")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--count", type=int, default=6000)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer = train(options.seed, options.count)
    tokenizer.save(str(options.out / "tokenizer.json"))
    print(json.dumps({"vocabulary": tokenizer.get_vocab_size()}))


if __name__ == "__main__":
    main()
