"""The mirror as a package index: what pip sees, what is left out, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from edgeinfer.cli.mirror_server import mirror_server
from edgeinfer.hub.mirror import mirror_app
from edgeinfer.hub.simple_index import HTML, JSON, preferred_type
from edgeinfer.hub.wheel_folder import WheelFolder
from edgeinfer.server.auth.key_file import KeyFile
from edgeinfer.settings import Settings
from edgeinfer.store.store import Store
from tests.support.mirror import serving
from tests.support.raw_http import connected, read_all
from tests.support.wheels import make_wheel, pip

MACHINE = platform.machine()
PYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A package with what it needs, in several versions and for several machines."""
    folder = tmp_path / "wheels"
    make_wheel(folder, "edgeinfer", requires=["Llama.CPP_python>=0.3", "typing-extensions"], script="tool")
    make_wheel(folder, "llama_cpp_python", "0.3.36", f"py3-none-manylinux_2_17_{MACHINE}")
    make_wheel(folder, "llama_cpp_python", "0.3.36", "py3-none-manylinux_2_17_mips64")
    make_wheel(folder, "typing-extensions", "4.9", python=">=3.9,<4")
    make_wheel(folder, "typing-extensions", "5.0", python=">=9")
    return folder


@pytest.fixture
def url(folder: Path, tmp_path: Path) -> Iterator[str]:
    with serving(
        mirror_server(Store(tmp_path / "store"), Settings(port=0), wheels=WheelFolder(folder))
    ) as url:
        yield url


@pytest.mark.slow
def test_pip_installs_a_package_with_what_it_needs(url: str, tmp_path: Path) -> None:
    """The wheels for this machine, and the versions for this Python."""
    target = tmp_path / "installed"
    done = pip("install", "--index-url", f"{url}/simple/", "--target", target, "edgeinfer")
    assert done.returncode == 0, done.stderr
    assert {"edgeinfer-1.0", "llama_cpp_python-0.3.36", "typing_extensions-4.9"} == {
        path.stem for path in target.glob("*.dist-info")
    }
    assert f"manylinux_2_17_{MACHINE}" in (target / "llama_cpp_python.py").read_text()


@pytest.mark.slow
def test_pip_checks_what_it_gets(url: str, folder: Path, tmp_path: Path) -> None:
    """By the sha256 of the index."""
    wheel = folder / "edgeinfer-1.0-py3-none-any.whl"
    want = hashlib.sha256(wheel.read_bytes()).hexdigest()
    requirements = tmp_path / "requirements.txt"
    for digest, status in ((want, 0), ("0" * 64, 1)):
        requirements.write_text(f"edgeinfer==1.0 --hash=sha256:{digest}\n")
        to, index = tmp_path / "downloads", f"{url}/simple/"
        done = pip("download", "--no-deps", "--index-url", index, "--dest", to, "-r", requirements)
        assert (status, status == 1) == (done.returncode, "DO NOT MATCH" in done.stderr), done.stderr


@pytest.mark.slow
def test_a_key_is_pips_password(folder: Path, tmp_path: Path) -> None:
    """In the address or in .netrc; the user's name does not matter. Without a key pip is told 401."""
    keys = tmp_path / "keys"
    keys.write_text("right\n")
    keys.chmod(0o600)
    app = mirror_app(Store(tmp_path / "store"), wheels=WheelFolder(folder), keys=KeyFile(keys))
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login board password right\n")
    netrc.chmod(0o600)
    with serving(app) as url:
        for user, environ, status in (
            ("edgeinfer:right@", {}, 0),
            ("right@", {}, 0),
            ("", {"NETRC": str(netrc)}, 0),
            ("edgeinfer:wrong@", {}, 1),
            ("", {}, 1),
        ):
            index = url.replace("//", f"//{user}") + "/simple/"
            to = tmp_path / "downloads"
            done = pip("download", "--no-deps", "--index-url", index, "--dest", to, "edgeinfer", **environ)
            assert status == done.returncode, (user, done.stderr)


def test_every_address_is_behind_the_key(folder: Path, tmp_path: Path) -> None:
    """Both schemes are understood, nonsense is refused."""
    keys = tmp_path / "keys"
    keys.write_text("right\n")
    keys.chmod(0o600)
    app = mirror_app(Store(tmp_path / "store"), wheels=WheelFolder(folder), keys=KeyFile(keys))
    with serving(app) as url:
        for path in ("/simple/", "/simple/edgeinfer/", "/simple/x", "/wheels/edgeinfer-1.0-py3-none-any.whl"):
            refused = httpx.get(url + path)
            assert (401, True) == (refused.status_code, "Basic" in refused.headers["www-authenticate"])
            assert httpx.get(url + path, auth=("any", "wrong")).status_code == 401
            assert httpx.get(url + path, headers={"authorization": "Basic ???"}).status_code == 401
            assert httpx.get(url + path, headers={"authorization": "Digest right"}).status_code == 401
        assert httpx.get(f"{url}/simple/", auth=("any", "right")).status_code == 200
        assert httpx.get(f"{url}/simple/", headers={"authorization": "Bearer right"}).status_code == 200


def test_the_index_in_both_forms(url: str, folder: Path) -> None:
    """PEP 503's and PEP 691's: hashes, versions of Python and metadata."""
    wheel = folder / "typing_extensions-4.9-py3-none-any.whl"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    page = httpx.get(f"{url}/simple/typing-extensions/")
    assert page.headers["content-type"].startswith("text/html")
    assert f'<a href="/wheels/{wheel.name}#sha256={digest}"' in page.text
    assert 'data-requires-python="&gt;=3.9,&lt;4"' in page.text
    assert '<meta name="pypi:repository-version" content="1.1">' in page.text
    answer = httpx.get(f"{url}/simple/typing-extensions/", headers={"accept": JSON})
    assert (JSON, "Accept") == (answer.headers["content-type"], answer.headers["vary"])
    listing = answer.json()
    assert ("1.1", "typing-extensions") == (listing["meta"]["api-version"], listing["name"])
    assert ["4.9", "5.0"] == listing["versions"]
    [entry] = [entry for entry in listing["files"] if entry["filename"] == wheel.name]
    metadata = httpx.get(f"{url}/wheels/{wheel.name}.metadata")
    assert {
        "filename": wheel.name,
        "url": f"/wheels/{wheel.name}",
        "hashes": {"sha256": digest},
        "size": wheel.stat().st_size,
        "requires-python": ">=3.9,<4",
        "core-metadata": {"sha256": hashlib.sha256(metadata.content).hexdigest()},
    } == entry
    assert "Name: typing-extensions" in metadata.text
    projects = httpx.get(f"{url}/simple/", headers={"accept": JSON}).json()["projects"]
    assert ["edgeinfer", "llama-cpp-python", "typing-extensions"] == [p["name"] for p in projects]
    assert "Wheels for pip: 5, at /simple/" in httpx.get(f"{url}/").text


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "text/html"),
        ("*/*", "text/html"),
        (JSON, JSON),
        (f"{JSON}, {HTML}; q=0.1, text/html; q=0.01", JSON),
        (f"{JSON};q=0.1, {HTML};q=0.5", HTML),
        ("application/vnd.pypi.simple.latest+json", JSON),
        (f"{JSON};q=0, text/html", "text/html"),
        (f"{JSON};q=x", "text/html"),
        ("application/json", "text/html"),
    ],
)
def test_the_form_that_a_client_prefers(accept: str, expected: str) -> None:
    assert expected == preferred_type(accept)


def test_names_of_projects_are_normalized(url: str) -> None:
    """And a slash at the end does not matter."""
    for path in ("/simple", "/simple/edgeinfer", "/simple/Llama_CPP.python", "/simple/Llama_CPP.python/"):
        assert 200 == httpx.get(url + path).status_code, path
    for path in ("/simple/other/", "/simple/-x/", "/simple/%0d%0aX:y", "/simple/@evil.example", "/simple//"):
        assert 404 == httpx.get(url + path).status_code, path


def test_a_wheel_is_downloaded_in_parts(url: str, folder: Path) -> None:
    """By range, with the hash as the ETag, as models are."""
    wheel = folder / "edgeinfer-1.0-py3-none-any.whl"
    data, address = wheel.read_bytes(), f"{url}/wheels/{wheel.name}"
    etag = f'"{hashlib.sha256(data).hexdigest()}"'
    head = httpx.head(address)
    assert (etag, str(len(data)), b"") == (head.headers["etag"], head.headers["content-length"], head.content)
    part = httpx.get(address, headers={"range": "bytes=10-", "if-range": etag})
    assert (206, data[10:]) == (part.status_code, part.content)
    assert data == httpx.get(address, headers={"range": "bytes=10-", "if-range": '"other"'}).content


def test_a_wheel_for_one_cpu_is_not_offered_to_others(tmp_path: Path) -> None:
    """Its tag promises nothing about other machines, where a native llama.cpp would die with SIGILL."""
    folder = tmp_path / "wheels"
    native = make_wheel(folder, "llama_cpp_python", "0.3.36", f"py3-none-linux_{MACHINE}")
    portable = make_wheel(folder, "llama_cpp_python", "0.3.35", f"py3-none-manylinux_2_28_{MACHINE}")
    others, equals = WheelFolder(folder), WheelFolder(folder, same_cpu=True)
    assert {portable.name} == set(others.wheels())
    assert {native.name, portable.name} == set(equals.wheels())
    [left_out] = others.left_out()
    assert (native, True) == (left_out.path, left_out.one_machine)
    with serving(mirror_app(Store(tmp_path / "store"), wheels=others)) as url:
        assert httpx.get(f"{url}/wheels/{native.name}").status_code == 404
        assert httpx.get(f"{url}/wheels/{native.name}.metadata").status_code == 404
        assert native.name not in httpx.get(f"{url}/simple/llama-cpp-python/").text


def test_what_is_no_wheel_is_left_out(url: str, folder: Path, tmp_path: Path) -> None:
    """Half a file, one of another name, a link, a folder, a pipe; the rest is served."""
    whole = make_wheel(tmp_path, "other", size=5000)
    (folder / "half-1.0-py3-none-any.whl").write_bytes(whole.read_bytes()[:3000])
    (folder / "disguised-1.0-py3-none-any.whl").write_bytes(whole.read_bytes())
    (folder / "linked-1.0-py3-none-any.whl").symlink_to(whole)
    (folder / "folder-1.0-py3-none-any.whl").mkdir()
    (folder / "nonsense.whl").write_bytes(whole.read_bytes())
    (folder / "other-1.0.tar.gz").write_bytes(b"x")
    os.mkfifo(folder / "pipe-1.0-py3-none-any.whl")
    served = WheelFolder(folder)
    assert 5 == len(served.wheels())
    assert 6 == len(served.left_out())
    for path in folder.iterdir():
        expected = 200 if path.name in served.wheels() else 404
        assert expected == httpx.get(f"{url}/wheels/{path.name}").status_code, path


def with_metadata(folder: Path, name: str, metadata: bytes) -> Path:
    """Write an archive that has nothing but the metadata of a package; -> its path."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}-1.0.dist-info/METADATA", metadata)
    return path


def test_a_damaged_wheel_does_not_hide_the_others(url: str, folder: Path) -> None:
    """Bits of its metadata, or of what the archive says about them, have changed."""
    path = with_metadata(folder, "damaged", b"Name: damaged\n\n" + b"text " * 999)
    whole = path.read_bytes()
    start = whole.index(b"METADATA") + len("METADATA")
    end = whole.index(b"PK\1\2")
    for damaged in (
        whole[:start] + b"\xff" * 20 + whole[start + 20 :],
        whole[:start] + bytes(20) + whole[start + 20 :],
        whole[: end + 20] + (10).to_bytes(4, "little") + whole[end + 24 :],
    ):
        path.write_bytes(damaged)
        assert [path] == [one.path for one in WheelFolder(folder).left_out()]
        assert "edgeinfer" in httpx.get(f"{url}/simple/").raise_for_status().text


def test_metadata_may_be_in_any_script(url: str, folder: Path) -> None:
    with_metadata(folder, "odd", "Name: odd\nRequires-Python: >=3é\n".encode())
    with_metadata(folder, "wrong", "Name: wröng\n".encode())
    assert 'data-requires-python="&gt;=3é"' in httpx.get(f"{url}/simple/odd/").text
    assert "wrong" not in httpx.get(f"{url}/simple/").raise_for_status().text


def test_a_name_that_no_address_can_have_is_left_out(url: str, folder: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "odd")
    shutil.copy(wheel, folder / os.fsdecode(b"odd-1.0-py3-none-any\xff.whl"))
    shutil.copy(wheel, folder / "odd-1.0-py3-none-any\n.whl")
    assert 2 == len(WheelFolder(folder).left_out())
    assert "edgeinfer" in httpx.get(f"{url}/simple/").raise_for_status().text
    assert 404 == httpx.get(f"{url}/simple/odd/").status_code


def test_the_folder_may_change_while_it_is_served(url: str, folder: Path) -> None:
    """A wheel that comes, goes or is replaced: the next request knows, and the hash is always that of the file."""
    added = make_wheel(folder, "another")
    index = f"{url}/simple/another/"
    assert hashlib.sha256(added.read_bytes()).hexdigest() in httpx.get(index).text
    make_wheel(folder, "another", size=100)
    assert hashlib.sha256(added.read_bytes()).hexdigest() in httpx.get(index).text
    added.unlink()
    assert 404 == httpx.get(index).status_code
    assert 404 == httpx.get(f"{url}/wheels/{added.name}").status_code


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(url: str, folder: Path, method: str) -> None:
    for path in ("/simple/", "/simple/edgeinfer/", "/wheels/edgeinfer-1.0-py3-none-any.whl"):
        assert 405 == httpx.request(method, url + path).status_code
    assert 5 == len(WheelFolder(folder).wheels())


HOSTILE = [
    "/wheels/../secret.whl",
    "/wheels/%2e%2e/secret.whl",
    "/wheels/..%2fsecret.whl",
    "/wheels/..%5csecret.whl",
    "/wheels/%2fetc%2fpasswd",
    "/wheels//etc/passwd",
    "/wheels/edgeinfer-1.0-py3-none-any.whl%00",
    "/wheels/edgeinfer-1.0-py3-none-any.whl.metadata.metadata",
    "/wheels/../wheels/secret-1.0-py3-none-any.whl",
    "/wheels/",
    "/simple/../wheels/",
    "/simple/..%2f/",
    "/simple/%2e%2e/",
    "/simple/edgeinfer/../../x",
]


def test_hostile_paths_find_nothing(url: str, folder: Path) -> None:
    """As they are, over a socket: a client would tidy them up."""
    secret = make_wheel(folder.parent, "secret")
    secret.rename(folder.parent / "secret.whl")
    for target in HOSTILE:
        with connected(int(url.rpartition(":")[2])) as sock:
            sock.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = read_all(sock)
        assert re.match(rb"HTTP/1.1 404 ", answer), target
        assert b"PK" not in answer


def test_a_mirror_without_wheels_has_no_index(tmp_path: Path) -> None:
    with serving(mirror_app(Store(tmp_path / "store"))) as url:
        assert 404 == httpx.get(f"{url}/simple/").status_code


def test_errors_are_json(url: str) -> None:
    assert {"error": "not in this mirror"} == json.loads(httpx.get(f"{url}/simple/other/").content)
