"""scripts/bundle: a machine without a network installs what it packs, with one command, and serves a model."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bundles import PYTHON, built_llama
from tests.support.cli import environment, run
from tests.support.paths import BUNDLED, ROOT

WITHOUT_NETWORK = ("unshare", "--map-root-user", "--net")

SERVE = r"""
import fcntl, http.client, json, re, socket, struct, subprocess, sys
with socket.socket() as s:  # loopback, the one interface that there is
    fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", 1))
command = [sys.argv[1], "serve", "--port", "0", "--model", sys.argv[2]]
with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as daemon:
    for line in daemon.stderr:
        if address := re.search(r"listening on http://(\S+)", line):
            break
    connection = http.client.HTTPConnection(address[1], timeout=100)
    body = {"messages": [{"role": "user", "content": "What can you do?"}], "temperature": 0, "max_tokens": 60}
    while True:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 503:
            break
    daemon.terminate()
    daemon.stderr.read()
print(json.loads(text)["choices"][0]["message"]["content"])
"""


def test_a_model_that_is_not_installed_is_named(tmp_path: Path) -> None:
    """With the command that brings it, before anything is downloaded or built."""
    done = subprocess.run(
        [ROOT / "scripts/bundle", "--model", "qwen3-0.6b", "--output", tmp_path / "out.tar"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert 1 == done.returncode
    assert "error: qwen3-0.6b is not installed here\nhint: edgeinfer pull qwen3-0.6b\n" == done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_machine_without_a_network_installs_a_bundle_and_serves(tmp_path: Path) -> None:
    """One command, in a namespace without a network; the bundle and its wheels can go afterwards."""
    model = shutil.copy(BUNDLED, tmp_path / "packed-Q8_0.gguf")
    assert 0 == run(tmp_path, "models", "import", str(model)).returncode
    archive, wheels = tmp_path / "bundle.tar", tmp_path / "wheels"
    command: list[str | Path] = [
        f"{ROOT}/scripts/bundle",
        "--python",
        PYTHON,
        "--llama",
        built_llama(),
        "--model",
        "packed",
    ]
    packed = subprocess.run(
        [*command, "--wheels", wheels, "--output", archive],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == packed.returncode, packed.stderr
    shutil.rmtree(wheels)

    target = tmp_path / "target"
    target.mkdir()
    script = f"tar xf {archive} -C {target} && {target}/edgeinfer-*/install --prefix {tmp_path}/opt"
    environ = environment(target, PYTHON=sys.executable)
    del environ["PYTHONPATH"]
    installed = subprocess.run(
        [*WITHOUT_NETWORK, "sh", "-c", script], env=environ, capture_output=True, text=True, check=False
    )
    assert 0 == installed.returncode, installed.stderr
    shutil.rmtree(next(target.glob("edgeinfer-*")))

    edgeinfer = tmp_path / "opt/current/bin/edgeinfer"
    served = subprocess.run(
        [*WITHOUT_NETWORK, sys.executable, "-c", SERVE, edgeinfer, "packed:Q8_0"],
        env=environ,
        cwd=target,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert 0 == served.returncode, served.stderr
    assert "edgeinfer" in served.stdout
