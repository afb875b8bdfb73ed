"""Plans of one model on one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.errors import ModelLoadFailed, ModelNotFound, SettingsError
from edgeinfer.gguf.header import Header
from edgeinfer.gguf.reader import Value
from edgeinfer.hardware import HardwareProfile, detect
from edgeinfer.hardware.cpu import CpuClass
from edgeinfer.hardware.memory import Memory
from edgeinfer.plan import Plan, kv_token_bytes, make_plan, plan_model
from edgeinfer.settings import Settings
from edgeinfer.store.lookup import LocalModel
from tests.support.hardware import CONTAINER, LAPTOP, PI4, RK3588, write
from tests.support.qwen import QWEN

QWEN_TOKEN = 2 * 24 * 2 * 64 * 2
"""Bytes in f16: keys and values, layers, KV heads, their size."""

GB = 1024**3


def model(**metadata: Value) -> LocalModel:
    """A qwen2.5-0.5b with more metadata; dots in its keys are written as two underscores."""
    fields = {f"qwen2.{key.replace('__', '.')}": value for key, value in metadata.items()}
    return LocalModel("qwen", "/models/qwen.gguf", Header(QWEN | fields, [], 400 * 1024**2))


def machine(cores: int = 4, available: int | None = 16 * GB, quota: float | None = None) -> HardwareProfile:
    return HardwareProfile(
        [CpuClass(list(range(cores)), None, None)], quota, Memory(available, available, None)
    )


def planned(profile: HardwareProfile | None = None, *, of: LocalModel | None = None, **settings: Any) -> Plan:
    return plan_model(of or model(), profile or machine(), Settings(**{"ctx": 4096, **settings}))


def config(
    profile: HardwareProfile | None = None, *, of: LocalModel | None = None, **settings: Any
) -> LlamaConfig:
    return planned(profile, of=of, **settings).llama


@pytest.mark.parametrize(
    ("files", "threads"),
    [(RK3588, 4), (PI4, 4), (LAPTOP, 4), (CONTAINER, 1)],
    ids=["RK3588", "Pi 4", "SMT laptop", "1.5 CPUs"],
)
def test_there_is_a_thread_for_each_fast_core_that_may_be_used(
    files: dict[str, str], threads: int, tmp_path: Path
) -> None:
    """Slow cores delay fast ones, second threads share a core, and a quota stops further ones."""
    assert threads == config(detect(write(tmp_path, files))).threads


def test_a_quota_of_less_than_a_cpu_is_one_thread() -> None:
    """There is always one thread."""
    assert 1 == config(machine(quota=0.3)).threads


def test_a_quota_beyond_the_cores_changes_nothing() -> None:
    """There are no more threads than cores."""
    assert 4 == config(machine(quota=64.0)).threads


def test_an_unknown_machine_gets_a_careful_plan(tmp_path: Path) -> None:
    """It has one thread, and the context that was set."""
    configuration = config(detect(tmp_path), of=model())
    assert (1, 4096) == (configuration.threads, configuration.ctx)


def test_streams_are_taken_where_they_fit() -> None:
    """They are faster on a CPU; there is one more than answers that run."""
    configuration = config(machine(available=16 * GB))
    assert ("streams", 9 * 4096, False, 128) == (
        configuration.layout,
        configuration.cells,
        configuration.flash_attention,
        configuration.ubatch,
    )


def test_a_pool_is_taken_where_streams_do_not_fit(tmp_path: Path) -> None:
    """In a container of 2 GB the pool fits into its share."""
    configuration = config(detect(write(tmp_path, CONTAINER)), of=model(attention__head_count_kv=14))
    assert ("unified", True) == (configuration.layout, configuration.flash_attention)
    assert 4096 <= configuration.cells
    assert configuration.cells * 7 * QWEN_TOKEN <= 1.5 * GB / 2


def test_a_pool_holds_one_context_however_little_memory_there_is() -> None:
    """A smaller pool would be useless."""
    configuration = config(machine(available=10 * 1024**2), ctx=None)
    assert ("unified", 4096) == (configuration.layout, configuration.cells)


def test_a_longer_context_makes_a_pool_of_streams() -> None:
    """The size of the cache decides, not only the machine."""
    assert "streams" == config(machine(available=2 * GB), ctx=4096).layout
    assert "unified" == config(machine(available=2 * GB), ctx=32768).layout


def test_on_a_gpu_there_is_one_pool() -> None:
    """One pool is fastest on a GPU."""
    configuration = config(gpu_layers=-1)
    assert ("unified", -1) == (configuration.layout, configuration.gpu_layers)


def test_the_context_is_no_longer_than_the_model_was_trained_for() -> None:
    """The plan gives this reason."""
    plan = planned(of=model(context_length=2048), ctx=4096)
    assert 2048 == plan.config.ctx
    assert any("2048" in reason for reason in plan.reasons)


def test_a_shorter_context_is_as_asked_for() -> None:
    """The trained context is only an upper bound."""
    assert 1024 == config(ctx=1024).ctx


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("threads", 3),
        ("parallel", 5),
        ("layout", "streams"),
        ("layout", "unified"),
        ("flash_attention", True),
        ("flash_attention", False),
        ("kv_type", "f32"),
        ("kv_type", "bf16"),
        ("batch", 64),
        ("ubatch", 32),
        ("gpu_layers", 7),
        ("cells", 5000),
        ("step_ms", 50.0),
    ],
)
def test_what_is_set_is_taken_as_it_is(setting: str, value: Any) -> None:
    """Every automatic choice can be overridden, and then has no reason."""
    plan = planned(**{setting: value})
    assert value == getattr(plan.config, setting)
    assert [] == [reason for reason in plan.reasons if reason.startswith(f"{setting} ")]


def test_every_choice_of_ours_has_a_reason() -> None:
    """A reason is one sentence that begins with the setting and its value."""
    plan = planned()
    chosen = {"threads", "parallel", "layout", "flash_attention", "kv_type", "ubatch"}
    assert chosen <= {reason.partition(" ")[0] for reason in plan.reasons}
    assert all(": " in reason for reason in plan.reasons)


def test_a_batch_holds_a_token_of_each_running_answer() -> None:
    """Otherwise some answers would never get a turn."""
    configuration = config(batch=8, parallel=32)
    assert configuration.batch >= 32


def test_cells_ask_for_a_pool() -> None:
    """Cells are the size of a pool."""
    assert ("unified", 8192) == ((configuration := config(cells=8192)).layout, configuration.cells)


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"layout": "unified", "cells": 1024}, "cells"),
        ({"cells": 4095}, "cells"),
        ({"layout": "streams", "cells": 8192}, "cells"),
        ({"kv_type": "q8_0", "flash_attention": False}, "kv_type"),
        ({"kv_type": "q4_0", "flash_attention": False}, "kv_type"),
    ],
    ids=str,
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], param: str) -> None:
    """The error names the wrong setting and says what to do."""
    with pytest.raises(SettingsError) as error:
        planned(**settings)
    assert param == error.value.param
    assert error.value.hint


def test_a_quantized_cache_goes_with_flash_attention() -> None:
    """The two settings do not contradict each other."""
    assert "q8_0" == config(kv_type="q8_0", flash_attention=True).kv_type


@pytest.mark.parametrize("layout", ["streams", "unified"])
@pytest.mark.parametrize("kv_type", ["q8_0", "q4_0"])
def test_a_quantized_cache_brings_flash_attention_with_it(layout: str, kv_type: str) -> None:
    """It overrides the layout's default, and the plan says why."""
    plan = planned(layout=layout, kv_type=kv_type)
    assert (kv_type, True) == (plan.llama.kv_type, plan.llama.flash_attention)
    assert any(r.startswith("flash_attention on") and kv_type in r for r in plan.reasons)


@pytest.mark.parametrize("layout", ["streams", "unified"])
def test_there_are_no_more_sequences_than_llama_cpp_allows(layout: str) -> None:
    """This limits the number of concurrent answers."""
    assert 256 == config(machine(available=2**50), parallel=256, ctx=256, layout=layout).slots


def test_counts_that_make_no_sense_are_passed_over() -> None:
    """A file may contain any number."""
    broken = model(context_length=-5, block_count=-(2**62), attention__head_count=float("nan"))
    assert (4096, "streams") == ((configuration := config(of=broken)).ctx, configuration.layout)


@pytest.mark.parametrize(
    ("kv_type", "size"), [("f32", 2), ("f16", 1), ("bf16", 1), ("q8_0", 34 / 64), ("q4_0", 18 / 64)]
)
def test_the_cache_of_a_token_has_the_size_that_llama_cpp_gives_it(kv_type: Any, size: float) -> None:
    """It is 12,288 bytes for qwen2.5-0.5b in f16."""
    header = model().header
    assert round(QWEN_TOKEN * size) == kv_token_bytes(header, kv_type)


def test_without_kv_heads_all_heads_have_a_cache() -> None:
    """GGUF defines it so."""
    header = model().header
    assert header
    metadata = {k: v for k, v in header.metadata.items() if not k.endswith("head_count_kv")}
    assert 7 * QWEN_TOKEN == kv_token_bytes(msgspec.structs.replace(header, metadata=metadata), "f16")


def test_a_key_length_of_its_own_counts() -> None:
    """Heads may be wider than their share of the embedding, keys and values differently."""
    assert 1.5 * QWEN_TOKEN == kv_token_bytes(model(attention__key_length=128).header, "f16")
    both = model(attention__key_length=128, attention__value_length=128)
    assert 2 * QWEN_TOKEN == kv_token_bytes(both.header, "f16")


def test_the_fake_is_planned_without_a_file() -> None:
    """The fake model has no header."""
    configuration = make_plan(Settings(model="fake:5", ctx=256), machine()).config
    assert ("fake:5", "fake", 256) == (configuration.model, configuration.name, configuration.ctx)


@pytest.mark.parametrize("model", ["table", "alias"])
def test_the_default_model_may_be_a_table(model: str) -> None:
    """It is planned as the table says."""
    tables = {"table": {"model": "fake:5", "ctx": 256, "aliases": ("alias",)}}
    configuration = make_plan(Settings(model=model, models=tables), machine()).config
    assert ("fake:5", 256) == (configuration.model, configuration.ctx)


def test_the_default_model_may_have_a_table_of_its_name() -> None:
    """Although the settings name no model."""
    tables = {"edgeinfer-nano": {"ctx": 256}}
    assert 256 == make_plan(Settings(models=tables), machine()).config.ctx


def test_a_tiny_model_runs_on_one_thread() -> None:
    """Synchronizing threads would take longer than each operation."""
    tiny = LocalModel("tiny", "/models/tiny.gguf", Header(QWEN, [], 5_000_000))
    assert 1 == planned(machine(4), of=tiny).llama.threads
    assert 2 == planned(machine(4), of=tiny, threads=2).llama.threads


def test_the_bundled_model_is_the_default(tmp_path: Path) -> None:
    """It runs if no model is named and none is installed."""
    plan = make_plan(Settings(), detect(write(tmp_path, PI4)))
    assert ("edgeinfer-nano", 1) == (plan.llama.name, plan.llama.threads)
    assert Path(plan.config.model).is_file()
    assert plan.config.ctx <= 4096


def test_this_machine_has_a_plan() -> None:
    """Planning works on any machine."""
    plan = make_plan(Settings())
    assert plan.llama.threads >= 1
    assert plan.reasons


@pytest.mark.parametrize("name", ["/none.gguf", "none", "~/none.gguf", "~nosuchuser/none.gguf"])
def test_a_model_that_is_not_there_is_told(name: str) -> None:
    """The error has its name."""
    with pytest.raises(ModelNotFound) as error:
        make_plan(Settings(model=name), machine())
    assert "model" == error.value.param
    assert name in error.value.message


def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    """The error comes before any worker is started."""
    (tmp_path / "page.gguf").write_text("<html>404 Not Found</html>")
    with pytest.raises(ModelLoadFailed):
        make_plan(Settings(model=str(tmp_path / "page.gguf")), machine())


def test_a_file_is_named_after_itself(tmp_path: Path, model_file: Path) -> None:
    """The API calls it by its file name without the suffix."""
    path = tmp_path / "my-model.Q8_0.gguf"
    path.symlink_to(model_file)
    assert "my-model.Q8_0" == make_plan(Settings(model=str(path)), machine()).config.name


def test_a_reranker_is_planned_for_pairs() -> None:
    """It has no answers to make room for, and a longer context would only take memory."""
    plan = planned(of=model(pooling_type=4), ctx=None)
    assert plan.llama.reranks
    assert plan.memory.kv == QWEN_TOKEN * 4096
    assert "ctx 4096: a query and a document are read together" in " ".join(plan.reasons)
    assert not any(reason.startswith(("parallel", "layout", "kv_type")) for reason in plan.reasons)
    assert not config().reranks
