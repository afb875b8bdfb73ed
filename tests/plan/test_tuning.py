"""What was measured with a model is planned, as long as it was measured with a plan like this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeinfer.hardware import detect
from edgeinfer.plan import plan_model
from edgeinfer.plan.calibration import FILE, Calibration, fingerprint, load, save
from edgeinfer.plan.plan import Plan
from edgeinfer.plan.tuning import Speeds, Tuning, model_key
from edgeinfer.settings import Settings
from tests.support.machines import machine, r1

PLANNED, TUNED = Speeds(100, 20, 60, 30), Speeds(120, 20.5, 61, 30)


def tuning(**changes: Any) -> Tuning:
    values = {"parallel": 8, "gpu_layers": 0, "determinism": "none", **changes}
    return Tuning("2026-01-01T00:00:00+00:00", planned=PLANNED, tuned=TUNED, tried=6, **values)


def plan(found: Tuning | None, **settings: Any) -> Plan:
    model = r1()
    models = {model_key(model.path, model.header): found} if found else {}
    calibration = Calibration(fingerprint(machine()), "", "", models=models)
    return plan_model(model, machine(), Settings(ctx=4096, **settings), calibration)


def test_the_fastest_settings_are_planned_and_the_plan_says_what_they_gain() -> None:
    assert plan(None).llama.ubatch == 128
    tuned = plan(tuning(ubatch=256))
    assert tuned.llama.ubatch == 256
    (reason,) = (reason for reason in tuned.reasons if reason.startswith("ubatch"))
    assert reason == (
        "ubatch 256: measured with this model, which computes a prompt 1.20 times, one answer 1.02 times, 8 answers 1.02 "
        "times, a predicted answer 1.00 times as fast as with the plan's own choice"
    )


def test_each_setting_has_its_reason() -> None:
    reasons = plan(tuning(flash_attention=True, ubatch=256)).reasons
    assert [True, True] == [
        any(r.startswith(s) for r in reasons)
        for s in ("flash_attention on: measured", "ubatch 256: measured")
    ]


@pytest.mark.parametrize(
    "settings",
    [
        *({"ubatch": 64}, {"threads": 2}, {"kv_type": "q8_0"}, {"layout": "unified"}, {"max_draft": 3}),
        {"deterministic": True},
    ],
    ids=str,
)
def test_a_setting_that_is_given_stands_and_nothing_measured_without_it_is_used(
    settings: dict[str, Any],
) -> None:
    assert plan(tuning(ubatch=512), **settings) == plan(None, **settings)


@pytest.mark.parametrize("other", [{"gpu_layers": -1}, {"determinism": "by_row"}], ids=str)
def test_what_was_measured_with_another_kind_of_plan_is_not_used(other: dict[str, Any]) -> None:
    assert plan(tuning(ubatch=512, **other)) == plan(None)


@pytest.mark.parametrize("available", [2.72, 2.66])
def test_settings_for_which_there_is_too_little_memory_now_are_not_used(available: float) -> None:
    """With 2.66 GB these streams do not fit, and with a little more there is room for one answer instead of two."""
    model, small = r1(), machine(available)
    models = {model_key(model.path, model.header): tuning(layout="streams", parallel=8)}
    calibration = Calibration(fingerprint(small), "", "", models=models)
    assert plan_model(model, small, Settings(), calibration).fits
    assert plan_model(model, small, Settings(), calibration) == plan_model(model, small, Settings())


def test_it_is_kept_with_the_machine(tmp_path: Path) -> None:
    """And as little believed as the rest of the file."""
    profile = detect()
    assert profile.llama
    kept = Calibration(
        fingerprint(profile), profile.llama.version, "", models={"m.gguf 1": tuning(threads=2)}
    )
    save(tmp_path, kept)
    assert load(tmp_path, profile) == kept
    file = tmp_path / FILE
    file.write_text(file.read_text().replace('"threads": 2', '"threads": -2'))
    assert load(tmp_path, profile) is None
