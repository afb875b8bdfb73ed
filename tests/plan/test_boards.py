"""What is chosen for each recorded machine; tests/test_board_pages.py has the pages that say so."""

from __future__ import annotations

from typing import Any

import pytest

from edgeinfer.hardware import detect
from edgeinfer.plan import ModelChoice, choose
from edgeinfer.plan.available_options import model_options
from edgeinfer.settings import Settings
from tests.support.paths import TREES

RECORDS = sorted(path.name for path in TREES.iterdir() if path.is_dir())

OFFERS = model_options()


def choice_for(record: str) -> ModelChoice:
    return choose(detect(TREES / record), OFFERS, Settings())


@pytest.mark.parametrize("record", RECORDS)
def test_what_is_chosen_fits(record: str) -> None:
    """Each choice leaves memory to the system, and has its reasons."""
    plan = choice_for(record).plan
    assert plan.fits
    assert plan.memory.needed <= (plan.budget.ram or 0)
    assert plan.memory.gpu <= (plan.budget.gpu or 0)
    assert all(": " in why for why in plan.reasons)


R1 = "deepseek-r1-distill-qwen-1.5b"
SMALL = "qwen3-0.6b"


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        ("orange-pi-5-8gb", {"model": R1, "quant": "Q4_K_M", "threads": 4, "cpus": (4, 5, 6, 7)}),
        ("rock-5b-16gb", {"model": R1, "quant": "Q4_K_M", "threads": 4, "cpus": (4, 5, 6, 7)}),
        ("pi5-4gb", {"model": R1, "quant": "Q4_K_M", "threads": 4, "cpus": ()}),
        ("pi4-2gb", {"model": "qwen3-0.6b", "threads": 4}),
        ("rtx-3060-desktop", {"model": R1, "quant": "F16", "gpu_layers": -1}),
        ("rtx-3060-laptop-6gb", {"model": R1, "quant": "F16", "gpu_layers": -1}),
        ("a18-pro-macbook-8gb", {"model": R1, "quant": "Q4_K_M", "gpu_layers": -1}),
        ("amx-server", {"model": R1, "quant": "Q4_0", "gpu_layers": 0}),
        ("intel-hybrid-laptop", {"model": R1, "quant": "Q4_K_M"}),
        ("pi-zero-2", {"model": "edgeinfer-nano"}),
        ("orangepi-zero3-4gb", {"model": SMALL, "quant": "Q4_0"}),
        ("rtx-2060-6gb", {"model": R1, "quant": "F16", "gpu_layers": -1}),
        ("rtx-4070-laptop-8gb", {"model": R1, "quant": "F16", "gpu_layers": -1}),
        ("strix-halo-128gb", {"model": R1, "quant": "F16", "gpu_layers": -1}),
        ("jetson-nano-4gb", {"model": SMALL, "quant": "Q4_0", "gpu_layers": 0}),
        ("docker-pi4-4gb", {"model": SMALL, "quant": "Q4_0", "threads": 4}),
        ("docker-cgroup1-j4125-2gb", {"model": SMALL, "quant": "Q4_0", "threads": 2}),
        ("incus-lxc-cfs-4of16", {"model": R1, "threads": 4, "cpus": ()}),
    ],
)
def test_a_specialist_would_choose_the_same(record: str, wanted: dict[str, Any]) -> None:
    """These choices are promised for these machines, apart from the table."""
    choice = choice_for(record)
    has = {"model": choice.option.model, "quant": choice.option.quant}
    assert wanted == {
        name: has[name] if name in has else getattr(choice.plan.config, name) for name in wanted
    }


def test_a_laptop_card_is_not_as_fast_as_the_desktop_card_of_its_name() -> None:
    """An RTX 4070 of a laptop reads half as fast."""
    speed = choice_for("rtx-4070-laptop-8gb").plan.speed.decode
    assert speed
    assert 55 < speed < 68


def test_a_hybrid_processor_computes_on_its_fast_cores() -> None:
    """Threads on slow cores would delay the others."""
    profile = detect(TREES / "intel-hybrid-laptop")
    config = choice_for("intel-hybrid-laptop").plan.llama
    assert tuple(sorted(profile.cpus[0].cpus)) == config.cpus
    assert len(profile.cpus) > 1
