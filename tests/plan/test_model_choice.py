"""The choice of model and quantization."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgeinfer.errors import DoesNotFit, ModelNotFound
from edgeinfer.gguf.header import Header
from edgeinfer.hardware import HardwareProfile, Storage
from edgeinfer.hardware.board import Board
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.hardware.memory import Memory
from edgeinfer.plan import ModelChoice, ModelOption, choose
from edgeinfer.plan.available_options import FLAGSHIP, model_options, quant_name
from edgeinfer.plan.calibration import Calibration, Rates
from edgeinfer.plan.model_option import QUALITY
from edgeinfer.settings import Settings
from edgeinfer.store.catalogue import catalogue
from tests.support.machines import CARD, GB, R1, machine, offer

SMALL = "qwen3-0.6b"
NANO = "edgeinfer-nano"
ALL = ("Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16")


def offered(*quants: str) -> list[ModelOption]:
    return [offer(R1, quant) for quant in quants or ALL]


def chosen(
    profile: HardwareProfile, candidates: list[ModelOption] | None = None, **options: Any
) -> ModelChoice:
    calibration = options.pop("calibration", None)
    names = {name: options.pop(name, None) for name in ("model", "quant")}
    return choose(profile, candidates or offered(), Settings(**options), calibration, **names)


def measured(rate: float, **others: float) -> Calibration:
    """A calibration of the CPU with so many GB/s of each type."""
    rates = {"": rate} | others
    return Calibration("", "", "", cpu=Rates({kind: rate * GB for kind, rate in rates.items()}))


@pytest.mark.parametrize(
    ("rate", "quant"),
    [(10, "Q4_K_M"), (48, "Q4_K_M"), (54, "Q4_K_M"), (60, "Q5_K_M"), (90, "Q8_0"), (200, "F16")],
)
def test_speed_beyond_fifty_tokens_a_second_is_spent_on_quality(rate: float, quant: str) -> None:
    """Below 50 tokens per second, speed comes first."""
    choice = chosen(machine(), calibration=measured(rate))
    assert quant == choice.option.quant
    assert any(why.startswith(f"quant {quant}: ") for why in choice.reasons)


def test_the_best_that_is_fast_must_fit() -> None:
    """F16 would be fast enough, but takes 3.6 GB."""
    choice = chosen(machine(4.0), calibration=measured(200))
    assert "Q8_0" == choice.option.quant
    assert ["does not fit"] == [c.rejection for c in choice.others if c.option.quant == "F16"]


def test_where_the_speed_is_not_known_four_bits_will_do() -> None:
    """An estimate is too careful to spend on quality."""
    choice = chosen(machine())
    assert "Q4_K_M" == choice.option.quant
    assert "estimated for 4 Cortex-A76" == choice.plan.speed.source


@pytest.mark.parametrize(
    ("quants", "quant"),
    [
        (("Q4_0", "Q8_0"), "Q4_0"),
        (("Q5_K_M", "Q8_0"), "Q5_K_M"),
        (("Q8_0", "F16"), "Q8_0"),
        (("Q3_K_M", "Q5_K_M"), "Q5_K_M"),
        (("Q3_K_M",), "Q3_K_M"),
    ],
)
def test_of_what_is_offered_the_nearest_to_four_bits_is_taken(quants: tuple[str, ...], quant: str) -> None:
    """Three bits are chosen only if there is nothing else."""
    assert quant == chosen(machine(), offered(*quants)).option.quant


def test_on_amx_q4_0_is_taken() -> None:
    """No measurement is needed, as the relative speed of the types is known."""
    choice = chosen(machine(isa="avx2 avx512 vnni amx"))
    assert "Q4_0" == choice.option.quant
    assert "1.7 times as fast" in choice.reasons[-1]
    assert "Q4_K_M" == chosen(machine(isa="avx2 avx512 vnni")).option.quant


def test_a_measurement_decides_between_equals() -> None:
    """On any CPU, a quantization wins if it is much faster, but not if it is a little faster."""
    assert "Q4_0" == chosen(machine(), calibration=measured(10, Q4_0=16, Q6_K=16)).option.quant
    assert "Q4_K_M" == chosen(machine(), calibration=measured(10, Q4_0=11)).option.quant
    amx = machine(isa="avx2 avx512 vnni amx")
    assert "Q4_K_M" == chosen(amx, calibration=measured(10)).option.quant


def test_a_card_takes_f16() -> None:
    """All layers go on the card."""
    rtx = Gpu("nvidia", "NVIDIA GeForce RTX 3060", "cuda", 12 * GB, 12 * GB, driver="580.1")
    choice = chosen(machine(14, rtx))
    assert ("F16", -1) == (choice.option.quant, choice.plan.llama.gpu_layers)


def test_a_whole_model_on_a_card_is_better_than_half_of_a_larger_file() -> None:
    """Half of F16 would be in RAM, and its speed low or unknown."""
    rtx = Gpu("nvidia", "NVIDIA GeForce RTX 3060", "cuda", 3 * GB, 3 * GB, driver="580.1")
    choice = chosen(machine(14, rtx))
    assert -1 == choice.plan.llama.gpu_layers
    assert "Q8_0" == choice.option.quant
    assert choice.plan.memory.gpu < 2.5 * GB


def test_an_unknown_card_gets_four_bits() -> None:
    """It counts as the slowest card of its size, which has room for five bits at most."""
    choice = chosen(machine(14, msgspec.structs.replace(CARD, memory=8 * GB, available=8 * GB)))
    assert ("Q4_K_M", -1) == (choice.option.quant, choice.plan.llama.gpu_layers)


TWO = [*(offer(R1, quant) for quant in ALL), offer(SMALL, "Q4_0"), offer(SMALL, "Q8_0")]


def test_what_does_not_fit_gives_way_to_a_smaller_model() -> None:
    """The reason has the numbers."""
    choice = chosen(machine(2.4), TWO)
    assert (SMALL, "Q4_0") == (choice.option.model, choice.option.quant)
    assert choice.reasons[0].startswith(f"model {SMALL}: {R1} needs 1,")


def test_what_is_slower_than_one_reads_gives_way_too() -> None:
    """On a Pi 4 the flagship generates 3 tok/s."""
    choice = chosen(machine(14, board=Board("A board", (), "raspberry-pi-4")), TWO)
    assert SMALL == choice.option.model
    assert "below reading speed" in choice.reasons[0]


def test_if_all_are_slow_the_fastest_is_taken() -> None:
    """The plan warns about the speed."""
    choice = chosen(machine(14, board=Board("A board", (), "rk3566")), TWO)
    assert (SMALL, "Q4_0") == (choice.option.model, choice.option.quant)
    assert any(why.startswith("speed low: ") for why in choice.reasons)


def test_a_model_that_is_asked_for_may_be_slow() -> None:
    """A model that the user names is not replaced."""
    choice = chosen(machine(14, board=Board("A board", (), "raspberry-pi-4")), TWO, model=R1)
    assert (R1, "Q4_K_M") == (choice.option.model, choice.option.quant)
    assert any(why.startswith("speed low: ") for why in choice.reasons)


def test_a_quantization_that_is_asked_for_is_taken() -> None:
    """Its name is not case-sensitive."""
    assert "Q6_K" == chosen(machine(), quant="q6_k").option.quant


@pytest.mark.parametrize("names", [{"model": R1}, {"model": R1, "quant": "F16"}])
def test_what_is_asked_for_and_does_not_fit_is_refused(names: dict[str, str]) -> None:
    """The error has the numbers and says what would fit; --force overrides it."""
    with pytest.raises(DoesNotFit) as error:
        chosen(machine(2.4), TWO, **names)
    assert "can be used" in error.value.message
    assert f"{SMALL}:Q4_0" in (error.value.hint or "")
    assert "--force" in (error.value.hint or "")
    forced = chosen(machine(2.4), TWO, force=True, **names)
    assert (R1, False) == (forced.option.model, forced.plan.fits)


def test_nothing_fits() -> None:
    """The error has the numbers of the smallest option."""
    with pytest.raises(DoesNotFit) as error:
        chosen(machine(0.1), TWO)
    assert error.value.message.startswith(f"{SMALL}:Q4_0 needs ")
    assert "no available option" in (error.value.hint or "")


def test_what_is_not_offered_is_told() -> None:
    """The error names the available options."""
    with pytest.raises(ModelNotFound) as error:
        chosen(machine(), TWO, quant="Q2_K")
    assert "Q2_K" in error.value.message
    assert f"{SMALL}:Q8_0" in (error.value.hint or "")
    with pytest.raises(ModelNotFound):
        choose(machine(), [], Settings())


def test_where_the_memory_is_not_known_all_fits() -> None:
    """Nothing is known not to fit."""
    choice = chosen(machine(memory=Memory(None, None, None)), TWO)
    assert (R1, None) == (choice.option.model, choice.plan.fits)


def test_the_others_say_why_they_were_not_taken() -> None:
    """Every option that was not chosen has a reason."""
    choice = chosen(machine(2.9), TWO)
    assert {"Q4_0": "lower quality", "Q5_K_M": "slower", "F16": "does not fit"}.items() <= {
        c.option.quant: c.rejection for c in choice.others if c.option.model == R1
    }.items()
    assert len(TWO) - 1 == len(choice.others)
    assert all(c.rejection for c in choice.others)


def test_the_offers_are_the_flagship_then_smaller_ones_then_the_bundled_one() -> None:
    """All their quantizations in the catalogue are options."""
    names = list(dict.fromkeys(o.model for o in model_options()))
    assert FLAGSHIP == names[0]
    assert NANO == names[-1]
    assert catalogue()[FLAGSHIP].smaller == names[1]
    published = {file.quant for file in catalogue()[FLAGSHIP].files} | {"BF16"}  # the last one in safetensors
    assert published == {o.quant for o in model_options() if o.model == FLAGSHIP}
    assert [True] == [o.bundled for o in model_options() if o.path]


def test_offers_of_a_model_begin_with_it() -> None:
    """Aliases work as well."""
    assert "qwen3-1.7b" == model_options("QWEN3-1.7B")[0].model
    assert FLAGSHIP == model_options("r1-1.5b")[0].model
    assert [NANO] == [o.model for o in model_options(NANO)]
    with pytest.raises(ModelNotFound):
        model_options("no-such-model")


def test_every_quantization_of_the_catalogue_has_its_rank() -> None:
    """Without a rank it could not be chosen."""
    quants = {file.quant for spec in catalogue().values() for file in spec.files}
    assert set() == quants - set(QUALITY)


def test_the_bundled_model_is_taken_where_nothing_else_fits() -> None:
    """That is so with a Pi Zero's memory, but not with a Pi 4's."""
    assert (
        NANO == chosen(machine(0.3, memory=Memory(GB // 2, GB * 3 // 10, None)), model_options()).option.model
    )
    slow = machine(14, board=Board("A board", (), "rk3566"))
    assert SMALL == chosen(slow, model_options()).option.model


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (Header({"general.file_type": 15}, [], 1), "Q4_K_M"),
        (Header({"general.file_type": True}, [], 1), ""),
        (Header({}, [], 1), ""),
    ],
)
def test_a_file_without_a_name_for_it_has_a_quantization_all_the_same(header: Header, name: str) -> None:
    """The header names it, or else the type of most weights."""
    assert name == quant_name(header)


def test_most_tensors_name_a_quantization(model_file: Path) -> None:
    """The type of most weights counts if the header names none."""
    assert "Q6_K" == quant_name(Header({}, offer(R1, "Q6_K").header.tensors, 1))


def disk(free: int | None) -> HardwareProfile:
    return machine(storage=Storage("sd", free))


def test_a_file_must_fit_on_the_disk() -> None:
    """The next smaller model is taken, and the reason has the numbers."""
    choice = chosen(disk(600 * 10**6), TWO)
    assert (SMALL, "Q4_0") == (choice.option.model, choice.option.quant)
    assert "on the disk, only 600 MB are free" in choice.reasons[0]
    assert {"does not fit on the disk"} == {c.rejection for c in choice.others if c.option.model == R1}
    for enough in (disk(20 * GB), disk(None)):
        assert R1 == chosen(enough, TWO).option.model


def test_a_full_disk_has_room_for_what_is_installed() -> None:
    """Nothing is downloaded."""
    installed = [msgspec.structs.replace(option, path="/r1.gguf") for option in offered("Q4_K_M")]
    assert R1 == chosen(disk(0), installed).option.model
    with pytest.raises(DoesNotFit) as error:
        chosen(disk(0), TWO)
    assert "EDGEINFER_STORE" in (error.value.hint or "")
