from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.clients import StartProgram, client_program, client_python
from tests.support.daemon import edgeinfer

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All are slow: the libraries take seconds to import, and the first test waits until they are installed."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="package")
def daemon_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A daemon of its own process with the bundled model."""
    with edgeinfer(tmp_path_factory.mktemp("daemon"), "--port", "0", "--parallel", "4") as process:
        yield process.url()


@pytest.fixture(scope="module")
def program(daemon_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProgram]:
    """Starts a file of `programs/`, by name."""
    python = client_python()
    with ExitStack() as programs:
        yield lambda name: programs.enter_context(
            client_program(python, name, daemon_url, tmp_path_factory.mktemp(name))
        )
