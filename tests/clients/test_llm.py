"""The command `llm`."""

from __future__ import annotations

import pytest

from tests.support.clients import ClientProgram, StartProgram

WHO = "Who are you?"
LIGHT = "turn on the kitchen light"


@pytest.fixture(scope="module")
def llm(program: StartProgram) -> ClientProgram:
    return program("llm_cli")


def test_a_configured_model_answers_streamed_or_whole(llm: ClientProgram) -> None:
    assert llm.call("prompt", WHO) == llm.call("prompt", WHO, "--no-stream") != ""


def test_a_schema_is_kept(llm: ClientProgram) -> None:
    assert set(llm.call("schema", "a light")) == {"room", "level"}


def test_a_function_is_called_and_its_result_answered(llm: ClientProgram) -> None:
    said = llm.call("tools", LIGHT)
    assert "Tool call: set_light({'room': 'kitchen', 'on': True})" in said
    assert "The light in the kitchen is on." in said


def test_an_address_is_all_the_configuration_there_need_be(llm: ClientProgram) -> None:
    assert "edgeinfer-nano" in llm.call("endpoint_models")
    assert llm.call("endpoint", WHO) == llm.call("prompt", WHO)
