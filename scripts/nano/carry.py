"""Takes a shipped model as the weights to go on from, under its own vocabulary or a new one.

What the network has learnt stays; each token of the new vocabulary begins at the old embedding
of the same text, else at the place that its neighbours in a sentence encoder's embeddings
(a package with MiniLM's, Apache 2.0) have in the old ones, else at the mean of its old pieces.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from export import tensor_name
from gguf import GGUFReader
from gguf.quants import dequantize
from model import Config, Nano
from numpy.typing import NDArray
from tokenizer import SPECIAL, assemble
from tokenizers import Tokenizer

Matrix = NDArray[np.float32]


def tensors(reader: GGUFReader) -> dict[str, Matrix]:
    return {t.name: np.array(dequantize(t.data, t.tensor_type), np.float32) for t in reader.tensors}


def strings(reader: GGUFReader, key: str) -> list[str]:
    field = reader.fields[key]
    return [str(bytes(field.parts[index]), "utf-8") for index in field.data]


def shipped_tokenizer(reader: GGUFReader) -> Tokenizer:
    """The vocabulary of the file."""
    names = strings(reader, "tokenizer.ggml.tokens")
    merges = [
        (first, second) for first, second in (m.split(" ") for m in strings(reader, "tokenizer.ggml.merges"))
    ]
    return assemble({name: index for index, name in enumerate(names) if name not in SPECIAL}, merges)


def placed(new: Tokenizer, old: Tokenizer, embedding: Matrix, encoder: Path | None) -> Matrix:
    """The new embedding matrix."""
    size = new.get_vocab_size()
    found = np.zeros((size, embedding.shape[1]), np.float32)
    guide = Guide(encoder) if encoder else None
    known_x, known_y, open_x, open_at = [], [], [], []
    for index in range(size):
        token = new.id_to_token(index) or ""
        same = old.token_to_id(token)
        text = new.decode([index], skip_special_tokens=False)
        pieces = [same] if same is not None else old.encode(text, add_special_tokens=False).ids
        found[index] = embedding[pieces].mean(axis=0)
        vector = guide.vector(text) if guide else None
        if vector is not None and text.strip().isalpha():
            features = np.concatenate(
                (vector, [float(text.startswith(" ")), float(text.strip()[0].isupper()), 1.0])
            )
            if same is not None:
                known_x.append(features)
                known_y.append(embedding[same])
            else:
                open_x.append(features)
                open_at.append(index)
    if known_x and open_x:
        x, y = np.array(known_x), np.array(known_y)
        solved = np.linalg.solve(
            x.T @ x + 0.3 * len(x) * np.mean(x[:, :-3] ** 2) * np.eye(x.shape[1]), x.T @ y
        )
        guess = np.array(open_x) @ solved
        found[open_at] = 0.5 * found[open_at] + 0.5 * guess
        scale = np.linalg.norm(y, axis=1).mean() / np.linalg.norm(found[open_at], axis=1).mean()
        found[open_at] *= min(scale, 2.0)
    print(
        f"{size} tokens: {sum(old.token_to_id(new.id_to_token(i) or '') is not None for i in range(size))} known, {len(open_at)} placed"
    )
    return found


class Guide:
    """Word embeddings of a BERT-like encoder."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file

        weights = load_file(str(folder / "model.safetensors"))
        self.rows = next(w for name, w in weights.items() if name.endswith("word_embeddings.weight"))
        self.ids = {word: i for i, word in enumerate((folder / "vocab.txt").read_text().splitlines())}

    def vector(self, text: str) -> Matrix | None:
        index = self.ids.get(text.strip().lower())
        return None if index is None else np.asarray(self.rows[index], np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shipped", type=Path, help="the GGUF file to go on from")
    parser.add_argument(
        "directory",
        type=Path,
        help="start.pt is written there; tokenizer.json is the new vocabulary, or becomes the shipped one",
    )
    parser.add_argument("--encoder", type=Path, help="folder of model.safetensors and vocab.txt")
    options = parser.parse_args()
    reader = GGUFReader(str(options.shipped))
    given = tensors(reader)
    old, vocabulary = shipped_tokenizer(reader), options.directory / "tokenizer.json"
    if not vocabulary.exists():
        vocabulary.parent.mkdir(parents=True, exist_ok=True)
        old.save(str(vocabulary))
    new = Tokenizer.from_file(str(vocabulary))
    model = Nano(Config(vocab=new.get_vocab_size()))
    weights = model.state_dict()
    for name in weights:
        data = given[tensor_name(name)]
        if name == "embed.weight":
            data = placed(new, old, data, options.encoder)
        weights[name] = torch.from_numpy(np.ascontiguousarray(data))
    model.load_state_dict(weights)
    torch.save(
        {"config": model.config.to_dict(), "step": 0, "weights": weights}, options.directory / "start.pt"
    )


if __name__ == "__main__":
    main()
