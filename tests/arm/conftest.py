"""An emulated ARM machine for the tests in this folder, which are slow for that, and run alone."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator

import pytest

from tests.support import arm_layers
from tests.support.arm_box import ArmBox

if (sys.platform, platform.machine()) != (
    "linux",
    "x86_64",
):  # on an ARM machine all the others run, in earnest
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArmBox]:
    """A machine with nothing but edgeinfer, from its wheel, and what that depends on."""
    edgeinfer = tmp_path_factory.mktemp("edgeinfer")
    arm_layers.build_edgeinfer(edgeinfer)
    box = ArmBox([edgeinfer, arm_layers.dependencies(), arm_layers.system()])
    try:
        box.start()
        yield box
    finally:
        box.close()
