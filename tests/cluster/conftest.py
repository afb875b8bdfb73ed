from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import FleetOnCluster, two_nodes

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that use the fleet are slow, and alone: a busy machine would look like one whose nodes are lost."""
    for item in items:
        if item.path.is_relative_to(HERE) and "fleet" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.alone)
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetOnCluster]:
    """Two nodes with the bundled model behind one address. A test that loses one gives it back."""
    with two_nodes(tmp_path_factory.mktemp("fleet"), parallel=2, ctx=1024, queue=8) as fleet:
        yield fleet
