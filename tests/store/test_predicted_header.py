from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import gguf
import llama_cpp.llama_cpp as lib
import numpy as np
import pytest
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
from edgeinfer.gguf.header import Header, read_header
from edgeinfer.gguf.quant_rules import BASE_TYPE
from edgeinfer.store.catalogue import ModelSpec, QuantFile, Shape, catalogue
from edgeinfer.store.predicted_header import LAYERS, expected_size, predicted_header

FTYPES = {
    "Q4_0": lib.LLAMA_FTYPE_MOSTLY_Q4_0,
    "Q8_0": lib.LLAMA_FTYPE_MOSTLY_Q8_0,
    "IQ4_NL": lib.LLAMA_FTYPE_MOSTLY_IQ4_NL,
    "Q4_K_S": lib.LLAMA_FTYPE_MOSTLY_Q4_K_S,
    "Q4_K_M": lib.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    "Q5_K_S": lib.LLAMA_FTYPE_MOSTLY_Q5_K_S,
    "Q5_K_M": lib.LLAMA_FTYPE_MOSTLY_Q5_K_M,
    "Q6_K": lib.LLAMA_FTYPE_MOSTLY_Q6_K,
    "F16": lib.LLAMA_FTYPE_MOSTLY_F16,
    "BF16": lib.LLAMA_FTYPE_MOSTLY_BF16,
}


def small(arch: str, embedding: int = 256, *, tied: bool = True) -> ModelSpec:
    """A model of that architecture, as small as the rules for its quantizations let it be."""
    kv_heads = [0, 2, 0, 2, 2, 0, 0, 2, 2] if arch == "lfm2" else 2
    shape = Shape(arch, 9, embedding, 8, kv_heads, 32, 256, 64, tied)
    if arch.endswith("moe"):
        shape = replace(shape, experts=4, experts_used=2)
    return ModelSpec(description="", licence="", context=512, roles=["chat"], shape=shape)


def write_f16(path: Path, header: Header) -> None:
    """A file with these tensors, for the quantizer to read."""
    arch = header.architecture
    writer = gguf.GGUFWriter(path, arch)
    for key, value in header.metadata.items():
        if isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
    if arch == "granite":
        writer.add_logit_scale(1.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_layer_norm_eps(1e-6)
    writer.add_uint32(f"{arch}.shortconv.l_cache", 3)
    writer.add_uint32(f"{arch}.rope.dimension_count", 32)
    writer.add_uint32(f"{arch}.rope.scaling.original_context_length", 512)
    numbers = np.random.default_rng(0)
    for tensor in header.tensors:
        kind = np.float32 if tensor.type == "F32" else np.float16
        writer.add_tensor(tensor.name, numbers.standard_normal(tensor.shape[::-1], np.float32).astype(kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantized(source: Path, quant: str, *, pure: bool = False) -> Header:
    """As llama.cpp makes it."""
    target = source.with_name(f"{quant}.gguf")
    params = lib.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.pure = FTYPES[quant], 1, pure
    assert 0 == lib.llama_model_quantize(str(source).encode(), str(target).encode(), params)
    return read_header(target)


def types(header: Header) -> dict[str, tuple[tuple[int, ...], str, int]]:
    return {tensor.name: (tensor.shape, tensor.type, tensor.nbytes) for tensor in header.tensors}


MADE = {
    "llama": (small("llama"), FTYPES),
    "llama, untied": (small("llama", tied=False), ("Q4_0", "Q4_K_M", "Q8_0")),
    "qwen2, 288": (small("qwen2", 288), FTYPES),
    "qwen2, 288, untied": (small("qwen2", 288, tied=False), ("Q4_0", "Q4_K_M", "Q8_0")),
} | {arch: (small(arch), ("Q4_K_M", "IQ4_NL", "F16")) for arch in LAYERS if arch != "llama"}


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "quants"), MADE.values(), ids=MADE)
def test_a_predicted_header_is_what_llama_cpp_makes(
    spec: ModelSpec, quants: Iterable[str], tmp_path: Path, llama_log: LogCapture
) -> None:
    """Tensor for tensor; 288 is a row that blocks of 256 do not fit."""
    source = predicted_header(spec, "F16")
    assert source
    write_f16(tmp_path / "source.gguf", source)
    for quant in quants:
        predicted = predicted_header(spec, quant)
        assert predicted
        assert types(quantized(tmp_path / "source.gguf", quant)) == types(predicted)


def test_a_file_of_one_type_is_predicted_too(tmp_path: Path, llama_log: LogCapture) -> None:
    """Some publish these."""
    file = QuantFile("Q4_0", "a/b", "c.gguf", pure=True)
    spec = replace(small("llama", tied=False), files=[file])
    source, predicted = predicted_header(spec, "F16"), predicted_header(spec, "Q4_0")
    assert source
    assert predicted
    write_f16(tmp_path / "source.gguf", source)
    assert types(quantized(tmp_path / "source.gguf", "Q4_0", pure=True)) == types(predicted)
    assert {"Q4_0", "F32"} == predicted.by_type().keys()


def test_each_quantization_is_compared() -> None:
    """All that can be predicted, but the one that none is made of."""
    assert {*FTYPES, "F32"} == BASE_TYPE.keys()


@pytest.mark.parametrize(
    ("name", "quant", "within"),
    [
        ("deepseek-r1-distill-qwen-1.5b", "Q4_K_M", 0.001),
        ("deepseek-r1-distill-qwen-1.5b", "Q5_K_M", 0.001),
        ("qwen3-1.7b", "Q4_K_M", 0.001),
        ("qwen3-0.6b", "Q4_0", 0.001),
        ("qwen3-0.6b", "Q8_0", 0.001),
        ("qwen3-4b-instruct-2507", "Q4_0", 0.005),
        ("qwen3-4b-instruct-2507", "Q4_K_M", 0.001),
        ("llama-3.2-1b", "Q4_K_M", 0.005),
        ("llama-3.2-3b", "Q4_K_M", 0.005),
        ("smollm3-3b", "Q4_K_M", 0.005),
        ("phi-4-mini", "Q4_K_M", 0.001),
        ("phi-4-mini", "Q5_K_M", 0.015),
        ("phi-4-mini", "BF16", 0.001),
        ("gemma-3-1b", "Q4_K_M", 0.005),
        ("gemma-3-1b", "F16", 0.005),
        ("lfm2.5-1.2b", "Q4_0", 0.001),
        ("lfm2.5-1.2b", "Q4_K_M", 0.001),
        ("qwen2.5-coder-1.5b", "Q4_0", 0.001),
        ("qwen2.5-coder-0.5b", "Q4_K_M", 0.001),
        ("nomic-embed-text-v1.5", "Q8_0", 0.005),
        ("qwen3-embedding-0.6b", "Q8_0", 0.001),
    ],
)
def test_a_predicted_size_is_near_the_published_one(name: str, quant: str, within: float) -> None:
    """Published files have an importance matrix, or were made by older rules: a percent at most."""
    spec = catalogue()[name]
    header, file = predicted_header(spec, quant), spec.quant(quant)
    assert header
    assert file
    assert header.size == pytest.approx(file.size, rel=within)


def test_a_predicted_header_says_what_the_plan_asks() -> None:
    """Under the keys of a real one."""
    spec = catalogue()["lfm2.5-1.2b"]
    header = predicted_header(spec, "Q4_K_M")
    assert header
    assert ("lfm2", 65536) == (header.architecture, header.vocabulary)
    counts = ("block_count", "context_length", "embedding_length", "attention.key_length")
    assert [16, 32768, 2048, 64] == [header.number(key) for key in counts]
    assert 6 * 8 == sum(header.per_layer("attention.head_count_kv") or [])
    ends = [tensor.offset + tensor.nbytes for tensor in header.tensors]
    assert header.size == ends[-1]
    assert all(end <= tensor.offset for end, tensor in zip(ends, header.tensors[1:], strict=False))
    gemma = predicted_header(catalogue()["gemma-3-1b"], "Q8_0")
    assert gemma
    assert 512 == gemma.number("attention.sliding_window")


def test_every_published_file_has_a_size() -> None:
    """Stated or predicted: the plan chooses by it without a network."""
    for name, spec in catalogue().items():
        for file in spec.files:
            size = expected_size(spec, file.quant)
            assert size, name
            assert file.size in (None, size)


def test_what_cannot_be_predicted_is_none() -> None:
    """A shape that is not given, an architecture or a quantization that is not known."""
    spec = small("llama")
    assert spec.shape
    assert predicted_header(replace(spec, shape=None), "Q4_K_M") is None
    assert predicted_header(replace(spec, shape=replace(spec.shape, arch="mamba")), "Q4_K_M") is None
    assert predicted_header(spec, "UD-Q4_K_XL") is None
    stated = replace(spec, files=[QuantFile("UD-Q4_K_XL", "a/b", "c.gguf", 5)])
    assert (5, None) == (expected_size(stated, "UD-Q4_K_XL"), expected_size(spec, "UD-Q4_K_XL"))


def test_a_rerankers_header_says_that_it_reranks() -> None:
    """So that it is planned as one before it is downloaded."""
    for name in ("qwen3-reranker-0.6b", "jina-reranker-v1-tiny-en"):
        header = predicted_header(catalogue()[name], "Q8_0")
        assert header
        assert header.reranks
