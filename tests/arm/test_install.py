"""A fresh 64-bit ARM machine, without a compiler, pip or python3-venv, installs with one command and answers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from edgeinfer.cli.mirror_server import mirror_server
from edgeinfer.hub.wheel_folder import WheelFolder
from edgeinfer.settings import Settings
from edgeinfer.store.store import Store
from tests.support import arm_layers
from tests.support.arm_box import open_box
from tests.support.cli import environment
from tests.support.mirror import serving
from tests.support.paths import ROOT
from tests.support.selection import selected

pytestmark = [pytest.mark.heavy, pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(3000)]

CPU = "cortex-a72"
LIMIT = 1800.0
"""Seconds for an installation: fifty packages, emulated, on a machine that is busy."""

PATIENCE = {f"EDGEINFER_{name}_TIMEOUT": "600" for name in ("GRAMMAR", "HANG", "LOAD", "TEMPLATE")}
CHECKOUT = ("edgeinfer", "requirements", "scripts", "systemd", "LICENSE", "README.md", "models.toml")
WITHOUT_NETWORK = ("unshare", "--net")

BUNDLE = "cd /root && tar xf {folder}/bundle.tar && edgeinfer-*/install"
SETUP = "cp -r {folder}/checkout /root && /root/checkout/scripts/setup --wheelhouse "
COMMANDS = {"bundle": BUNDLE, "folder": SETUP + "{folder}/wheels", "mirror": SETUP + "{url}/simple/"}
"""What is typed on the machine, whose network is cut but for the mirror."""

PROGRAMS = {"bundle": "edgeinfer"}
IN_CHECKOUT = "/root/checkout/.venv/bin/edgeinfer"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels for the machine, a bundle of them, and a checkout."""
    folder = tmp_path_factory.mktemp("install")
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in (*CHECKOUT, "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, checkout / name)
    options = ["--target", "aarch64", "--python", arm_layers.PYTHON]
    options += ["--llama", str(arm_layers.llama_wheel())]
    wheels = folder / "wheels"
    subprocess.run([f"{ROOT}/scripts/wheelhouse", *options, "--output", str(wheels)], check=True)
    packed = ["--wheels", str(wheels), "--output", str(folder / "bundle.tar")]
    subprocess.run([f"{ROOT}/scripts/bundle", *options, *packed], check=True, env=environment(folder))
    return folder


def install_and_ask(folder: Path, url: str, way: str) -> str:
    """Install on a machine that has the system alone; -> what edgeinfer answers there."""
    with open_box(CPU, [arm_layers.system()], binds=[folder]) as box:
        cut = () if way == "mirror" else WITHOUT_NETWORK
        command = COMMANDS[way].format(folder=folder, url=url)
        box.run(*cut, "sh", "-c", command, seconds=LIMIT, PIP_NO_COMPILE="1")
        ask = (PROGRAMS.get(way, IN_CHECKOUT), "chat", "What can you do?")
        return box.run(*WITHOUT_NETWORK, *ask, seconds=LIMIT, **PATIENCE)


@pytest.fixture(scope="module")
def answers(folder: Path, request: pytest.FixtureRequest) -> Iterator[Mapping[str, Future[str]]]:
    """Two at a time, on one core each. The mirror is this machine's."""
    wheels = WheelFolder(folder / "wheels")
    server = mirror_server(Store(folder / "store"), Settings(port=0), wheels=wheels)
    with serving(server) as url, ThreadPoolExecutor(2) as executor:
        yield {way: executor.submit(install_and_ask, folder, url, way) for way in selected(request, "way")}


@pytest.mark.parametrize("way", COMMANDS)
def test_one_command_installs_a_machine_that_answers(answers: Mapping[str, Future[str]], way: str) -> None:
    assert "edgeinfer" in answers[way].result()
