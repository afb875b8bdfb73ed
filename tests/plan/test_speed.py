"""Predicted speed: the bytes that a token reads over the machine's bandwidth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgeinfer.gguf.header import Header, Tensor
from edgeinfer.gguf.reader import Value
from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.board import Board
from edgeinfer.hardware.cpu import CpuClass
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.hardware.llama_build import LlamaBuild
from edgeinfer.hardware.memory import Memory
from edgeinfer.plan.bandwidth import cpu_bandwidth, gpu_bandwidth
from edgeinfer.plan.calibration import FILE, Calibration, Rates, fingerprint, load, save
from edgeinfer.plan.speed import Speed, instruction_sets, predict, read_bytes

GB = 10**9


def machine(family: str | None = None, **values: Any) -> HardwareProfile:
    facts: dict[str, Any] = {
        "cpus": [CpuClass([0, 1, 2, 3], None, None)],
        "cpu_quota": None,
        "memory": Memory(4 * GB, 3 * GB, None),
        "board": Board("A board", (), family),
    }
    return HardwareProfile(**facts | values)


def header(*, tied: bool = False, metadata: dict[str, Value] | None = None) -> Header:
    """A GB of Q4_K in two layers, half of it Q6_K in the output matrix."""
    tensors = [Tensor("token_embd.weight", (1000, 1000), "Q6_K", 0, GB // 2)]
    if not tied:
        tensors.append(Tensor("output.weight", (1000, 1000), "Q6_K", 0, GB // 2))
    tensors += [Tensor(f"blk.{i}.ffn_up.weight", (1000, 500), "Q4_K", 0, GB // 2) for i in range(2)]
    fields: dict[str, Value] = {"general.architecture": "qwen2", "qwen2.block_count": 2}
    return Header(fields | (metadata or {}), tensors, 2 * GB)


@pytest.mark.parametrize("tied", [False, True])
def test_a_token_reads_all_weights_but_an_embedding_of_its_own(tied: bool) -> None:
    """Only a row of the embedding is read, unless it is the output matrix too."""
    assert ({"Q6_K": GB // 2, "Q4_K": GB}, {}) == read_bytes(header(tied=tied), 0)


def test_on_a_gpu_its_memory_is_read() -> None:
    """One layer and the output matrix are on the GPU, the other layer is in RAM."""
    assert ({"Q4_K": GB // 2}, {"Q6_K": GB // 2, "Q4_K": GB // 2}) == read_bytes(header(), 2)


def test_of_the_experts_those_are_read_that_are_used() -> None:
    """Two of eight experts are used."""
    mixture = Header(
        {
            "general.architecture": "moe",
            "moe.block_count": 1,
            "moe.expert_count": 8,
            "moe.expert_used_count": 2,
        },
        [
            Tensor("blk.0.ffn_up_exps.weight", (10, 10, 8), "Q4_K", 0, GB),
            Tensor("output.weight", (9, 9), "F16", 0, 1),
        ],
        GB,
    )
    assert ({"Q4_K": GB / 4, "F16": 1}, {}) == read_bytes(mixture, 0)


@pytest.mark.parametrize(
    ("profile", "tokens"),
    [
        (machine("raspberry-pi-4"), 3.2 / 1.5),
        (machine("raspberry-pi-5"), 10 / 1.5),
        (machine("rk3588"), 10 / 1.5),
        (machine(cpu_name="Intel(R) N100"), 18 / 1.5),
    ],
    ids=["Pi 4", "Pi 5", "RK3588", "N100"],
)
def test_known_machines_have_a_speed(profile: HardwareProfile, tokens: float) -> None:
    """The speed says where the figure comes from."""
    speed = predict(header(), 0, profile)
    assert tokens == pytest.approx(speed.decode)
    assert (speed.source or "").startswith("known for")


def test_an_unknown_machine_is_estimated_carefully() -> None:
    """It counts as slower than a Raspberry Pi 5, and the source says that nobody measured it."""
    for profile in (machine(), HardwareProfile([], None, Memory(None, None, None))):
        speed = predict(header(), 0, profile)
        assert speed.decode
        assert speed.decode < 5
        assert (speed.source or "").startswith("estimated for")
    assert Speed() == predict(Header({}, [], 1), 0, machine())


def test_a_gpu_reads_at_a_share_of_its_peak() -> None:
    """An RTX 3060 generated 123 tok/s of a 3B model at Q4_K_M, 2.02 GB."""
    card = Gpu("nvidia", "NVIDIA GeForce RTX 3060", "cuda", 12 * GB)
    speed = predict(header(), -1, machine(), gpu=card)
    assert 1 / (1.5 / (360 * 0.84) + 0.0015) == pytest.approx(speed.decode)
    bandwidth = gpu_bandwidth(card, machine())
    assert bandwidth
    assert 123 == pytest.approx(1 / (2.02e9 / bandwidth.rate + bandwidth.overhead), rel=0.05)


@pytest.mark.parametrize(
    ("name", "family", "peak"),
    [
        ("NVIDIA GeForce RTX 3060", None, 360),
        ("NVIDIA GeForce RTX 3060 Laptop GPU", None, 336),
        ("NVIDIA GeForce RTX 4090", None, 1008),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", None, 672),
    ],
)
def test_cards_are_known_by_name(name: str, family: str | None, peak: int | None) -> None:
    """A mobile card has a figure of its own."""
    bandwidth = gpu_bandwidth(Gpu("nvidia", name, "cuda", 12 * GB), machine(family))
    assert peak == (bandwidth and pytest.approx(bandwidth.rate / 0.84 / GB))


@pytest.mark.parametrize(
    ("board", "peak"),
    [
        (Board("Mac14,3", (), "apple-m2"), 100),
        (Board("Mac17,5", (), "apple-a18-pro"), 60),
        (Board("Mac99,1", (), "apple-m9"), 68),
        (Board("Mac99,2", (), "apple-m9-ultra"), 600),
        (Board("NVIDIA Jetson Orin Nano Developer Kit", (), "jetson-orin-nano"), 68),
        (Board("NVIDIA Jetson Orin Nano Developer Kit Super", (), "jetson-orin-nano"), 102),
    ],
    ids=lambda value: value.model if isinstance(value, Board) else "",
)
def test_where_the_gpu_shares_the_ram_the_board_is_what_is_known(board: Board, peak: int | None) -> None:
    """The chip determines the bandwidth."""
    vendor = "apple" if board.model.startswith("Mac") else "nvidia"
    bandwidth = gpu_bandwidth(Gpu(vendor, "GPU", "metal", GB, shared=True), machine(board=board))
    share = 0.55 if vendor == "nvidia" else 0.75
    assert peak == (bandwidth and pytest.approx(bandwidth.rate / share / GB))


def test_a_jetson_is_as_fast_as_somebody_measured() -> None:
    """An Orin Nano Super at 25 W: 54 tok/s of a 1.2B, 0.73 GB, and 165 of a 135M, 0.1 GB."""
    board = Board("NVIDIA Jetson Orin Nano Developer Kit Super", (), "jetson-orin-nano")
    bandwidth = gpu_bandwidth(Gpu("nvidia", "Orin", "cuda", GB, shared=True), machine(board=board))
    assert bandwidth
    for size, measured in ((0.73e9, 54), (0.1e9, 165)):
        speed = 1 / (size / bandwidth.rate + bandwidth.overhead)
        assert 0.8 * measured < speed < 1.05 * measured


@pytest.mark.parametrize(
    ("name", "share"),
    [("", 1), (" MIG 1g.10gb", 1 / 8), (" MIG 3g.40gb", 3 / 8), (" MIG 7g.80gb", 7 / 8), (" MIG 99g.9gb", 1)],
)
def test_a_part_of_a_card_has_a_part_of_its_speed(name: str, share: float) -> None:
    whole = gpu_bandwidth(Gpu("nvidia", "NVIDIA H100 80GB HBM3", "cuda", 80 * GB), machine())
    part = gpu_bandwidth(Gpu("nvidia", f"NVIDIA H100 80GB HBM3{name}", "cuda", 10 * GB), machine())
    assert whole
    assert part
    assert part.rate == pytest.approx(whole.rate * share)


def test_amx_is_slow_with_k_quantizations() -> None:
    """R1 1.5B: Q4_0 with its output matrix at Q6_K is 1.75 times as fast as Q4_K_M."""
    amx = machine(cpu_name="Intel N150", cpus=[CpuClass([0, 1, 2, 3], None, None, None, ("avx2", "amx"))])
    plain = machine(cpu_name="Intel N150")
    slow, fast = predict(header(), 0, amx), predict(header(), 0, plain)
    assert slow.decode
    assert fast.decode
    assert 2 == pytest.approx(fast.decode / slow.decode)


def test_what_llama_cpp_was_not_built_for_is_not_used() -> None:
    """A build for an older CPU leaves AMX alone."""
    cpus = [CpuClass([0], None, None, None, ("avx2", "amx"))]
    assert {"avx2"} == instruction_sets(machine(cpus=cpus, llama=LlamaBuild("1", ("avx2", "fma"))))
    assert {"avx2", "amx"} == instruction_sets(machine(cpus=cpus))


MEASURED = Rates({"Q4_K": 5e9, "Q6_K": 10e9}, overhead=0.05, prefill=1e12)


def calibration(profile: HardwareProfile, **values: Any) -> Calibration:
    return Calibration(
        fingerprint(profile), "0.3.36", "2026-01-01T00:00:00+00:00", **{"cpu": MEASURED} | values
    )


def test_a_measurement_counts_more_than_what_is_known() -> None:
    """Each type has its rate: 1 GB / 5 + 0.5 GB / 10, plus 0.05 s."""
    profile = machine("raspberry-pi-5")
    speed = predict(header(), 0, profile, calibration(profile))
    assert 1 / 0.3 == pytest.approx(speed.decode)
    assert "measured on this machine" == speed.source


def test_a_type_that_was_not_measured_has_the_rate_of_the_rest() -> None:
    """Without a rate for the rest the measurement does not help."""
    profile = machine("raspberry-pi-5")
    only = Rates({"Q4_K": 5e9})
    assert "known for raspberry-pi-5" == predict(header(), 0, profile, calibration(profile, cpu=only)).source
    rest = Rates({"Q4_K": 5e9, "": 2e9})
    assert 1 / 0.45 == pytest.approx(predict(header(), 0, profile, calibration(profile, cpu=rest)).decode)


def test_prompts_are_read_as_fast_as_was_measured() -> None:
    """It is 1e12 weights per second for a model with a million in its layers."""
    profile = machine()
    assert 1e6 == predict(header(), 0, profile, calibration(profile)).prefill
    assert None is predict(header(), 0, machine("raspberry-pi-5")).prefill


def test_a_model_on_two_sides_takes_the_time_of_both() -> None:
    """One layer is in RAM, another layer and the output are on the GPU."""
    profile = machine()
    both = calibration(profile, gpu=Rates({"Q4_K": 50e9, "Q6_K": 50e9}))
    card = Gpu("nvidia", "Some card", "cuda", GB)
    speed = predict(header(), 2, profile, both, card)
    assert 1 / (0.5 / 5 + 0.05 + 1 / 50) == pytest.approx(speed.decode)


@pytest.mark.parametrize(
    ("tried", "best"), [({}, None), ({4: 10.0, 8: 9.0}, 4), ({2: 9.8, 4: 10.0}, 2), ({1: 5.0, 2: 9.0}, 2)]
)
def test_of_equally_fast_numbers_of_threads_the_smaller_is_best(tried: dict[int, float], best: int) -> None:
    """It leaves more CPU time to others."""
    assert best == calibration(machine(), threads=tried).best_threads


def built(profile: HardwareProfile, version: str = "0.3.36") -> HardwareProfile:
    return msgspec.structs.replace(profile, llama=LlamaBuild(version))


def test_a_measurement_is_kept(tmp_path: Path) -> None:
    """It is valid for this machine and this llama.cpp only."""
    profile = built(machine("raspberry-pi-5"))
    saved = calibration(profile, threads={4: 10.5})
    save(tmp_path / "store", saved)
    assert saved == load(tmp_path / "store", profile)
    assert None is load(tmp_path / "store", built(profile, "0.3.37"))
    assert None is load(tmp_path / "store", msgspec.structs.replace(profile, llama=None))
    assert None is load(tmp_path / "store", built(machine("raspberry-pi-5", cpu_quota=2.0)))
    assert [FILE] == [path.name for path in (tmp_path / "store").iterdir()]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"machine": 3}', "\x00"])
def test_a_broken_measurement_is_none(text: str, tmp_path: Path) -> None:
    """It is ignored, and can be measured again."""
    (tmp_path / FILE).write_text(text)
    assert None is load(tmp_path, built(machine()))
    assert None is load(tmp_path / "none", built(machine()))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ('"threads": {"-3": 5.0}', "$.threads"),
        ('"threads": {"4": -5.0}', "$.threads"),
        ('"threads": {"4": NaN}', "malformed"),
        ('"threads": {"4": 1e999}', "$.threads"),
        ('"cpu": {"decode": {"Q4_K": 1e40}}', "$.cpu.decode"),
        ('"cpu": {"decode": {"Q4_K": "fast"}}', "$.cpu.decode"),
        ('"gpu": {"decode": {}, "overhead": -1}', "$.gpu.overhead"),
        ('"gpu": {"decode": {}, "prefill": 0}', "$.gpu.prefill"),
        ('"other": ' + "[" * 100_000, "recursion"),
    ],
)
def test_absurd_figures_are_not_believed_and_named(
    change: str, field: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They would lead the plan astray, which multiplies and divides by them."""
    profile = built(machine())
    sound = f'"machine": "{fingerprint(profile)}", "llama": "0.3.36", "measured": ""'
    (tmp_path / FILE).write_text(f"{{{sound}}}")
    assert load(tmp_path, profile) is not None
    (tmp_path / FILE).write_text(f"{{{sound}, {change}}}")
    for _ in range(2):
        assert load(tmp_path, profile) is None
    assert caplog.text.count("is not used, as it is damaged") == 1
    assert field in caplog.text


def test_free_memory_is_no_mark_of_a_machine() -> None:
    """It varies, and the kernel's own share of the total varies slightly."""
    one = machine()
    later = msgspec.structs.replace(one, memory=Memory(4 * GB + 10_000_000, GB, None))
    assert fingerprint(one) == fingerprint(later)
    assert fingerprint(one) != fingerprint(machine(board=Board("Another board")))


def test_nothing_is_known_of_most_cpus() -> None:
    """Only a few families are known."""
    for profile in (machine("jetson-orin-nano"), machine(cpu_name="AMD EPYC")):
        assert cpu_bandwidth(profile).source.startswith("estimated for")
