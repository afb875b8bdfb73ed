"""A bundle on a booted machine that has no network: from the archive to a service, and the upgrade of that.

Needs root, namespaces and overlays, as test_systemd_box.py does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bundles import PYTHON, built_llama
from tests.support.cli import environment, run
from tests.support.paths import BUNDLED, ROOT

if sys.platform != "linux":
    pytest.skip("no systemd but on Linux", allow_module_level=True)
if os.geteuid() != 0:
    pytest.skip("only root can boot a box", allow_module_level=True)

from tests.support.systemd_box import Box

pytestmark = [pytest.mark.heavy, pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]

CHAT = {"messages": [{"role": "user", "content": "What can you do?"}], "max_tokens": 60}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A bundle with one model, and a later one with two."""
    home = tmp_path_factory.mktemp("home")
    for name in ("first", "second"):
        model = shutil.copy(BUNDLED, home / f"{name}-Q8_0.gguf")
        assert 0 == run(home, "models", "import", str(model)).returncode
    made = []
    for models in (["--model", "first"], ["--model", "first", "--model", "second"]):
        made.append(home / f"{len(models)}.tar")
        command: list[str | Path] = [f"{ROOT}/scripts/bundle", "--python", PYTHON, "--llama", built_llama()]
        command += [*models, "--wheels", home / "wheels", "--output", made[-1]]
        subprocess.run(command, env=environment(home), check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def box(archives: list[Path]) -> Iterator[Box]:
    """A machine that has just booted, without edgeinfer, and has the archives."""
    box = Box()
    try:
        box.start()
        for folder in (Path(sys.base_prefix), *Path(sys.base_prefix).parents):
            box.run("chmod", "a+rx", str(folder))  # this machine's Python may be in a home of its own
        for path in archives:
            box.copy(path, f"/var/tmp/{path.name}")
        yield box
    finally:
        box.close()


def install(box: Box, archive: Path) -> str:
    """Install with the command that scripts/bundle prints."""
    python = Path(sys.base_prefix, f"bin/python{PYTHON}")
    command = f"rm -rf edgeinfer-*; tar xf {archive.name} && PYTHON={python} edgeinfer-*/install"
    done = box.log_in("root", f"cd /var/tmp; {command}")
    assert 0 == done.returncode, done.stderr
    return done.stderr


def runs(box: Box) -> str:
    """Return the release that the service runs."""
    return box.run("sh", "-c", f"tr '\\0' ' ' </proc/{box.show('MainPID')}/cmdline").split("/bin/")[0]


def test_a_bundle_becomes_a_service_and_its_successor_upgrades_it(box: Box, archives: list[Path]) -> None:
    """With one command each, and one more for the service."""
    said = install(box, archives[0])
    assert "the command is /usr/local/bin/edgeinfer" in said
    assert "next, to run it as a service: edgeinfer install --offline --model first:Q8_0" in said
    done = box.log_in("root", "edgeinfer install --offline --model first:Q8_0 --no-calibrate")
    assert 0 == done.returncode, done.stderr
    first = box.run("readlink", "--canonicalize", "/opt/edgeinfer/current").strip()
    assert first == runs(box)
    status, answer = box.fetch("/v1/chat/completions", CHAT)
    assert (200, True) == (status, "edgeinfer" in json.loads(answer)["choices"][0]["message"]["content"])

    said = install(box, archives[1])
    assert "upgrading the service" in said
    second = box.run("readlink", "--canonicalize", "/opt/edgeinfer/current").strip()
    assert first != second == runs(box)
    models = box.run("edgeinfer", "models", "ls")
    assert ("first" in models, "second" in models) == (True, True)
    pid = box.show("MainPID")
    assert "upgrading" not in install(box, archives[1])
    assert pid == box.show("MainPID")

    box.run("edgeinfer", "service", "uninstall")
    box.run("sh", "-c", "rm -rf /opt/edgeinfer /usr/local/bin/edgeinfer")
    assert 0 != box.attempt("edgeinfer", "--version").returncode
