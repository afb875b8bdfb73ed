"""Measuring: models of random weights are sound, and figures come out of real steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.bench.calibrate import TYPES, calibrate
from edgeinfer.bench.measure import open_benchmark
from edgeinfer.bench.synthetic import layer_bytes, layer_weights, write_model
from edgeinfer.gguf.header import read_header
from edgeinfer.hardware import detect
from edgeinfer.plan.benchmarks import load_results
from edgeinfer.plan.calibration import load, save
from edgeinfer.plan.speed import predict
from tests.support.cli import run

BITS = {"Q4_0": 4.5, "Q4_K": 4.5, "Q5_0": 5.5, "Q5_K": 5.5, "Q6_K": 6.5625, "Q8_0": 8.5, "F16": 16}


@pytest.mark.parametrize("kind", BITS)
def test_a_model_of_random_is_a_sound_file_of_one_type(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "random.gguf"
    size, layers = write_model(path, kind, 1)
    header = read_header(path)
    assert (1, layer_weights() * BITS[kind] / 8) == (layers, size)
    blocks = [t for t in header.tensors if t.name.startswith("blk.") and len(t.shape) == 2]
    assert {kind} == {t.type for t in blocks}
    assert size == sum(t.nbytes for t in blocks) == layer_bytes(kind)


async def test_llama_cpp_computes_a_model_of_random(tmp_path: Path) -> None:
    path = tmp_path / "random.gguf"
    write_model(path, "Q4_0", 1)
    config = LlamaConfig(model=str(path), name="random", ctx=256, parallel=2, cells=768, ubatch=64)
    async with open_benchmark(config) as benchmark:
        alone = await benchmark.measure(32, 8)
        assert alone.prompt_rate > 0
        assert alone.answer_rate > 0
        assert await benchmark.concurrent_throughput(2, 8, 8) > 0


@pytest.mark.slow
async def test_a_calibration_tells_the_speed_of_a_model(tmp_path: Path) -> None:
    """Its accuracy can only be checked on a quiet machine."""
    notes: list[str] = []
    profile = detect()
    calibration = await calibrate(profile, notes.append, size=1, types=("Q8_0", "Q4_0"))
    assert calibration.cpu
    assert {"Q8_0", "Q4_0", ""} == set(calibration.cpu.decode)
    assert min(calibration.cpu.decode.values()) == calibration.cpu.decode[""] > 0
    assert calibration.cpu.prefill
    assert notes
    save(tmp_path, calibration)
    assert calibration == load(tmp_path, profile)
    write_model(path := tmp_path / "model.gguf", "Q4_0", 1)
    speed = predict(read_header(path), 0, profile, calibration)
    assert "measured on this machine" == speed.source
    assert speed.decode
    assert speed.decode > 0


def test_the_types_that_are_measured_are_those_of_the_usual_quantizations() -> None:
    assert set(TYPES) <= set(BITS)


@pytest.mark.slow
def test_bench_measures_the_bundled_model(tmp_path: Path) -> None:
    figures = json.loads(run(tmp_path, "bench", "--json").stdout)
    assert "edgeinfer-nano" == figures["model"]
    assert min(figures[f"{what}_rate"] for what in ("prompt", "answer", "together")) > 0
    store = tmp_path / "store"
    assert [result.model for result in load_results(store)] == ["edgeinfer-nano"]
