"""One daemon for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.support.responses import ResponsesWorld, openai_client, responding


@pytest.fixture(scope="module")
def module_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ResponsesWorld]:
    with responding(tmp_path_factory.mktemp("state")) as world:
        yield world


@pytest.fixture
def world(module_world: ResponsesWorld) -> ResponsesWorld:
    module_world.reset()
    return module_world


@pytest.fixture
def client(world: ResponsesWorld) -> Iterator[OpenAI]:
    with openai_client(world.served) as client:
        yield client
