"""The sampling of a request that says nothing: the file's values, then the catalogue's, then the defaults."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from edgeinfer.chat.message import Message
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.serving.chat import ChatCall, start_chat
from edgeinfer.serving.sampling import resolve_sampling
from edgeinfer.store.catalogue import catalogue, resolve_spec
from edgeinfer.store.sampling_defaults import SamplingDefaults
from tests.support.model_handle import ScriptedModel
from tests.support.templates import QWEN_TOKENS, bare_model

HI = [Message(role="user", content="Hi")]
THINKING = (
    "{{ messages[0].content }}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>{% else %}<think>\n{% endif %}"
)
QWEN3 = resolve_spec("qwen3-0.6b")[1].defaults


@pytest_asyncio.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    scripted = ScriptedModel("Hi")
    scripted.info = msgspec.structs.replace(bare_model(QWEN_TOKENS), chat_templates={"default": THINKING})
    yield scripted
    await scripted.aclose()


async def params(model: ScriptedModel, **call: Any) -> SamplingParams:
    await (await start_chat(model, "me", ChatCall(messages=HI, **call))).collect()
    return model.params


@pytest.mark.asyncio
async def test_the_catalogue_counts_where_the_file_says_nothing(model: ScriptedModel) -> None:
    model.defaults = SamplingDefaults({"temperature": 0.6, "top_p": 0.9, "top_k": 20})
    model.info = msgspec.structs.replace(model.info, sampling={"top_k": 64.0})
    found = await params(model, sampling={"top_p": 0.5})
    assert (found.temperature, found.top_p, found.top_k) == (0.6, 0.5, 64)
    assert found.min_p == SamplingParams().min_p


@pytest.mark.asyncio
async def test_a_model_told_not_to_think_has_values_of_its_own(model: ScriptedModel) -> None:
    model.defaults = QWEN3
    thinking = await params(model)
    silent = await params(model, thinking=0)
    assert (thinking.temperature, thinking.top_p) == (0.6, 0.95)
    assert (silent.temperature, silent.top_p, silent.top_k) == (0.7, 0.8, 20)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("deepseek-r1", {"temperature": 0.6, "top_p": 0.95}),
        ("qwen3-4b", {"temperature": 0.7, "top_p": 0.8, "top_k": 20}),
        ("gemma-3-1b", {"temperature": 1.0, "top_k": 64}),
        ("llama-3.2-1b", {"temperature": 0.6, "top_p": 0.9}),
    ],
)
def test_the_makers_values_are_in_the_catalogue(name: str, values: dict[str, float]) -> None:
    sampling = resolve_spec(name)[1].defaults.sampling
    assert values.items() <= sampling.items()


def test_every_value_of_the_catalogue_is_one_of_the_sampler() -> None:
    for spec in catalogue().values():
        for values in (spec.defaults.sampling, spec.defaults.without_thinking):
            resolve_sampling({}, bare_model(()), values)
            assert set(values) <= set(SamplingParams.__struct_fields__)


def test_a_system_prompt_is_advised_against_for_r1() -> None:
    assert not resolve_spec("deepseek-r1")[1].defaults.system_prompt
    assert resolve_spec("qwen3-0.6b")[1].defaults.system_prompt
