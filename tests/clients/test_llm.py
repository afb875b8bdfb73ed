"""The command `llm`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.clients import ClientProgram, StartProgram

MODELS = ["edge", "edge-responses"]
WHO = "Who are you?"
LIGHT = "turn on the kitchen light"


@pytest.fixture(scope="module")
def llm(program: StartProgram) -> ClientProgram:
    return program("llm_cli")


@pytest.mark.parametrize("model", MODELS)
def test_a_configured_model_answers_streamed_or_whole(llm: ClientProgram, model: str) -> None:
    assert llm.call("prompt", model, WHO) == llm.call("prompt", model, WHO, "--no-stream") != ""


@pytest.mark.parametrize("model", MODELS)
def test_a_schema_is_kept(llm: ClientProgram, model: str) -> None:
    assert set(llm.call("schema", model, "a light")) == {"room", "level"}


@pytest.mark.parametrize("model", MODELS)
def test_a_function_is_called_and_its_result_answered(llm: ClientProgram, model: str) -> None:
    said = llm.call("tools", model, LIGHT)
    assert "Tool call: set_light({'room': 'kitchen', 'on': True})" in said
    assert "The light in the kitchen is on." in said


def test_an_address_is_all_the_configuration_there_need_be(llm: ClientProgram) -> None:
    assert "edgeinfer-nano" in llm.call("endpoint_models")
    assert llm.call("endpoint", WHO) == llm.call("prompt", "edge", WHO)


def test_what_connect_writes_is_all_it_needs(llm: ClientProgram, tmp_path: Path) -> None:
    """Beside a model that somebody else has configured."""
    path = tmp_path / "extra-openai-models.yaml"
    path.write_text("- model_id: mine\n  model_name: mine\n")
    done = run(tmp_path, "connect", "llm", "--yes", "--url", llm.url, LLM_USER_PATH=str(tmp_path))
    assert done.returncode == 0
    assert llm.call("connected", str(tmp_path), WHO) == llm.call("prompt", "edge", WHO)
