"""scripts/setup --wheelhouse: what it takes from there, and what it says of what is not there."""

from __future__ import annotations

import functools
import hashlib
import http.server
import platform
import re
import shutil
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import make_checkout, setup
from tests.support.paths import ROOT
from tests.support.wheels import make_wheel

MACHINE = platform.machine()
LLAMA = re.search(r'"llama-cpp-python>=([0-9.]+)"', (ROOT / "pyproject.toml").read_text())[1]  # type: ignore[index]
OTHER = "aarch64" if MACHINE == "x86_64" else "x86_64"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return make_checkout(tmp_path)


@pytest.fixture
def wheelhouse(tmp_path: Path) -> Path:
    """A llama.cpp for this machine, and one for another."""
    folder = tmp_path / "wheelhouse"
    for machine in (MACHINE, OTHER):
        make_wheel(folder, "llama_cpp_python", LLAMA, f"py3-none-manylinux_2_17_{machine}")
    return folder


def complete(wheelhouse: Path) -> None:
    """Add everything that requirements/ pins."""
    for file in ("base.txt", "build.txt"):
        for name, version in re.findall(
            r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements" / file).read_text(), re.M
        ):
            if name not in ("llama-cpp-python", "cmake", "ninja", "scikit-build-core"):
                make_wheel(wheelhouse, name, version)


def llama_installed(calls: list[str]) -> list[str]:
    """The wheels of llama.cpp that pip was told to install."""
    return [call.rpartition("/")[2] for call in calls if "--force-reinstall" in call]


def test_everything_comes_from_a_directory_that_has_it(checkout: Path, wheelhouse: Path) -> None:
    """Nothing is built, and no index is asked."""
    complete(wheelhouse)
    done, calls = setup(checkout, "--wheelhouse", wheelhouse)
    assert 0 == done.returncode, done.stderr
    assert [f"llama_cpp_python-{LLAMA}-py3-none-manylinux_2_17_{MACHINE}.whl"] == llama_installed(calls)
    others = [call for call in calls if "--force-reinstall" not in call]
    assert others
    assert all(f"--no-index --find-links {wheelhouse}" in call for call in others)
    assert "from the package index" not in done.stderr


def test_what_a_directory_lacks_is_named_and_comes_from_the_index(checkout: Path, wheelhouse: Path) -> None:
    complete(wheelhouse)
    for path in (*wheelhouse.glob("msgspec-*"), *wheelhouse.glob("hatchling-*")):
        path.unlink()
    done, calls = setup(checkout, "--wheelhouse", wheelhouse)
    assert 0 == done.returncode, done.stderr
    assert "because the wheelhouse lacks them: msgspec, hatchling\n" in done.stderr
    assert not any("--no-index" in call for call in calls)
    assert any(f"--find-links {wheelhouse}" in call for call in calls)


def test_where_python_brings_no_pip_the_wheelhouse_does(
    checkout: Path, wheelhouse: Path, server: str
) -> None:
    """Debian's does not, without python3-venv: from a directory, a page of links or an index."""
    complete(wheelhouse)
    index(wheelhouse)
    shutil.copytree(wheelhouse, wheelhouse.parent / "www/wheels")
    for place in (wheelhouse, f"{server}/wheels/", f"{server}/simple/"):
        shutil.rmtree(checkout / ".venv", ignore_errors=True)
        done, calls = setup(checkout, "--wheelhouse", place, WITHOUT_PIP="1")
        assert 0 == done.returncode, done.stderr
        assert "install --quiet --no-index" in calls[0]
        assert 1 == len(llama_installed(calls))
    for wheel in wheelhouse.glob("pip-*"):
        wheel.unlink()
    shutil.rmtree(checkout / ".venv")
    done, calls = setup(checkout, "--wheelhouse", wheelhouse, WITHOUT_PIP="1")
    assert (1, []) == (done.returncode, calls)
    assert f"this Python comes without pip, and {wheelhouse} has none" in done.stderr
    assert "hint: sudo apt install python3-venv" in done.stderr


def test_a_second_call_does_nothing(checkout: Path, wheelhouse: Path) -> None:
    """Named again or not: later calls know where llama.cpp came from, and don't build one."""
    setup(checkout, "--wheelhouse", wheelhouse)
    for arguments in ((), ("--wheelhouse", wheelhouse)):
        done, calls = setup(checkout, *arguments)
        assert (0, []) == (done.returncode, calls), done.stderr


def test_another_llama_cpp_in_the_directory_is_installed(checkout: Path, wheelhouse: Path) -> None:
    setup(checkout, "--wheelhouse", wheelhouse)
    make_wheel(wheelhouse, "llama_cpp_python", LLAMA, f"py3-none-manylinux_2_17_{MACHINE}", size=10)
    _, calls = setup(checkout, "--wheelhouse", wheelhouse)
    assert 1 == len(llama_installed(calls))


def test_a_checkout_stays_usable_without_the_directory(checkout: Path, wheelhouse: Path) -> None:
    """A memory stick is unplugged, and the checkout updated."""
    setup(checkout, "--wheelhouse", wheelhouse)
    shutil.rmtree(wheelhouse)
    with (checkout / "pyproject.toml").open("a") as file:
        file.write("# new\n")
    done, calls = setup(checkout)
    assert 0 == done.returncode, done.stderr
    assert calls
    assert not llama_installed(calls)


@pytest.mark.skipif(not shutil.which("c++"), reason="it looks for a compiler first")
def test_native_builds_again(checkout: Path, wheelhouse: Path) -> None:
    """And so do later calls."""
    setup(checkout, "--wheelhouse", wheelhouse)
    done, calls = setup(checkout, "--native")
    assert 0 == done.returncode, done.stderr
    assert 1 == sum(call.startswith("build ") for call in calls)
    assert "native" == (checkout / ".venv/.setup-stamp").read_text().splitlines()[-1]
    assert (0, []) == (setup(checkout)[0].returncode, setup(checkout)[1])


def test_a_llama_cpp_for_another_machine_is_refused(checkout: Path, wheelhouse: Path) -> None:
    """What is there is named, and what this machine needs."""
    (wheelhouse / f"llama_cpp_python-{LLAMA}-py3-none-manylinux_2_17_{MACHINE}.whl").unlink()
    done, calls = setup(checkout, "--wheelhouse", wheelhouse)
    assert (1, []) == (done.returncode, calls)
    assert f"has only llama_cpp_python-{LLAMA}-py3-none-manylinux_2_17_{OTHER}.whl" in done.stderr
    assert f"this machine needs llama-cpp-python=={LLAMA} for " in done.stderr
    assert "hint: " in done.stderr


def test_a_llama_cpp_for_a_newer_system_is_refused(checkout: Path, tmp_path: Path) -> None:
    make_wheel(tmp_path / "new", "llama_cpp_python", LLAMA, f"py3-none-manylinux_2_99_{MACHINE}")
    done, calls = setup(checkout, "--wheelhouse", tmp_path / "new")
    assert (1, []) == (done.returncode, calls)
    assert "manylinux_2_99" in done.stderr


def test_half_a_llama_cpp_is_refused(checkout: Path, wheelhouse: Path) -> None:
    for wheel in wheelhouse.glob("llama_cpp_python-*.whl"):
        wheel.write_bytes(wheel.read_bytes()[:300])
    done, calls = setup(checkout, "--wheelhouse", wheelhouse)
    assert (1, []) == (done.returncode, llama_installed(calls))
    assert ".whl is damaged or cut off" in done.stderr


def test_a_directory_that_is_none_is_refused(checkout: Path, tmp_path: Path) -> None:
    done, calls = setup(checkout, "--wheelhouse", tmp_path / "nowhere")
    assert (1, []) == (done.returncode, calls)
    assert f"error: {tmp_path}/nowhere is no directory" in done.stderr


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server for the folder "www"; -> its address."""
    (tmp_path / "www").mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_page_of_links(checkout: Path, wheelhouse: Path, server: str) -> None:
    """As a web server shows a directory. pip is told that it need not have HTTPS."""
    complete(wheelhouse)
    wheelhouse.rename(wheelhouse.parent / "www/wheels")
    done, calls = setup(checkout, "--wheelhouse", f"{server}/wheels")
    assert 0 == done.returncode, done.stderr
    assert 1 == len(llama_installed(calls))
    host = server.removeprefix("http://")
    assert any(f"--no-index --find-links {server}/wheels --trusted-host {host} " in call for call in calls)


def index(wheelhouse: Path, promised: str = "") -> None:
    """Turn the wheelhouse into a package index, below www/simple."""
    root = wheelhouse.parent / "www/simple"
    projects = set()
    for wheel in wheelhouse.glob("*.whl"):
        name = re.sub("[-_.]+", "-", wheel.name.partition("-")[0]).lower()
        projects.add(name)
        page = root / name / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        digest = promised or hashlib.sha256(wheel.read_bytes()).hexdigest()
        with page.open("a") as file:
            file.write(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>\n')
        shutil.copy(wheel, page.parent)
    (root / "index.html").write_text("".join(f'<a href="{name}/">{name}</a>\n' for name in sorted(projects)))


def test_a_package_index(checkout: Path, wheelhouse: Path, server: str) -> None:
    """As `edgeinfer mirror` is one. A second call knows the file by its hash."""
    complete(wheelhouse)
    index(wheelhouse)
    place = f"{server}/simple/"
    done, calls = setup(checkout, "--wheelhouse", place)
    assert 0 == done.returncode, done.stderr
    assert 1 == len(llama_installed(calls))
    assert any(f"--index-url {place} --trusted-host " in call for call in calls)
    assert (0, []) == (setup(checkout, "--wheelhouse", place)[0].returncode, setup(checkout)[1])


def test_a_file_that_is_not_the_promised_one_is_refused(
    checkout: Path, wheelhouse: Path, server: str
) -> None:
    index(wheelhouse, promised="0" * 64)
    done, calls = setup(checkout, "--wheelhouse", f"{server}/simple/")
    assert (1, []) == (done.returncode, calls)
    assert "is not the file that" in done.stderr


def test_a_server_that_does_not_answer_is_named(checkout: Path, server: str) -> None:
    """Without the password that is in its address."""
    place = server.replace("//", "//edgeinfer:secret@") + "/nowhere/"
    done, calls = setup(checkout, "--wheelhouse", place)
    assert (1, []) == (done.returncode, calls)
    assert f"error: {server}/nowhere/ cannot be read: HTTP Error 404" in done.stderr
    assert "secret" not in done.stderr


def test_a_password_in_the_address_is_for_nobody_else(checkout: Path, wheelhouse: Path, server: str) -> None:
    """It may have an @, which is not shown to anybody either. The next call needs it."""
    complete(wheelhouse)
    wheelhouse.rename(wheelhouse.parent / "www/wheels")
    place = server.replace("//", "//edgeinfer:sec@ret@")
    done, _ = setup(checkout, "--wheelhouse", f"{place}/wheels/")
    assert 0 == done.returncode, done.stderr
    stamp = checkout / ".venv/.setup-stamp"
    assert 0o600 == stamp.stat().st_mode & 0o777
    assert f"{place}/wheels/" in stamp.read_text()
    done, _ = setup(checkout, "--wheelhouse", f"{place}/nowhere/")
    assert f"error: {server}/nowhere/ cannot be read" in done.stderr
    assert "ret@" not in done.stderr


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.0 200 OK\r\nContent-Length: 99\r\n\r\n<a"]
)
def test_an_answer_that_is_cut_off_or_of_no_web_server(checkout: Path, answer: bytes) -> None:
    class Odd(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(answer)

    with socketserver.TCPServer(("127.0.0.1", 0), Odd) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        place = f"http://127.0.0.1:{server.server_address[1]}/"
        done, calls = setup(checkout, "--wheelhouse", place)
        thread.join()
    assert (1, []) == (done.returncode, calls)
    assert f"error: {place} cannot be read: the answer is damaged or cut off" in done.stderr
    assert "Traceback" not in done.stderr
