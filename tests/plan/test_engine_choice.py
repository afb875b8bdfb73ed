"""The engine of a machine: vLLM for cards that it is made for, where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from edgeinfer.backends.vllm.config import VllmConfig
from edgeinfer.errors import DoesNotFit, InvalidRequest, ModelLoadFailed, ModelNotFound, SettingsError
from edgeinfer.hardware import HardwareProfile, detect
from edgeinfer.plan import ModelChoice, choose
from edgeinfer.plan.available_options import model_options
from edgeinfer.plan.plan import plan_model
from edgeinfer.plan.vllm_plan import OVERHEAD, plan_vllm
from edgeinfer.safetensors.folder import ModelFolder, read_folder
from edgeinfer.settings import Settings
from edgeinfer.store.lookup import find_model
from tests.support.paths import TREES
from tests.support.tiny_qwen2 import write_tiny_qwen2

GB = 1e9

LARGE = [
    ("rtx-4070-laptop-8gb", "the NVIDIA GeForce RTX 4070 Laptop GPU with 8 GB"),
    ("rtx-3060-desktop", "the NVIDIA GeForce RTX 3060 with 12 GB"),
    ("rtx-3090-24gb", "the NVIDIA GeForce RTX 3090 with 24 GB"),
    ("two-rtx-3090", "2 cards with 24 GB each"),
]


@pytest.fixture
def vllm(tmp_path: Path) -> str:
    """A program of that name, which is only looked for."""
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return str(tmp_path)


def machine(record: str) -> HardwareProfile:
    return detect(TREES / record)


def choice(record: str, settings: Settings, quant: str | None = None) -> ModelChoice:
    return choose(machine(record), model_options(), settings, quant=quant)


def folder(parameters: float, *, heads: int = 32, kv_heads: int = 8) -> ModelFolder:
    """A Llama-like model in BF16 of so many billion parameters."""
    return ModelFolder(
        path=Path("/models/large"),
        architecture="llama",
        dtype="BF16",
        size=round(parameters * 2e9),
        parameters=round(parameters * 1e9),
        context=131072,
        vocabulary=128256,
        embedding=4096,
        layers=32,
        heads=heads,
        kv_heads=kv_heads,
        head_size=128,
        eos=(1,),
        sampling={},
    )


@pytest.mark.parametrize(("record", "cards"), LARGE)
def test_cards_of_8_gb_and_more_get_vllm(record: str, cards: str, vllm: str) -> None:
    """The reason names the cards, and the model is the published one."""
    chosen = choice(record, Settings(vllm_command=vllm))
    assert "vllm" == chosen.plan.backend
    assert "BF16" == chosen.option.quant
    assert any(reason.startswith("engine vllm:") and cards in reason for reason in chosen.reasons)
    assert any(reason.startswith("quant BF16: vLLM reads safetensors") for reason in chosen.reasons)
    assert chosen.plan.fits


@pytest.mark.parametrize(("record", "cards"), LARGE)
def test_without_vllm_they_get_llama_cpp_and_are_told_what_to_install(record: str, cards: str) -> None:
    """Until then everything works."""
    chosen = choice(record, Settings(vllm_command="/nowhere"))
    assert "llama.cpp" == chosen.plan.backend
    (reason,) = [reason for reason in chosen.reasons if reason.startswith("engine llama.cpp:")]
    assert cards in reason
    assert "pip install vllm" in reason


@pytest.mark.parametrize("record", ["pi5-8gb", "jetson-orin-nano-8gb", "strix-halo-128gb", "m2-mac-16gb"])
def test_machines_without_such_cards_are_not_told_of_vllm(record: str, vllm: str) -> None:
    """It would be noise."""
    chosen = choice(record, Settings(vllm_command=vllm))
    assert "llama.cpp" == chosen.plan.backend
    assert not [reason for reason in chosen.reasons if "vLLM" in reason]


def test_a_card_of_6_gb_gets_llama_cpp_and_the_reason(vllm: str) -> None:
    """Its memory is named."""
    chosen = choice("rtx-2060-6gb", Settings(vllm_command=vllm))
    assert any("6 GB, and vLLM needs 8 GB" in reason for reason in chosen.reasons)


def test_the_engine_can_be_chosen(vllm: str) -> None:
    """Both ways."""
    wanted = choice("rtx-3060-desktop", Settings(vllm_command=vllm, engine="llama.cpp"))
    assert "llama.cpp" == wanted.plan.backend
    with_setting = choice("rtx-3060-desktop", Settings(vllm_command=vllm, gpu_layers=-1))
    assert "engine llama.cpp: gpu_layers is one of its settings" in with_setting.reasons
    assert "vllm" == choice("pi5-8gb", Settings(vllm_command=vllm, engine="vllm")).plan.backend


def test_a_quantization_that_only_vllm_reads_needs_it(vllm: str) -> None:
    """The error says how to install it."""
    assert "vllm" == choice("rtx-3060-desktop", Settings(vllm_command=vllm), "BF16").plan.backend
    with pytest.raises(ModelLoadFailed) as error:
        choice("rtx-3060-desktop", Settings(vllm_command="/nowhere"), "BF16")
    assert "pip install vllm" in (error.value.hint or "")
    with pytest.raises(ModelNotFound):
        choice("rtx-3060-desktop", Settings(vllm_command=vllm, engine="vllm"), "Q4_K_M")


def test_a_model_too_large_for_one_card_is_split(vllm: str) -> None:
    """Half of the weights and of the KV cache lie on each."""
    model = folder(15)  # 30 GB
    with pytest.raises(DoesNotFit, match="MB on each of the NVIDIA GeForce RTX 3090") as error:
        plan_vllm(model, "large", vllm, machine("rtx-3090-24gb"), Settings())
    assert "--force" in (error.value.hint or "")
    split = plan_vllm(model, "large", vllm, machine("two-rtx-3090"), Settings())
    assert (0, 1) == split.config.cards
    assert split.fits
    assert any("tensor parallelism" in reason for reason in split.reasons)
    assert split.memory.gpu <= 2 * 24.5 * 1024**3
    alone = plan_vllm(folder(7), "small", vllm, machine("two-rtx-3090"), Settings())
    assert (0,) == alone.config.cards


def test_memory_is_weights_and_as_much_kv_cache_as_is_left(vllm: str) -> None:
    """What is left of the card goes to concurrent answers."""
    plan = plan_vllm(folder(7), "m", vllm, machine("rtx-3090-24gb"), Settings())
    card = machine("rtx-3090-24gb").gpus[0]
    assert round(14 * GB) == plan.memory.gpu_weights
    assert OVERHEAD == plan.memory.gpu_compute
    assert 0 < (card.available or 0) - plan.memory.gpu < 0.5 * GB
    assert plan.config.gpu_memory * (card.memory or 0) <= (card.available or 0)
    assert 1 <= plan.config.parallel
    less = plan_vllm(folder(7), "m", vllm, machine("rtx-3090-24gb"), Settings(ctx=8192, parallel=2))
    assert (8192, 2) == (less.config.ctx, less.config.parallel)


def test_heads_that_do_not_divide_are_not_split(vllm: str) -> None:
    """vLLM would refuse to start."""
    with pytest.raises(DoesNotFit):
        plan_vllm(folder(15, heads=15, kv_heads=15), "odd", vllm, machine("two-rtx-3090"), Settings())


def test_old_cards_compute_in_float16(vllm: str) -> None:
    """Volta and Turing know no bfloat16."""
    profile = machine("rtx-3090-24gb")
    old = replace(profile, gpus=(replace(profile.gpus[0], compute_capability="7.5"),))
    assert "float16" == plan_vllm(folder(7), "m", vllm, old, Settings()).config.dtype
    assert "auto" == plan_vllm(folder(7), "m", vllm, profile, Settings()).config.dtype


def test_a_setting_of_llama_cpp_is_refused_for_vllm(vllm: str) -> None:
    """It would do nothing."""
    with pytest.raises(SettingsError) as error:
        plan_vllm(folder(7), "m", vllm, machine("rtx-3090-24gb"), Settings(kv_type="q8_0"))
    assert "kv_type" == error.value.param


def test_a_folder_is_planned_for_vllm_and_nothing_else(tmp_path: Path, vllm: str) -> None:
    """A GGUF file is for llama.cpp, a folder for vLLM."""
    path = write_tiny_qwen2(tmp_path / "tiny")
    model, profile = find_model(str(path)), machine("amx-server")
    plan = plan_model(model, profile, Settings(vllm_command=vllm))
    assert isinstance(plan.config, VllmConfig)
    assert read_folder(path).kv_token_bytes * plan.config.ctx <= plan.memory.kv
    with pytest.raises(InvalidRequest):
        _ = plan.llama
    with pytest.raises(SettingsError, match=r"llama\.cpp does not read"):
        plan_model(model, profile, Settings(vllm_command=vllm, engine="llama.cpp"))
    with pytest.raises(SettingsError, match="vLLM does not read"):
        plan_model(find_model("edgeinfer-nano"), profile, Settings(vllm_command=vllm, engine="vllm"))
    with pytest.raises(ModelLoadFailed, match="there is no program vllm at /nowhere"):
        plan_model(model, profile, Settings(vllm_command="/nowhere"))
