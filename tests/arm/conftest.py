"""An emulated ARM machine for the tests in this folder, which are slow for that, and run alone."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeinfer.store.disk import sha256_of
from edgeinfer.store.quantize import quantize
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel
from tests.support import arm_layers
from tests.support.arm_box import ArmBox
from tests.support.arm_daemon import Daemon, running
from tests.support.paths import BUNDLED, ROOT

if (sys.platform, platform.machine()) != (
    "linux",
    "x86_64",
):  # on an ARM machine all the others run, in earnest
    collect_ignore_glob = ["test_*.py"]

MODELS = "/srv/models"
SERVE = ("-m", "edgeinfer", "serve", "--port", "0")
PATIENCE = ("GRAMMAR_TIMEOUT", "HANG_TIMEOUT", "LOAD_TIMEOUT", "TEMPLATE_TIMEOUT")
"""Limits that an emulated daemon would reach for no fault of its own."""


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer with a copy of the bundled model in 4 bits."""
    layer = tmp_path_factory.mktemp("models")
    target = layer / MODELS.lstrip("/") / "q4_0.gguf"
    target.parent.mkdir(parents=True)
    store = Store(tmp_path_factory.mktemp("store"))
    size, digest = BUNDLED.stat().st_size, sha256_of(BUNDLED)
    bundled = StoredModel(
        "nano", "Q8_0", BUNDLED, size, digest, "local/nano", "0" * 40, BUNDLED.name, "import"
    )
    shutil.copy(quantize(bundled, "Q4_0", store, requantize=True).path, target)
    (target.parent / "config.toml").write_text(f'[models.q4]\nmodel = "{MODELS}/q4_0.gguf"\n')
    return layer


@pytest.fixture(scope="session")
def edgeinfer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer with edgeinfer, from its wheel."""
    layer = tmp_path_factory.mktemp("edgeinfer")
    arm_layers.build_edgeinfer(layer)
    return layer


@pytest.fixture(scope="session")
def layers(edgeinfer: Path, models: Path) -> list[Path]:
    """What a machine is made of that has nothing but edgeinfer, llama.cpp, models, and what they depend on."""
    return [edgeinfer, models, arm_layers.llama(), arm_layers.dependencies(), arm_layers.system()]


@contextmanager
def emulated(box: ArmBox, **environ: str) -> Iterator[Daemon]:
    """A daemon on an ARM machine."""
    limits = {f"EDGEINFER_{name}": "600" for name in PATIENCE}
    own = {**limits, "EDGEINFER_CONFIG": f"{MODELS}/config.toml", **environ}
    with running(box.command(("python3", *SERVE), own), box.run) as daemon:
        yield daemon


@contextmanager
def beside(home: Path, models: Path, **environ: str) -> Iterator[Daemon]:
    """A daemon on this machine, with the same models."""
    (home / "config.toml").write_text(f'[models.q4]\nmodel = "{models}{MODELS}/q4_0.gguf"\n')
    clean = {name: value for name, value in os.environ.items() if not name.startswith("EDGEINFER_")}
    own = {
        "HOME": str(home),
        "EDGEINFER_CONFIG": str(home / "config.toml"),
        "PYTHONPATH": str(ROOT),
        **environ,
    }

    def run(*command: str) -> str:
        return subprocess.check_output(command, text=True, env={**clean, **own})

    with running([sys.executable, *SERVE], run, {**clean, **own}) as daemon:
        yield daemon
