"""The image of the Dockerfile, built with buildah; its root runs the daemon as its user."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.image import Image
from tests.support.nano_daemon import free_port
from tests.support.server import eventually

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make chroots"),
]

COMPILERS = {"gcc", "cc", "c++", "g++", "cmake", "make", "ld", "as", "pip", "pip3"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    image = Image(tmp_path_factory.mktemp("image"))
    try:
        image.build()
        yield image
    finally:
        image.close()


def test_it_has_no_compiler_and_nothing_that_gives_rights(image: Image) -> None:
    root = image.root()
    programs = [
        path for place in ("usr/bin", "usr/sbin", "opt/edgeinfer/bin") for path in (root / place).iterdir()
    ]
    assert COMPILERS & {path.name for path in programs} == set()
    ours = [path for path in (root / "opt/edgeinfer").rglob("*") if not path.is_symlink()]
    assert [path for path in ours if path.stat().st_mode & (stat.S_ISUID | stat.S_IWOTH)] == []


def test_it_says_who_it_is_and_whether_it_is_well(image: Image) -> None:
    config = image.config()
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["edgeinfer"]
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert list(config["Volumes"]) == ["/var/lib/edgeinfer"]


@contextlib.contextmanager
def serving(image: Image, log: Path, port: int, keys: str) -> Iterator[subprocess.Popen[bytes]]:
    """The image's command, on a port of this test."""
    config = image.config()
    words = [*config["Entrypoint"], *config["Cmd"], "--port", str(port)]
    command = image.command(*words, EDGEINFER_API_KEY_FILE=keys)
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=image.environment(), stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def test_its_root_runs_the_service(image: Image, tmp_path: Path) -> None:
    """With a key, as other machines reach it; the image's own health check agrees."""
    keys, port = "/var/lib/edgeinfer/keys", free_port()
    made = subprocess.run(
        image.command("edgeinfer", "key", "add", "test", "--api-key-file", keys),
        env=image.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    url, log = f"http://127.0.0.1:{port}", tmp_path / "log"
    with serving(image, log, port, keys) as process:

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"{url}/ready").status_code == 200
            return False

        assert eventually(ready, 120), log.read_text()
        assert httpx.get(f"{url}/v1/models").status_code == 401
        answer = httpx.post(
            f"{url}/v1/chat/completions",
            headers={"Authorization": f"Bearer {made.stdout.strip()}"},
            json={"messages": [{"role": "user", "content": "What can you do?"}], "max_tokens": 20},
            timeout=120,
        )
        assert answer.json()["usage"]["completion_tokens"] > 3, answer.text
        _, *check = image.config()["Healthcheck"]["Test"]
        check[-1] = check[-1].replace("11435", str(port))
        subprocess.run(image.command(*check), env=image.environment(), check=True, capture_output=True)
        uids = Path(f"/proc/{daemon_of(process.pid)}/status").read_text()
        assert "Uid:\t10001\t10001\t10001\t10001" in uids


def daemon_of(pid: int) -> int:
    """The process in the container: the last of the chain that buildah makes."""
    import psutil

    found = [p for p in psutil.Process(pid).children(recursive=True) if "serve" in p.cmdline()]
    return int(min(found, key=lambda p: len(p.children(recursive=True)) == 0).pid)
