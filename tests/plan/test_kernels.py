"""The plan uses flash attention where a kernel of ours computes it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from edgeinfer.gguf.header import Header
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


def machine(isa: tuple[str, ...] = AVX2, row_exact: bool = True) -> HardwareProfile:
    memory = Memory(16 * GB, 16 * GB, None)
    profile = HardwareProfile([CpuClass(list(range(4)), None, None, isa=isa)], None, memory)
    return replace(profile, llama=LlamaBuild("0.3", isa, kernels=True, row_exact=row_exact))


def planned(profile: HardwareProfile, *, key: int = 64, causal: bool = True, **settings: Any) -> Plan:
    header = Header(QWEN | {"qwen2.attention.key_length": key, "qwen2.attention.causal": causal}, [], GB)
    return plan_model(
        LocalModel("qwen", "/qwen.gguf", header), profile, Settings(**{"ctx": 4096, **settings})
    )


def reason(plan: Plan) -> str:
    (text,) = [text for text in plan.reasons if text.startswith("flash_attention")]
    return text


@pytest.mark.parametrize("isa", [AVX2, (*AVX2, "avx512f", "amx")], ids=["AVX2", "AMX"])
def test_flash_attention_is_on_where_our_kernel_computes_it(isa: tuple[str, ...]) -> None:
    plan = planned(machine(isa))
    assert ("streams", True, 128) == (plan.llama.layout, plan.llama.flash_attention, plan.llama.ubatch)
    assert "flash_attention on: fastest with the kernels for this CPU" == reason(plan)


@pytest.mark.parametrize(
    ("profile", "others"),
    [
        pytest.param(machine(row_exact=False), {}, id="no kernels"),
        pytest.param(machine(("avx", "f16c")), {}, id="no vectors"),
        pytest.param(machine(), {"key": 40}, id="heads that do not fill vectors"),
        pytest.param(machine(), {"causal": False}, id="embedder"),
        pytest.param(machine(), {"kv_type": "f32"}, id="other cache"),
    ],
)
def test_flash_attention_is_off_where_it_does_not(profile: HardwareProfile, others: dict[str, Any]) -> None:
    plan = planned(profile, **others)
    assert ("streams", False, 128) == (plan.llama.layout, plan.llama.flash_attention, plan.llama.ubatch)
    assert "flash_attention off: on this CPU plain attention over short streams is faster" == reason(plan)


def test_a_pool_is_read_in_small_parts_where_our_kernel_computes_attention() -> None:
    def pool(profile: HardwareProfile) -> tuple[bool, int]:
        config = planned(profile, layout="unified").llama
        return config.flash_attention, config.ubatch

    assert ((True, 128), (True, 512)) == (pool(machine()), pool(machine(row_exact=False)))


def test_flash_attention_can_be_left_out() -> None:
    plan = planned(machine(), flash_attention=False)
    assert ("streams", False, 128) == (plan.llama.layout, plan.llama.flash_attention, plan.llama.ubatch)
