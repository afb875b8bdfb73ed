"""Writes the tokenizer that vLLM gets: the model's, with fewer tokens that are found in texts by themselves.

Two things need that. A text of a caller must not become a control token: whoever makes the tokens of a prompt puts
them in. And a grammar must be able to speak of tags such as `<tool_call>`: llguidance knows a token that is found by
itself by its number alone, and an ordinary one by its text.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec

from edgeinfer.errors import ModelLoadFailed
from edgeinfer.safetensors.folder import CONFIG, TOKENIZER, read_tokenizer_json
from edgeinfer.safetensors.vocabulary import byte_level_text, is_byte_level

UNLIKELY = -1e6
"""Score of a token that no text shall be made of."""

KEPT = (
    "bos_token",
    "eos_token",
    "unk_token",
    "pad_token",
    "model_max_length",
    "clean_up_tokenization_spaces",
)
"""What is taken over of tokenizer_config.json."""


def write_tokenizer(model: Path, copy: Path, ordinary: Collection[str]) -> None:
    """Write a copy of a model's tokenizer, in which `ordinary` added tokens are tokens like others.

    Raises:
        ModelLoadFailed: the tokenizer is not usable.
    """
    try:
        tokenizer: dict[str, Any] = msgspec.json.decode(read_tokenizer_json(model))
        added = tokenizer.get("added_tokens") or []
        tokenizer["added_tokens"] = [token for token in added if token["content"] not in ordinary]
        _add(tokenizer, {token["content"]: token["id"] for token in added})  # all, so that none is renumbered
        config_file = model / "tokenizer_config.json"
        config = msgspec.json.decode(config_file.read_bytes()) if config_file.is_file() else {}
        kept = {key: config[key] for key in KEPT if key in config}
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as e:
        raise ModelLoadFailed(f"{TOKENIZER} is not usable: {str(e)[:200]}", param="model") from e
    (copy / CONFIG).write_bytes(
        (model / CONFIG).read_bytes()
    )  # the kind of model decides the kind of tokenizer
    (copy / TOKENIZER).write_bytes(msgspec.json.encode(tokenizer))
    (copy / "tokenizer_config.json").write_bytes(
        msgspec.json.encode({**kept, "tokenizer_class": "PreTrainedTokenizerFast"})
    )


def _add(tokenizer: dict[str, Any], tokens: dict[str, int]) -> None:
    """Put tokens into the vocabulary, under the numbers that they have."""
    vocab = tokenizer["model"]["vocab"]
    if isinstance(vocab, dict):
        spell = byte_level_text if is_byte_level(tokenizer) else str
        known = set(vocab.values())
        vocab.update({spell(text): id for text, id in tokens.items() if id not in known})
        return
    for text, id in sorted(tokens.items(), key=lambda item: item[1]):
        if id == len(vocab):
            vocab.append([text, UNLIKELY])
        elif id > len(vocab):
            raise ValueError(f"the token {text[:50]!r} has the number {id} after {len(vocab)} others")
