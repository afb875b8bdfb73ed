"""Instructor, in the modes that use JSON and those that use tools."""

from __future__ import annotations

import pytest

from tests.support.clients import ClientProgram, StartProgram

DEVICE = "a light"


@pytest.fixture(scope="module")
def sdk(program: StartProgram) -> ClientProgram:
    return program("instructor_sdk")


@pytest.mark.parametrize("mode", ["TOOLS", "JSON_SCHEMA"])
@pytest.mark.parametrize("way", ["create", "create_async"])
def test_an_object_of_the_class_comes_back(sdk: ClientProgram, mode: str, way: str) -> None:
    device = sdk.call(way, mode, DEVICE)
    assert device["kind"] == "light"
    assert 0 <= device["level"] <= 100


@pytest.mark.parametrize("mode", ["TOOLS", "JSON_SCHEMA", "ANTHROPIC_TOOLS"])
def test_an_object_grows_into_the_whole_one(sdk: ClientProgram, mode: str) -> None:
    states = sdk.call("partial", mode, DEVICE)
    assert len(states) > 1
    assert states[-1].keys() == sdk.call("create", mode, DEVICE).keys()
    assert states[-1]["kind"] == "light"
    assert 0 <= states[-1]["level"] <= 100
