"""Configurations that fit: GPUs, small memories, and refusals."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from edgeinfer.errors import DoesNotFit
from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.cpu import CpuClass
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.hardware.llama_build import LlamaBuild
from edgeinfer.hardware.memory import Memory
from edgeinfer.hardware.system import System
from edgeinfer.plan import Plan, plan_model
from edgeinfer.plan.calibration import Calibration
from edgeinfer.plan.threads import choose_threads, cpu_list
from edgeinfer.settings import Settings
from edgeinfer.store.catalogue import catalogue
from edgeinfer.store.lookup import LocalModel
from edgeinfer.store.predicted_header import predicted_header
from tests.support.machines import CARD, GB, INTEL, MALI, METAL, VIDEOCORE, machine, r1


def planned(profile: HardwareProfile, quant: str = "Q4_K_M", **settings: Any) -> Plan:
    return plan_model(r1(quant), profile, Settings(**{"ctx": 4096, **settings}))


def reason(plan: Plan, setting: str) -> str:
    return next((why for why in plan.reasons if why.startswith(f"{setting} ")), "")


def test_as_memory_gets_less_answers_are_given_up_then_streams_then_exactness() -> None:
    """The context is never given up."""
    plans = [planned(machine(gb)) for gb in (14, 4.0, 3.0, 2.8, 2.72, 2.66)]
    assert [
        ("streams", 8, "f16"),
        ("streams", 4, "f16"),
        ("streams", 2, "f16"),
        ("streams", 1, "f16"),
        ("unified", 2, "f16"),
        ("unified", 2, "q8_0"),
    ] == [(p.llama.layout, p.llama.parallel, p.llama.kv_type) for p in plans]
    assert {4096} == {p.config.ctx for p in plans}
    assert all(p.fits and p.memory.needed <= (p.budget.ram or 0) for p in plans)


def test_a_reason_says_what_was_given_up() -> None:
    """The reasons have the numbers."""
    plan = planned(machine(2.72))
    assert "one pool takes 117 MB" in reason(plan, "layout")
    assert "up to 117 MB" in reason(plan, "parallel")


def test_what_does_not_fit_is_said_and_planned_all_the_same() -> None:
    """More memory may be available later, so the user decides."""
    plan = planned(machine(1.5))
    assert False is plan.fits
    assert "are needed" in reason(plan, "memory")
    assert ("unified", "q8_0") == (plan.llama.layout, plan.llama.kv_type)


def test_of_an_unknown_memory_nothing_is_said() -> None:
    """If the memory is unknown, the best configuration is planned."""
    plan = planned(machine(memory=Memory(None, None, None)))
    assert None is plan.fits
    assert ("streams", 8) == (plan.llama.layout, plan.llama.parallel)


def test_copies_of_weights_are_read_and_not_mapped() -> None:
    """A mapped file would stay in memory alongside the copies."""
    assert False is planned(machine()).llama.mmap
    assert reason(planned(machine()), "mmap")
    assert True is planned(machine(isa="neon")).llama.mmap


def test_the_copies_are_given_up_last() -> None:
    """A Q8_0 whose embedding is the output matrix has a copy of it on ARM."""
    tied = LocalModel("llama", "/l.gguf", predicted_header(catalogue()["llama-3.2-1b"], "Q8_0"))
    needed = plan_model(tied, machine(), Settings(layout="unified", kv_type="q8_0", cells=4096)).memory.needed
    tight = machine((needed - 10**8 + 1024**3) / GB)
    plan = plan_model(tied, tight, Settings())
    assert (False, True, True) == (plan.llama.repack, plan.llama.mmap, plan.fits)
    assert reason(plan, "repack")


@pytest.mark.parametrize(
    "setting", [{"ctx": 131072, "parallel": 8}, {"parallel": 256}, {"kv_type": "f32", "parallel": 128}]
)
def test_more_than_the_machine_has_is_refused(setting: dict[str, Any]) -> None:
    """The error has the numbers and says what to do; --force overrides it."""
    settings = {"layout": "streams"} | setting
    with pytest.raises(DoesNotFit) as error:
        planned(machine(), **settings)
    assert "there are 16000" in error.value.message
    assert "--force" in (error.value.hint or "")
    assert False is planned(machine(), force=True, **settings).fits


def test_a_model_named_by_hand_that_is_too_large_is_refused() -> None:
    """Loading it would fail."""
    small = machine(0.5, memory=Memory(GB, GB // 2, None))
    with pytest.raises(DoesNotFit) as error:
        planned(small, model="/r1.gguf", ctx=None)
    assert "model" == error.value.param
    assert "smaller model" in (error.value.hint or "")
    assert False is planned(small, ctx=None).fits


def test_what_was_asked_for_beside_the_model_is_to_blame_first() -> None:
    """The error names a context that is too long before it names the model."""
    with pytest.raises(DoesNotFit) as error:
        planned(machine(), model="/r1.gguf", ctx=131072, parallel=8, layout="streams")
    assert "ctx" == error.value.param
    assert "--ctx" in (error.value.hint or "")


def test_a_model_goes_on_a_card_as_a_whole() -> None:
    """The card holds the KV cache too, in one pool."""
    plan = planned(machine(14, CARD), "F16")
    assert (-1, "unified", True, 512) == (
        plan.llama.gpu_layers,
        plan.llama.layout,
        plan.llama.flash_attention,
        plan.llama.ubatch,
    )
    assert 0 == plan.memory.kv
    assert "the whole model" in reason(plan, "gpu_layers")


def card(gb: float) -> Gpu:
    return Gpu("nvidia", "NVIDIA GeForce RTX 3060", "cuda", round(gb * GB), round(gb * GB), driver="580.1")


def test_a_part_goes_on_a_card_that_is_too_small() -> None:
    """The card takes part of the layers if that is at least half of them."""
    part = planned(machine(14, card(3.0)), "F16")
    assert 14 < part.llama.gpu_layers <= 28
    assert part.memory.gpu <= (part.budget.gpu or 0)
    none = planned(machine(14, card(1.5)), "F16")
    assert 0 == none.llama.gpu_layers
    assert "too little" in reason(none, "gpu_layers")


def test_where_nothing_fits_the_card_is_not_overfilled() -> None:
    """Loading would fail on the card, while RAM may become free."""
    plan = planned(machine(0.2, card(2.0)), "F16")
    assert False is plan.fits
    assert plan.memory.gpu <= (plan.budget.gpu or 0)


def test_a_card_leaves_something_to_the_desktop() -> None:
    """The desktop keeps half a GB."""
    plan = planned(machine(14, CARD))
    assert 12 * GB - 512 * 1024**2 == plan.budget.gpu


def test_what_others_use_of_a_card_is_not_ours() -> None:
    """Only the card's free memory can be used."""
    busy = Gpu("nvidia", "Some card", "cuda", 12 * GB, 1 * GB, driver="580.1")
    assert 0 == planned(machine(14, busy), "F16").llama.gpu_layers


def test_memory_that_is_shared_counts_once() -> None:
    """On a Mac or a Jetson the GPU's memory is the RAM."""
    plan = planned(machine(14, METAL), "F16")
    assert -1 == plan.llama.gpu_layers
    assert plan.memory.needed > plan.memory.gpu
    assert 0 == planned(machine(3.0, METAL), "F16").llama.gpu_layers


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        (MALI, "slower than the CPU"),
        (VIDEOCORE, "slower than the CPU"),
        (INTEL, "same memory as the CPU"),
        (Gpu("nvidia", "NVIDIA GPU", None), "its driver is missing"),
        (Gpu("nvidia", "NVIDIA GPU", "cuda"), "memory size"),
    ],
    ids=lambda value: value.name if isinstance(value, Gpu) else "",
)
def test_some_gpus_are_of_no_use(gpu: Gpu, words: str) -> None:
    """The plan says why a GPU is not used."""
    plan = planned(machine(14, gpu))
    assert 0 == plan.llama.gpu_layers
    assert words in reason(plan, "gpu_layers")


def test_a_gpu_is_idle_if_llama_cpp_was_built_without_it() -> None:
    """The reason says how to change that."""
    without = machine(14, CARD, llama=LlamaBuild("0.3.36", ("neon", "dotprod")))
    plan = planned(without)
    assert 0 == plan.llama.gpu_layers
    assert "built without cuda" in reason(plan, "gpu_layers")
    assert "scripts/setup" in reason(plan, "gpu_layers")
    built = machine(14, CARD, llama=LlamaBuild("0.3.36", ("neon", "dotprod"), ("cuda",)))
    assert -1 == planned(built).llama.gpu_layers


def test_the_second_gpu_is_taken_if_the_first_is_of_no_use() -> None:
    """GPUs are tried in the order of the profile."""
    assert -1 == planned(machine(14, INTEL, CARD)).llama.gpu_layers


def test_layers_placed_by_hand_are_placed() -> None:
    """The settings may choose a GPU that the plan would not use, or none."""
    assert 20 == planned(machine(14, INTEL), gpu_layers=20).llama.gpu_layers
    assert 0 == planned(machine(14, CARD), gpu_layers=0).llama.gpu_layers
    assert "" == reason(planned(machine(14, CARD), gpu_layers=0), "gpu_layers")


def test_layers_placed_by_hand_that_do_not_fit_are_refused() -> None:
    """The error has the numbers."""
    with pytest.raises(DoesNotFit) as error:
        planned(machine(14, card(2)), "F16", gpu_layers=-1)
    assert "gpu_layers" == error.value.param
    assert "of GPU memory" in error.value.message
    assert -1 == planned(machine(14, card(2)), "F16", gpu_layers=-1, force=True).llama.gpu_layers


BIG_LITTLE = [CpuClass([4, 5, 6, 7], 1024, 2400), CpuClass([0, 1, 2, 3], 530, 1800)]


def test_threads_keep_to_the_fast_cores_where_there_are_slow_ones() -> None:
    """On an RK3588 these are CPUs 4-7."""
    plan = planned(machine(cpus=BIG_LITTLE))
    assert (4, (4, 5, 6, 7)) == (plan.llama.threads, plan.llama.cpus)
    assert reason(plan, "cpus").startswith("cpus 4-7: ")


def test_threads_are_not_pinned_where_all_cores_are_alike() -> None:
    """The operating system knows better which core is free."""
    assert () == planned(machine()).llama.cpus


@pytest.mark.parametrize(("wanted", "cpus"), [(2, (4, 5, 6, 7)), (4, (4, 5, 6, 7)), (6, ()), (8, ())])
def test_more_threads_than_fast_cores_are_not_pinned(wanted: int, cpus: tuple[int, ...]) -> None:
    """They would have to share the fast cores."""
    plan = planned(machine(cpus=BIG_LITTLE), threads=wanted)
    assert (wanted, cpus) == (plan.llama.threads, plan.llama.cpus)


def test_macos_places_threads_itself() -> None:
    """macOS has no way to pin threads."""
    plan = planned(machine(cpus=BIG_LITTLE, system=System(os="darwin")))
    assert (4, ()) == (plan.llama.threads, plan.llama.cpus)


def test_the_measured_number_of_threads_is_taken() -> None:
    """The reason has the measured figures."""
    measured = Calibration("", "", "", threads={2: 9.0, 4: 7.0})
    threads = choose_threads(machine(), r1().header, measured)
    assert 2 == threads.count
    assert "2: 9.0, 4: 7.0 tok/s" in threads.reason


@pytest.mark.parametrize(
    ("cpus", "text"), [((4, 5, 6, 7), "4-7"), ((0, 2, 4), "0,2,4"), ((0, 1, 5), "0-1,5")]
)
def test_cpus_are_spelled_as_taskset_does(cpus: tuple[int, ...], text: str) -> None:
    """Runs of CPUs are abbreviated."""
    assert text == cpu_list(cpus)


def cards(*sizes: float, name: str = "NVIDIA GeForce RTX 3060") -> list[Gpu]:
    """Cards with so many GB, as llama.cpp numbers them."""
    return [
        Gpu("nvidia", name, "cuda", round(gb * GB), round(gb * GB), driver="580.1", index=index)
        for index, gb in enumerate(sizes)
    ]


def test_of_several_cards_one_takes_what_fits_on_it() -> None:
    """llama.cpp would spread it over all of them, where it is no faster."""
    plan = planned(machine(14, *reversed(cards(8, 12))))
    assert (-1, 1) == (plan.llama.gpu_layers, plan.llama.main_gpu)
    assert "RTX 3060" in reason(plan, "gpu_layers")


def test_of_several_cards_the_fastest_is_preferred() -> None:
    """A larger one takes what does not fit on it."""
    fast = replace(cards(4)[0], name="NVIDIA GeForce RTX 4090")
    slow = replace(cards(12, 12)[1], name="NVIDIA GeForce RTX 3060")
    small, large = (
        planned(machine(14, slow, fast)),
        planned(machine(14, slow, fast), "F16", ctx=8192, parallel=8),
    )
    assert (-1, 0) == (small.llama.gpu_layers, small.llama.main_gpu)
    assert (-1, 1) == (large.llama.gpu_layers, large.llama.main_gpu)


def test_what_fits_on_no_card_is_spread_over_all() -> None:
    """Each of them has buffers of its own."""
    alone = planned(machine(14, *cards(3)), "F16")
    assert 0 <= alone.llama.gpu_layers
    plan = planned(machine(14, *cards(3, 3)), "F16")
    assert (-1, None) == (plan.llama.gpu_layers, plan.llama.main_gpu)
    assert "2 cards" in reason(plan, "gpu_layers")
    assert plan.memory.gpu <= (plan.budget.gpu or 0) <= 6 * GB - 2 * 512 * 1024**2
    assert plan.fits


def test_a_card_that_is_of_no_use_takes_no_part() -> None:
    """A Kepler is found by CUDA 11, and would be given layers."""
    old = cards(3, 3, name="Tesla K80")[1]
    old = replace(old, compute_capability="3.7")
    plan = planned(machine(14, *cards(3), old), "F16")
    assert 0 == plan.llama.main_gpu
    assert 0 <= plan.llama.gpu_layers


def test_a_single_card_is_left_to_llama_cpp() -> None:
    """There is nothing to choose."""
    assert None is planned(machine(14, CARD)).llama.main_gpu


def test_layers_by_hand_may_be_spread_too() -> None:
    """A model that is too large for one card is not refused if two hold it."""
    plan = planned(machine(14, *cards(3, 3)), "F16", gpu_layers=-1)
    assert (None, True) == (plan.llama.main_gpu, plan.fits)
