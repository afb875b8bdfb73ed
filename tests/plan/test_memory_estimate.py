"""The memory arithmetic, against what llama.cpp 0.3.36 reports of its buffers."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.backends.llama_cpp.binding.context import LlamaBackend
from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
from edgeinfer.backends.llama_cpp.binding.model import LlamaModel
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.gguf.header import Header, Tensor, read_header
from edgeinfer.gguf.reader import Value
from edgeinfer.hardware import detect
from edgeinfer.plan.memory_estimate import cells, compute_bytes, estimate, kv_token_bytes, on_gpu, padded
from edgeinfer.plan.repack import repacked_bytes
from edgeinfer.plan.speed import instruction_sets
from edgeinfer.plan.transformer_shape import TransformerShape, transformer_shape
from tests.support.requantized import write_requantized

MIB = 1024**2
MB = 10**6

QWEN_0_5B = TransformerShape(24, 896, 14, (2,) * 24, 64, 64, 4864, 151936)
R1_1_5B = TransformerShape(28, 1536, 12, (2,) * 28, 128, 128, 8960, 151936)
LLAMA_1B = TransformerShape(2, 2048, 32, (8, 8), 64, 64, 8192, 512)
QWEN3_0_6B = TransformerShape(2, 1024, 16, (8, 8), 128, 128, 3072, 512)


def config(**values: Any) -> LlamaConfig:
    return LlamaConfig(**{"model": "/m.gguf", "name": "m", "batch": 512, "max_draft": 0, **values})


def streams(ctx: int, parallel: int, ubatch: int, flash: bool = False) -> LlamaConfig:
    return config(
        ctx=ctx,
        parallel=parallel,
        layout="streams",
        cells=ctx * (parallel + 1),
        ubatch=ubatch,
        flash_attention=flash,
    )


def pool(cells: int, parallel: int, ubatch: int, flash: bool = True) -> LlamaConfig:
    return config(
        ctx=4096, parallel=parallel, layout="unified", cells=cells, ubatch=ubatch, flash_attention=flash
    )


@pytest.mark.parametrize(
    ("net", "how", "mib"),
    [
        (QWEN_0_5B, streams(1024, 1, 128), 9.81),
        (QWEN_0_5B, streams(4096, 1, 128), 32.31),
        (QWEN_0_5B, streams(16384, 1, 512), 489.26),
        (QWEN_0_5B, streams(2048, 8, 128), 18.26),
        (QWEN_0_5B, streams(4096, 1, 128, flash=True), 9.88),
        (QWEN_0_5B, pool(4096, 4, 512), 39.51),
        (QWEN_0_5B, pool(4096, 8, 128), 19.09),
        (R1_1_5B, streams(1024, 1, 128), 16.13),
        (R1_1_5B, streams(2048, 8, 128), 17.93),
        (R1_1_5B, streams(16384, 1, 128), 108.00),
        (R1_1_5B, pool(16384, 8, 512), 80.51),
        (R1_1_5B, pool(4096, 4, 512, flash=False), 120.01),
        (LLAMA_1B, streams(2048, 8, 128), 40.61),
        (QWEN3_0_6B, streams(4096, 1, 128), 38.50),
        (QWEN3_0_6B, streams(16384, 1, 512), 562.01),
    ],
)
def test_the_compute_buffer_has_the_size_that_llama_cpp_reports(
    net: TransformerShape, how: LlamaConfig, mib: float
) -> None:
    """llama.cpp logs it as "sched_reserve: CPU compute buffer size"."""
    assert mib * MIB == pytest.approx(compute_bytes(net, how)[0], rel=0.01)


@pytest.mark.parametrize(
    ("net", "how", "mib"),
    [
        (QWEN_0_5B, streams(2048, 8, 128), 5.22),
        (QWEN_0_5B, pool(4096, 8, 512), 18.55),
        (R1_1_5B, streams(4096, 1, 128), 1.16),
    ],
)
def test_the_logits_have_the_size_that_llama_cpp_reports(
    net: TransformerShape, how: LlamaConfig, mib: float
) -> None:
    """llama.cpp logs them as "llama_context: CPU output buffer size", with a row for each slot."""
    assert mib * MIB == pytest.approx(compute_bytes(net, how)[1], rel=0.01)


class Reported(logging.Handler):
    """Sizes in llama.cpp's log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def mib(self, what: str) -> float:
        sizes = [
            float(m[1]) for line in self.lines if (m := re.search(rf"{what} size = +([\d.]+) MiB", line))
        ]
        return sum(sizes)


@pytest.fixture
def reported(llama_log: LogCapture) -> Any:
    handler, logger = Reported(), logging.getLogger("llama.cpp")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture(scope="module")
def q4_0(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model at Q4_0, which x86 and ARM both repack."""
    path = tmp_path_factory.mktemp("models") / "nano-q4_0.gguf"
    write_requantized(model_file, path)
    return path


@pytest.mark.parametrize("quantized", [False, True], ids=["Q8_0", "Q4_0"])
@pytest.mark.parametrize("mmap", [False, True], ids=["read", "mapped"])
@pytest.mark.parametrize("how", [streams(512, 3, 64), pool(1024, 2, 128)], ids=["streams", "pool"])
def test_a_loaded_model_takes_what_was_estimated(
    quantized: bool,
    mmap: bool,
    how: LlamaConfig,
    model_file: Path,
    q4_0: Path,
    llama_log: LogCapture,
    reported: Reported,
) -> None:
    """The estimate agrees with llama.cpp's own log on this machine, for the weights that are repacked here.

    In a model this narrow one activation more or less is a tenth of the compute buffer.
    """
    path = q4_0 if quantized else model_file
    built = config(
        **{name: getattr(how, name) for name in ("parallel", "layout", "cells", "ubatch", "flash_attention")},
        model=str(path),
        ctx=512,
        mmap=mmap,
    )
    header = read_header(path)
    memory = estimate(header, built, instruction_sets(detect()))
    model = LlamaModel(built, llama_log)
    LlamaBackend(model, built).close()
    model.close()
    assert reported.mib("KV buffer") * MIB == pytest.approx(memory.kv, rel=0.01)
    assert reported.mib("(?:CPU_REPACK|AMX) model buffer") * MIB == pytest.approx(memory.repacked, abs=20_000)
    plain = "CPU_Mapped model buffer" if mmap else "CPU model buffer"
    assert reported.mib(plain) * MIB == pytest.approx(memory.weights + memory.stale, rel=0.05)
    assert reported.mib("CPU compute buffer") * MIB == pytest.approx(
        compute_bytes(transformer_shape(header), built)[0], rel=0.2
    )


def header(
    kind: str = "Q4_K", *, tied: bool = True, layers: int = 2, metadata: dict[str, Value] | None = None
) -> Header:
    """A model whose matrices are 256 x 512 elements of `kind`, 1 byte each."""
    matrices = ["token_embd.weight", *([] if tied else ["output.weight"])]
    matrices += [f"blk.{i}.ffn_up.weight" for i in range(layers)]
    tensors = [Tensor(name, (256, 512), kind, 0, MB) for name in matrices]
    tensors.append(Tensor("output_norm.weight", (256,), "F32", 0, 1024))
    fields: dict[str, Value] = {"general.architecture": "qwen2", "qwen2.block_count": layers}
    return Header(
        fields | {f"qwen2.{k}": v for k, v in (metadata or {}).items()}, tensors, (len(matrices) + 1) * MB
    )


def test_repacked_weights_are_there_twice_where_the_file_is_mapped() -> None:
    """A file that is read is there once. The token embedding stays as it is, since its rows are looked up."""
    mapped = estimate(header(tied=False), config(mmap=True), ["avx2"])
    read = estimate(header(tied=False), config(mmap=False), ["avx2"])
    assert (MB + 1024, 3 * MB, 3 * MB) == (mapped.weights, mapped.repacked, mapped.stale)
    assert (MB + 1024, 3 * MB, 0) == (read.weights, read.repacked, read.stale)
    assert mapped.total - read.total == 3 * MB
    assert mapped.needed == read.needed


def test_a_tied_embedding_that_is_repacked_is_there_twice_in_any_case() -> None:
    """Its rows are looked up, and a copy is the output matrix."""
    memory = estimate(header("Q8_0"), config(mmap=False), ["neon", "dotprod"])
    assert (MB + 1024, 3 * MB) == (memory.weights, memory.repacked)


def test_without_repacking_nothing_is_copied() -> None:
    """Repacking may be off, or the CPU may have no use for it, like a Pi 4's."""
    for memory in (
        estimate(header(), config(repack=False), ["avx2"]),
        estimate(header(), config(), ["neon"]),
    ):
        assert (3 * MB + 1024, 0, 0) == (memory.weights, memory.repacked, memory.stale)


REPACKED = {
    "neon": "",
    "neon dotprod": "Q4_0 Q4_K Q5_K Q6_K Q8_0 IQ4_NL MXFP4",
    "neon dotprod i8mm": "Q4_0 Q4_K Q5_K Q6_K Q8_0 IQ4_NL MXFP4",
    "avx": "",
    "avx avx2": "Q4_0 Q4_K IQ4_NL MXFP4",
    "avx avx2 avx512": "Q2_K Q4_0 Q4_K IQ4_NL MXFP4",
    "avx2 avx512 vnni amx": "Q2_K Q4_0 Q4_1 Q4_K Q5_K Q6_K Q8_0 IQ4_NL IQ4_XS MXFP4 F16",
}


@pytest.mark.parametrize("isa", REPACKED)
def test_each_cpu_repacks_its_own_types(isa: str) -> None:
    """The types are those in llama.cpp's sources."""
    kinds = [
        "Q2_K",
        "Q4_0",
        "Q4_1",
        "Q4_K",
        "Q5_K",
        "Q6_K",
        "Q8_0",
        "IQ4_NL",
        "IQ4_XS",
        "MXFP4",
        "F16",
        "F32",
    ]
    repacked = [kind for kind in kinds if repacked_bytes(Tensor("w", (256, 512), kind, 0, MB), isa.split())]
    assert sorted(REPACKED[isa].split()) == sorted(repacked)


def test_a_matrix_of_an_odd_height_is_not_repacked() -> None:
    """The kernels take eight rows at once, or four."""
    odd = Tensor("w", (256, 510), "Q4_K", 0, MB)
    assert (0, 0) == (repacked_bytes(odd, ["avx2"]), repacked_bytes(odd, ["amx", "avx2"]))
    assert 0 == repacked_bytes(Tensor("norm", (512,), "F32", 0, MB), ["avx2"])


def test_amx_adds_sums_to_some_types() -> None:
    """Four bytes to a block of 34 of Q8_0, or of 144 of Q4_K."""
    assert MB + 8 * 512 * 4 == repacked_bytes(Tensor("w", (256, 512), "Q8_0", 0, MB), ["amx"])
    assert MB + 512 * 4 == repacked_bytes(Tensor("w", (256, 512), "Q4_K", 0, MB), ["amx"])


@pytest.mark.parametrize(
    ("gpu_layers", "on_card"),
    [
        (0, []),
        (1, ["output.weight"]),
        (2, ["output.weight", "blk.1.x"]),
        (3, ["output.weight", "blk.1.x", "blk.0.x"]),
        (-1, ["output.weight", "blk.1.x", "blk.0.x"]),
        (99, ["output.weight", "blk.1.x", "blk.0.x"]),
    ],
)
def test_layers_go_on_the_gpu_from_the_last_one_on(gpu_layers: int, on_card: list[str]) -> None:
    """The output counts as one layer and goes first; the token embedding never goes."""
    names = ["token_embd.weight", "output.weight", "blk.1.x", "blk.0.x"]
    assert on_card == [name for name in names if on_gpu(name, 2, gpu_layers)]


def test_on_a_gpu_memory_is_the_gpus() -> None:
    """Only the token embedding stays in RAM; a tied one is on the GPU as well. Shared memory counts as RAM."""
    kv: dict[str, Value] = {"attention.head_count": 4, "attention.head_count_kv": 4, "embedding_length": 256}
    memory = estimate(header(metadata=kv), config(gpu_layers=-1), ["avx2"], api="cuda")
    assert (MB, 3 * MB + 1024) == (memory.weights, memory.gpu_weights)
    assert 0 == memory.kv
    assert memory.gpu_kv > 0
    shared = estimate(header(metadata=kv), config(gpu_layers=-1), ["avx2"], api="cuda", shared=True)
    assert shared.needed == memory.needed + memory.gpu


def test_half_of_the_layers_on_a_gpu_take_half_of_the_cache_with_them() -> None:
    """A layer's KV cache is where the layer is."""
    kv: dict[str, Value] = {"attention.head_count": 4, "attention.head_count_kv": 4, "embedding_length": 256}
    memory = estimate(header(layers=4, tied=False, metadata=kv), config(gpu_layers=3), [], api="cuda")
    assert memory.kv == memory.gpu_kv
    assert (3 * MB, 3 * MB + 1024) == (memory.weights, memory.gpu_weights)


def test_layers_may_have_caches_of_their_own_size() -> None:
    """Some layers have no KV cache at all."""
    fields: dict[str, Value] = {"attention.head_count_kv": [0, 2, 4], "embedding_length": 512}
    mixed = header(layers=3, metadata=fields | {"attention.head_count": 8})
    assert 6 * (64 + 64) * 2 == kv_token_bytes(mixed, "f16")


def test_a_cache_is_reserved_in_blocks_of_256() -> None:
    """The context is rounded up for each stream."""
    assert 9 * 512 == cells(config(ctx=300, parallel=8, layout="streams"))
    assert 1024 == cells(config(ctx=300, parallel=8, layout="unified", cells=1000))
    assert [0, 256, 256, 512] == [padded(n) for n in (0, 1, 256, 257)]


def test_an_encoder_has_no_cache() -> None:
    """Encoders attend in both directions."""
    encoder = header(metadata={"attention.causal": False, "attention.head_count": 4, "embedding_length": 256})
    assert (0, 0) == ((memory := estimate(encoder, config())).kv, memory.embeddings)


def test_a_chat_model_says_what_embeddings_would_take() -> None:
    """They take a context of their own, and logits for 128 tokens."""
    memory = estimate(header(metadata={"vocab_size": 1000}), config())
    assert memory.embeddings >= 2 * 128 * 1000 * 4
    assert memory.embeddings not in (memory.total, memory.needed)


def test_a_reranker_reads_one_pair_at_a_time() -> None:
    """It needs no cells for answers, and always the logits that a chat model needs for embeddings only."""
    fields: dict[str, Value] = {"vocab_size": 1000, "attention.head_count": 4, "embedding_length": 256}
    chat, reranker = (estimate(header(metadata=fields), config(ctx=512, reranks=r)) for r in (False, True))
    assert 512 * kv_token_bytes(header(metadata=fields), "f16") == reranker.kv < chat.kv
    assert 0 == reranker.embeddings
    assert reranker.compute >= 2 * 128 * 1000 * 4


def test_a_hostile_number_of_layers_takes_no_memory_here() -> None:
    """Nothing is allocated for a number that a header merely claims."""
    assert TransformerShape() == transformer_shape(header(metadata={"block_count": 2**40}))
