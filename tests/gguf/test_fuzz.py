"""Broken headers: our reader refuses them or they are sound, and llama.cpp gets no other."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import islice, pairwise
from pathlib import Path

import pytest

from edgeinfer.errors import ModelLoadFailed
from edgeinfer.gguf.header import Header, read_header, read_remote_header
from tests.support.bert import write_bert
from tests.support.gguf import Mutator, write_tiny
from tests.support.qwen3_reranker import write_qwen3_reranker
from tests.support.vocabularies import add_tokenizer

CHILD = Path(__file__).parents[1] / "support" / "gguf_child.py"
MB = 1024**2


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    write_tiny(path)
    return path.read_bytes()


def mutants(data: bytes, seed: int) -> Iterator[bytes]:
    mutate = Mutator(data, seed)
    while True:
        yield mutate()


def accepted(data: bytes) -> Header | None:
    """The header of a file in memory, None where the reader refuses it."""
    try:
        return read_remote_header(lambda offset, n: data[offset : offset + n], len(data))
    except ModelLoadFailed:
        return None


def assert_sound(header: Header, size: int) -> None:
    """What the plan and llama.cpp rely on."""
    assert 1 <= (header.number("block_count") or 0) <= 512
    assert header.number("context_length")
    assert header.number("embedding_length")
    assert all(tensor.nbytes > 0 and tensor.offset % 32 == 0 for tensor in header.tensors)
    assert all(a.offset + a.nbytes <= b.offset for a, b in pairwise(header.tensors))
    assert not header.tensors or header.tensors[-1].offset + header.tensors[-1].nbytes <= size
    assert len(header.tensors) == len({tensor.name for tensor in header.tensors})


def test_the_tiny_model_is_sound(tiny: bytes, tmp_path: Path) -> None:
    """Otherwise there would be nothing to break."""
    (tmp_path / "tiny.gguf").write_bytes(tiny)
    header = accepted(tiny)
    assert header
    assert_sound(header, len(tiny))
    assert header == read_header(tmp_path / "tiny.gguf")


@pytest.mark.slow
def test_whatever_is_broken_in_a_header_the_reader_refuses_it_or_it_is_sound(
    tiny: bytes, model_file: Path
) -> None:
    """20,000 copies of a small one, 1,000 of the bundled one: no other error, no time, no memory."""
    outcomes: Counter[bool] = Counter()
    slowest = 0.0
    for source, seed, count in ((tiny, 1, 20_000), (model_file.read_bytes(), 2, 1_000)):
        for i, data in enumerate(islice(mutants(source, seed), count)):
            if measured := i % 100 == 0:
                tracemalloc.start()
            start = time.process_time()
            header = accepted(data)
            if measured:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                assert peak < 4 * MB
            else:
                slowest = max(slowest, time.process_time() - start)
            if header:
                assert_sound(header, len(data))
            outcomes[header is not None] += 1
    assert slowest < 2
    assert min(outcomes.values()) > 3_000, "most are refused, or most accepted: the mutations are no good"


@pytest.mark.slow
def test_llama_cpp_survives_what_the_reader_accepts(tiny: bytes, model_file: Path, tmp_path: Path) -> None:
    """It loads them, computes, embeds and tokenizes, or says why not; in a process of its own."""
    paths = []
    sources = [(tiny, 3, 200), (model_file.read_bytes(), 4, 30)]
    for kind in ("llama", "t5", "rwkv", "plamo2", "gemma4"):
        write_tiny(tmp_path / kind, tokenizer=partial(add_tokenizer, kind=kind))
        sources.append(((tmp_path / kind).read_bytes(), 5, 10))
    write_bert(tmp_path / "bert")
    sources.append(((tmp_path / "bert").read_bytes(), 7, 20))
    write_bert(tmp_path / "reranker", pooling=None, head=True)
    sources.append(((tmp_path / "reranker").read_bytes(), 8, 20))
    write_qwen3_reranker(tmp_path / "qwen3")
    sources.append(((tmp_path / "qwen3").read_bytes(), 9, 20))
    for at, (source, seed, count) in enumerate(sources):
        broken = (data for data in mutants(source, seed) if data != source and accepted(data))
        for i, data in enumerate(islice(broken, count)):
            paths.append(tmp_path / f"{at}-{i}.gguf")
            paths[-1].write_bytes(data)
            read_header(paths[-1])  # from the disk as from memory
    done = subprocess.run(
        [sys.executable, CHILD],
        input="".join(f"{path}\n" for path in paths),
        capture_output=True,
        text=True,
        env=os.environ | {"GGML_NO_BACKTRACE": "1"},
        timeout=100,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert 0 == done.returncode, f"{lines[-1:]} ended it: {done.stderr[-500:]}"
    outcomes = Counter(line.split()[0] for line in lines)
    assert 340 == outcomes.pop("begin")
    assert 340 == outcomes.total()
    assert {"ok", "refused"} == outcomes.keys()
    assert min(outcomes.values()) > 20
