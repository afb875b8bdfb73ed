"""Reads what a model's folder says about it: shape, weights, chat template, and recommended sampling.

Everything in it is untrusted, and only JSON, text and safetensors are read: pickled weights and code never are.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from edgeinfer.errors import ModelLoadFailed
from edgeinfer.safetensors.header import SafetensorsHeader, read_safetensors
from edgeinfer.safetensors.sentencepiece import tokenizer_json
from edgeinfer.safetensors.vocabulary import Vocabulary, parse_vocabulary

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
SENTENCEPIECE = "tokenizer.model"
"""A tokenizer's older form; it is only used where the other is missing."""
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

MAX_CONFIG_BYTES = 4 << 20
MAX_TOKENIZER_BYTES = 128 << 20
"""Gemma's tokenizer.json has 33 MB."""

MAX_SHARDS = 1024

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
"""Weights in formats that can run code."""

TEXTS = (
    CONFIG, TOKENIZER, SENTENCEPIECE, INDEX, "generation_config.json", "tokenizer_config.json", "special_tokens_map.json",
    "chat_template.jinja", "vocab.json", "merges.txt", "added_tokens.json", "LICENSE",
)  # fmt: skip
"""What a folder has beside its weights. Nothing else of a repository is downloaded: no code, and no other formats."""

SAMPLING = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p",
            "repetition_penalty": "repeat_penalty"}  # fmt: skip
"""Fields of generation_config.json, and our names for them."""

DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


class ModelFolder(msgspec.Struct, frozen=True):
    """A model's facts.

    Attributes:
        path: the folder.
        architecture: such as "qwen2".
        dtype: the type of most weights, such as "BF16".
        size: bytes of all tensors.
        parameters: number of parameters; for packed quantized weights, of packed elements.
        context: tokens that it was trained for.
        embedding: width of an embedding.
        heads, kv_heads, head_size: of each layer's attention.
        eos: ids of the tokens that end an answer.
        quantization: how weights are quantized, such as "awq"; None if they are not.
        generates: it has a head that predicts tokens.
    """

    path: Path
    architecture: str
    dtype: str
    size: int
    parameters: int
    context: int
    vocabulary: int
    embedding: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    eos: tuple[int, ...]
    sampling: dict[str, float]
    quantization: str | None = None
    generates: bool = True

    @property
    def kv_token_bytes(self) -> int:
        """Bytes of KV cache that one token takes, in 16 bits."""
        return self.layers * self.kv_heads * self.head_size * 2 * 2

    @property
    def revision(self) -> str:
        return folder_revision(self.path)


class TokenizerFacts(msgspec.Struct, frozen=True):
    """The vocabulary, the chat templates by name, and the texts of the tokens around a text; "" if there is none."""

    vocabulary: Vocabulary
    chat_templates: dict[str, str]
    bos: str = ""
    eos: str = ""
    add_bos: bool = False


def is_model_folder(path: Path) -> bool:
    """Tell whether a path is a folder with a model."""
    try:
        return (path / CONFIG).is_file()
    except OSError:
        return False


def is_folder_file(name: str) -> bool:
    """Tell whether a file of a repository belongs to a model's folder."""
    return name in TEXTS or (name.endswith(".safetensors") and "/" not in name and name.startswith("model"))


def model_files(names: Iterable[str]) -> list[str]:
    """The names of the files of a repository that belong to a model's folder, in order."""
    found = sorted(name for name in names if is_folder_file(name))
    return [name for name in found if name != SENTENCEPIECE or TOKENIZER not in found]


def folder_revision(path: Path) -> str:
    """A short text that changes when a file of the model is replaced."""
    facts = []
    try:
        for file in sorted(path.iterdir()):
            status = file.stat()
            if stat.S_ISREG(status.st_mode):
                facts.append((file.name, status.st_size, status.st_mtime_ns))
    except OSError:
        facts = []
    return hashlib.sha256(repr((os.path.realpath(path), facts)).encode()).hexdigest()[:16]


def read_folder(path: Path) -> ModelFolder:
    """Read a model's folder, and the header of each of its files of weights.

    Raises:
        ModelLoadFailed: it is not a sound model; the message names the file.
    """
    config = _json(path / CONFIG, MAX_CONFIG_BYTES)
    if isinstance(text := config.get("text_config"), dict):
        config = {**config, **text, "architectures": config.get("architectures")}
    headers = [read_safetensors(path / name) for name in weight_files(path)]
    generation = _optional_json(path / "generation_config.json")
    heads = _count(config, "num_attention_heads")
    embedding = _count(config, "hidden_size")
    quantization = config.get("quantization_config")
    names = config.get("architectures")
    kind = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    return ModelFolder(
        path=path,
        architecture=str(config.get("model_type") or "")[:64],
        dtype=_dtype(headers, config),
        size=sum(tensor.nbytes for header in headers for tensor in header.tensors),
        parameters=sum(tensor.count for header in headers for tensor in header.tensors),
        context=_count(config, "max_position_embeddings"),
        vocabulary=_count(config, "vocab_size"),
        embedding=embedding,
        layers=_count(config, "num_hidden_layers"),
        heads=heads,
        kv_heads=_count(config, "num_key_value_heads", heads),
        head_size=_count(config, "head_dim", embedding // heads),
        eos=_ids(generation.get("eos_token_id")) or _ids(config.get("eos_token_id")),
        sampling=_sampling(generation),
        quantization=str(quantization.get("quant_method"))[:32] if isinstance(quantization, dict) else None,
        generates="CausalLM" in kind or "ConditionalGeneration" in kind,
    )


def weight_files(path: Path) -> list[str]:
    """Names of a model's files of weights, as its index has them, or the only one.

    Raises:
        ModelLoadFailed: there are none, or the index names what cannot be one.
    """
    if (path / INDEX).is_file():
        names = index_files((path / INDEX).read_bytes()[: MAX_CONFIG_BYTES * 8])
        if missing := [name for name in names if not (path / name).is_file()]:
            raise ModelLoadFailed(f"{missing[0]} is missing in {path.name}", param="model")
        return names
    if (path / SINGLE).is_file():
        return [SINGLE]
    pickled = sorted(file.name for file in path.iterdir() if file.suffix in PICKLES)
    if pickled:
        raise ModelLoadFailed(
            f"{path.name} has its weights in {pickled[0]}, a format that can run code, and no safetensors",
            param="model",
            hint="get the model in safetensors",
        )
    raise ModelLoadFailed(f"{path.name} has no {SINGLE}", param="model")


def index_files(data: bytes) -> list[str]:
    """The files of weights that an index names. Raises ModelLoadFailed."""
    try:
        names = sorted(set(msgspec.json.decode(data, type=_Index).weight_map.values()))
    except (ValueError, RecursionError) as e:
        raise ModelLoadFailed(f"{INDEX} is not usable: {str(e)[:200]}", param="model") from e
    for name in names:
        if "/" in name or "\\" in name or name.startswith(".") or not name.endswith(".safetensors"):
            raise ModelLoadFailed(f"{INDEX} names {name[:100]!r}, which is no file of weights", param="model")
    if not names or len(names) > MAX_SHARDS:
        raise ModelLoadFailed(f"{INDEX} names {len(names)} files", param="model")
    return names


def read_tokenizer(path: Path) -> TokenizerFacts:
    """Read a folder's vocabulary and chat templates. Raises ModelLoadFailed."""
    vocabulary = parse_vocabulary(read_tokenizer_json(path))
    config = _optional_json(path / "tokenizer_config.json")
    bos, eos = _token_text(config.get("bos_token")), _token_text(config.get("eos_token"))
    added = config.get("add_bos_token")
    add_bos = bool(bos) and (vocabulary.bos == bos if added is None else added is True)
    return TokenizerFacts(vocabulary, dict(_templates(path, config)), bos, eos, add_bos)


def read_tokenizer_json(path: Path) -> bytes:
    """Read a folder's tokenizer.json, or make it of tokenizer.model where that is all there is. Raises ModelLoadFailed."""
    if (path / TOKENIZER).is_file() or not (path / SENTENCEPIECE).is_file():
        return _bytes(path / TOKENIZER, MAX_TOKENIZER_BYTES)
    config, added = (_optional_json(path / name) for name in ("tokenizer_config.json", "added_tokens.json"))
    return tokenizer_json(_bytes(path / SENTENCEPIECE, MAX_TOKENIZER_BYTES), config, added)


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def _templates(path: Path, config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The chat templates by name. One in a file of its own is newer than that in tokenizer_config.json."""
    template = config.get("chat_template")
    if isinstance(template, str):
        yield "default", template
    for named in template if isinstance(template, list) else []:
        if isinstance(named, dict) and isinstance(named.get("template"), str):
            yield str(named.get("name")), named["template"]
    if (file := path / "chat_template.jinja").is_file():
        yield "default", _bytes(file, MAX_CONFIG_BYTES).decode("utf-8", "replace")


def _token_text(token: Any) -> str:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


def _sampling(generation: dict[str, Any]) -> dict[str, float]:
    return {
        ours: float(value)
        for theirs, ours in SAMPLING.items()
        if isinstance(value := generation.get(theirs), int | float) and not isinstance(value, bool)
    }


def _dtype(headers: list[SafetensorsHeader], config: dict[str, Any]) -> str:
    """The type that most bytes of weights have."""
    sizes: dict[str, int] = {}
    for header in headers:
        for tensor in header.tensors:
            sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.nbytes
    return max(
        sizes, key=lambda dtype: sizes[dtype], default=DTYPES.get(str(config.get("torch_dtype")), "BF16")
    )


def _ids(value: Any) -> tuple[int, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(v for v in values if isinstance(v, int) and not isinstance(v, bool) and v >= 0)


def _count(config: dict[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key)
    if value is None and default:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 32:
        raise ModelLoadFailed(f"{CONFIG}: {key} is {str(value)[:50]}", param="model")
    return value


def _optional_json(path: Path) -> dict[str, Any]:
    return _json(path, MAX_CONFIG_BYTES * 4) if path.is_file() else {}


def _json(path: Path, limit: int) -> dict[str, Any]:
    try:
        return msgspec.json.decode(_bytes(path, limit), type=dict[str, Any])
    except (ValueError, RecursionError) as e:
        raise ModelLoadFailed(f"{path.name} is not usable: {str(e)[:200]}", param="model") from e


def _bytes(path: Path, limit: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > limit:
            raise ModelLoadFailed(
                f"{path.name} has {size} bytes, and no real model's more than {limit}", param="model"
            )
        return path.read_bytes()
    except OSError as e:
        raise ModelLoadFailed(
            f"{path.parent.name}/{path.name} cannot be read: {e.strerror}", param="model"
        ) from e
