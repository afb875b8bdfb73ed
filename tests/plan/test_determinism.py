"""The plan says whether answers depend on each other, and what it costs that they do not."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from edgeinfer.errors import SettingsError
from edgeinfer.gguf.header import Header, Tensor
from edgeinfer.gguf.reader import Value
from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.cpu import CpuClass
from edgeinfer.hardware.llama_build import LlamaBuild
from edgeinfer.hardware.memory import Memory
from edgeinfer.plan import Plan, plan_model
from edgeinfer.settings import Settings
from edgeinfer.store.lookup import LocalModel
from tests.support.qwen import QWEN

AVX2 = ("avx", "avx2", "fma", "f16c")
GB = 1024**3


def model(*types: str, **metadata: Value) -> LocalModel:
    tensors = [
        Tensor(f"blk.{i}.ffn_up.weight", (896, 4864), type, 0, 2 * 896 * 4864) for i, type in enumerate(types)
    ]
    return LocalModel(
        "qwen", "/models/qwen.gguf", Header(QWEN | metadata, tensors, sum(t.nbytes for t in tensors))
    )


def machine(isa: tuple[str, ...] = AVX2, row_exact: bool = True, gb: float = 16) -> HardwareProfile:
    memory = Memory(round(gb * GB), round(gb * GB), None)
    profile = HardwareProfile([CpuClass(list(range(4)), None, None, isa=isa)], None, memory)
    return replace(profile, llama=LlamaBuild("0.3", isa, kernels=True, row_exact=row_exact))


def planned(of: LocalModel | None = None, profile: HardwareProfile | None = None, **settings: Any) -> Plan:
    return plan_model(
        of or model("Q4_0", "Q8_0", "F32"), profile or machine(), Settings(**{"ctx": 4096, **settings})
    )


def sentence(plan: Plan) -> str:
    (text,) = [reason for reason in plan.reasons if "deterministic" in reason]
    return text


@pytest.mark.parametrize("deterministic", [False, True])
def test_nothing_changes_where_tokens_are_computed_alike_anyway(deterministic: bool) -> None:
    plan = planned(deterministic=deterministic)
    assert ("by_row", 8, 15) == (plan.llama.determinism, plan.llama.parallel, plan.llama.max_draft)
    assert sentence(plan).startswith("deterministic: at temperature 0 or with a seed")


OTHERS = [
    pytest.param({"profile": machine(row_exact=False)}, "no kernels for this processor", id="kernels"),
    pytest.param({"profile": machine((*AVX2, "amx"))}, "no kernels for this processor", id="amx"),
    pytest.param({"profile": machine(("avx", "f16c"))}, "no kernels for this processor", id="no vectors"),
    pytest.param(
        {"of": model("Q4_0", **{"qwen2.attention.key_length": 40}), "flash_attention": True},
        "llama.cpp's own flash attention is on",
        id="flash attention",
    ),
    pytest.param({"layout": "unified"}, "share one pool", id="unified"),
    pytest.param({"kv_type": "f32"}, "the KV cache is f32", id="kv type"),
    pytest.param({"of": model("Q4_K", "Q5_K", "Q3_K")}, "weights in Q3_K, Q5_K", id="weights"),
    pytest.param({"of": model()}, "nothing is known of the weights", id="no tensors"),
    pytest.param(
        {"of": model("Q4_0", **{"qwen2.expert_count": 8})}, "nothing is known of models of", id="experts"
    ),
    pytest.param(
        {"of": model("Q4_0", **{"general.architecture": "falcon-h1"})},
        "nothing is known of",
        id="other layers",
    ),
]


@pytest.mark.parametrize(("given", "reason"), OTHERS)
def test_reason_is_told_where_answers_depend_on_each_other(given: dict[str, Any], reason: str) -> None:
    plan = planned(**given)
    assert ("none", 8) == (plan.llama.determinism, plan.llama.parallel)
    assert sentence(plan).startswith("not deterministic: ")
    assert reason in sentence(plan)


@pytest.mark.parametrize(("given", "reason"), OTHERS)
def test_answers_are_computed_one_at_a_time_where_they_have_to_be(given: dict[str, Any], reason: str) -> None:
    plan = planned(**given, deterministic=True)
    assert ("alone", 1, 0) == (plan.llama.determinism, plan.llama.parallel, plan.llama.max_draft)
    assert sentence(plan).startswith("deterministic: answers are computed one at a time, because ")
    assert reason in sentence(plan)


@pytest.mark.parametrize("flash", [False, True])
def test_attention_is_exact_with_our_kernel_and_without_flash_attention(flash: bool) -> None:
    assert "by_row" == planned(flash_attention=flash).llama.determinism


def test_parallel_and_deterministic_contradict_each_other_where_the_kernels_do_not_see_to_it() -> None:
    with pytest.raises(SettingsError, match="computed one at a time, because") as error:
        planned(profile=machine(row_exact=False), deterministic=True, parallel=4)
    assert "deterministic" == error.value.param
    assert "by_row" == planned(deterministic=True, parallel=4).llama.determinism


@pytest.mark.parametrize("deterministic", [False, True])
def test_model_that_generates_nothing_is_as_it_was(deterministic: bool) -> None:
    """An embedder in a format that is not exact, and several at a time."""
    embedder = model("Q5_K", **{"qwen2.attention.causal": False})
    plan = planned(embedder, deterministic=deterministic, parallel=4)
    assert ("none", 4) == (plan.llama.determinism, plan.llama.parallel)
    assert not [reason for reason in plan.reasons if "deterministic" in reason]


def test_nothing_is_said_of_a_build_that_is_unknown() -> None:
    plan = planned(profile=replace(machine(), llama=None))
    assert not [reason for reason in plan.reasons if "deterministic" in reason]
    assert "none" == plan.llama.determinism
