"""Other settings than the plan's are tried, and kept only if they are faster and promise as much."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.bench import tune as tuning
from edgeinfer.bench.tune import tune
from edgeinfer.errors import ModelLoadFailed
from edgeinfer.hardware import detect
from edgeinfer.plan import plan_model
from edgeinfer.plan.calibration import Calibration, Rates, fingerprint, load, save
from edgeinfer.plan.tuning import Speeds, Tuning
from edgeinfer.settings import Settings
from edgeinfer.store.lookup import find_model
from tests.support.cli import run
from tests.support.machines import machine, r1

SLOW, FAST = Speeds(100, 20, 60, 30), Speeds(110, 22, 66, 33)

Measured = Callable[[LlamaConfig], Speeds]


@pytest.fixture
def tried() -> list[LlamaConfig]:
    return []


async def tuned(
    monkeypatch: pytest.MonkeyPatch, tried: list[LlamaConfig], speeds: Measured, max_seconds: float = 60
) -> Tuning:
    """Tune a model for a laptop whose speeds are known."""

    async def measured(config: LlamaConfig) -> Speeds:
        tried.append(config)
        return speeds(config)

    monkeypatch.setattr(tuning, "_speeds", measured)
    return await tune(r1(), machine(), Settings(ctx=4096), None, max_seconds=max_seconds)


async def test_what_is_faster_is_kept_and_the_next_setting_is_tried_on_top_of_it(
    monkeypatch: pytest.MonkeyPatch, tried: list[LlamaConfig]
) -> None:
    found = await tuned(
        monkeypatch,
        tried,
        lambda config: FAST if config.layout == "streams" and config.flash_attention else SLOW,
    )
    assert found.changes == {"flash_attention": True}
    assert (found.planned, found.tuned) == (SLOW, FAST)
    assert any(config.flash_attention and config.ubatch == 256 for config in tried)


async def test_the_plans_own_settings_are_kept_where_nothing_is_faster(
    monkeypatch: pytest.MonkeyPatch, tried: list[LlamaConfig]
) -> None:
    found = await tuned(monkeypatch, tried, lambda _: SLOW)
    assert found.changes == {}
    assert found.reasons() == []
    planned = plan_model(r1(), machine(), Settings(ctx=4096)).llama
    assert tried[0] == planned
    assert {"layout", "flash_attention", "ubatch", "threads", "max_draft"} == {
        name
        for config in tried[1:]
        for name in ("layout", "flash_attention", "ubatch", "threads", "max_draft")
        if getattr(config, name) != getattr(planned, name)
    }


async def test_a_clock_that_changes_gains_nothing(
    monkeypatch: pytest.MonkeyPatch, tried: list[LlamaConfig]
) -> None:
    """What seems to be faster is compared once more."""
    found = await tuned(monkeypatch, tried, lambda _: SLOW if len(tried) == 1 else FAST)
    assert found.changes == {}


async def test_a_gain_at_the_cost_of_something_else_is_none(
    monkeypatch: pytest.MonkeyPatch, tried: list[LlamaConfig]
) -> None:
    one_sided = Speeds(200, 18, 60, 30)
    found = await tuned(monkeypatch, tried, lambda config: one_sided if config.ubatch == 256 else SLOW)
    assert found.changes == {}


async def test_nothing_is_tried_once_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch, tried: list[LlamaConfig]
) -> None:
    assert (await tuned(monkeypatch, tried, lambda _: SLOW, max_seconds=0)).changes == {}
    assert len(tried) == 1


async def test_settings_with_which_the_model_does_not_load_are_left_out(
    monkeypatch: pytest.MonkeyPatch, tried: list[LlamaConfig]
) -> None:
    def speeds(config: LlamaConfig) -> Speeds:
        if config.flash_attention:
            raise ModelLoadFailed("out of memory")
        return FAST if config.ubatch == 256 else SLOW

    assert (await tuned(monkeypatch, tried, speeds)).changes == {"ubatch": 256}


async def test_answers_that_do_not_depend_on_each_other_still_do_not(
    monkeypatch: pytest.MonkeyPatch, tried: list[LlamaConfig]
) -> None:
    """However fast it would be otherwise."""
    monkeypatch.setattr(tuning, "_speeds", lambda config: _recorded(tried, config))
    model, profile = find_model("edgeinfer-nano"), detect()
    if plan_model(model, profile, Settings()).llama.determinism != "by_row":
        pytest.skip("this processor has none of our kernels")
    await tune(model, profile, Settings(), None)
    assert {"by_row"} == {config.determinism for config in tried}
    assert len(tried) > 1


async def _recorded(tried: list[LlamaConfig], config: LlamaConfig) -> Speeds:
    tried.append(config)
    return SLOW


def test_a_real_model_is_tuned_and_the_result_kept_with_the_machines(tmp_path: Path) -> None:
    """What has been measured of the machine stays."""
    profile, store = detect(), tmp_path / "store"
    assert profile.llama
    measured = Rates({"Q8_0": 1e10, "": 1e10})
    before = Calibration(fingerprint(profile), profile.llama.version, "2026-01-01T00:00:00+00:00", measured)
    save(store, before)
    command = ("bench", "--calibrate", "--model", "edgeinfer-nano", "--ctx", "512", "--json")
    found = json.loads(run(tmp_path, *command).stdout)
    assert min(found["planned"].values()) > 0
    kept = load(store, profile)
    assert kept
    assert kept.cpu == measured
    (result,) = kept.models.values()
    assert result.planned.answer == pytest.approx(found["planned"]["answer"])
