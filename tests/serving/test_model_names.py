"""The names of a model that requests may use."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from edgeinfer.errors import ModelNotFound
from tests.support.registry import world
from tests.support.server import INFO, Scripted, error, serving

QUANTIZED = replace(INFO, name="Qwen3-0.6B", description="qwen3 0.6B Q8_0")


@pytest.mark.parametrize(
    "name",
    ["Qwen3-0.6B", "qwen3-0.6b", "QWEN3-0.6B", "", " ", "default", "Default", "qwen3-0.6b:Q8_0", "qwen3-0.6b:q8_0",
     "Qwen3-0.6B:latest"],
)  # fmt: skip
def test_the_default_model_answers_to_what_the_command_line_calls_it(name: str) -> None:
    """In any case, and with its quantization."""
    with serving(Scripted("x", info=QUANTIZED)) as served:
        assert served.chat(model="default").status_code == 200
        assert served.chat(model=name).json()["model"] == "Qwen3-0.6B"


@pytest.mark.parametrize(
    "name", ["Qwen3-0.6B-Q8_0.gguf", "qwen3-0.6b-q8_0.gguf", "Qwen3-0.6B.gguf", "qwen3-0.6b.GGUF"]
)
def test_the_default_model_answers_to_its_file_name(name: str) -> None:
    """As llama-server's clients write it."""
    info = replace(QUANTIZED, path="/models/Qwen3-0.6B-Q8_0.gguf")
    with serving(Scripted("x", info=info)) as served:
        assert served.chat(model="default").status_code == 200
        assert served.chat(model=name).json()["model"] == "Qwen3-0.6B"
        for other in ("Qwen3-0.6B-Q4_0.gguf", ".gguf", "/models/Qwen3-0.6B-Q8_0.gguf"):
            refused = served.chat(model=other)
            assert (refused.status_code, error(refused)["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    "name", ["qwen3-0.6b:Q4_0", "qwen3-0.6b:", "qwen3-0.6b:Q8", "qwen3", ":Q8_0", "x:latest"]
)
def test_another_quantization_is_another_model(name: str) -> None:
    """Or none at all."""
    with serving(Scripted("x", info=QUANTIZED)) as served:
        assert served.chat(model="default").status_code == 200
        refused = served.chat(model=name)
    assert (refused.status_code, error(refused)["code"]) == (404, "model_not_found")


async def test_tables_and_aliases_are_found_in_any_case() -> None:
    """As they are by the commands; where two names differ in nothing else, each is its own."""
    tables = {"Coder": {"model": "b", "aliases": ["Big-One"]}}
    async with world(models=tables) as here:
        assert {here.registry.get(name).name for name in ("coder", "CODER", "big-one", "Coder")} == {"Coder"}
        with pytest.raises(ModelNotFound):
            here.registry.get("coder2")


async def test_a_name_of_a_megabyte_is_not_looked_up() -> None:
    """Its parts would be compared with the catalogue's, on the event loop."""
    async with world() as here:
        resolved: list[str] = []
        here.engines.resolve = lambda name: resolved.append(name)  # type: ignore[method-assign]
        for name in ("x" * 10**6, "x" * 10**5 + ":" + "y" * 10**5, "a" + " " * 10**6 + "b"):
            with pytest.raises(ModelNotFound) as e:
                here.registry.get(name)
            assert len(e.value.message) < 500
        assert max(map(len, resolved), default=0) <= 256
