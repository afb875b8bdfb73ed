"""Makes a wheel of llama.cpp one for other machines: only what is loaded there, under the name of their platform.

Usage: portable_wheel.py WHEEL DIRECTORY ARCHITECTURE OPENMP

Writes into DIRECTORY a wheel with the Python modules, the libraries that are loaded, and OPENMP, the file of the
compiler's OpenMP library. The name says which glibc is the oldest that has all the symbols these use. `readelf` must
be there, as it is beside every compiler.
"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

LIBRARIES = "llama_cpp/lib/"

SYSTEM = re.compile(r"(libc|libm|libdl|librt|libpthread|libgcc_s)\.so\.\d|ld-linux-.*")
"""Libraries of glibc, and the one that it needs itself: every machine has them."""

LICENCE = Path("/usr/share/doc/libgomp1/copyright")
"""Of the OpenMP library, where Debian has it."""


def main(source: str, directory: str, architecture: str, openmp: str) -> None:
    with tempfile.TemporaryDirectory(dir=directory) as folder, zipfile.ZipFile(source) as wheel:
        wheel.extractall(folder)
        root = Path(folder)
        libraries = root / LIBRARIES
        (libraries / "libgomp.so.1").write_bytes(Path(openmp).read_bytes())
        loaded = closure(
            libraries, ["libllama.so", *(file.name for file in libraries.glob("libggml-cpu-*.so"))]
        )
        glibc = max(map(newest_glibc, loaded))
        tag = f"py3-none-manylinux_{glibc[0]}_{glibc[1]}_{architecture}"
        (info,) = root.glob("*.dist-info")
        (info / "WHEEL").write_text(tagged((info / "WHEEL").read_text(), tag))
        (info / "RECORD").unlink()
        (info / "licenses").mkdir(exist_ok=True)
        kept = {*loaded, *info.rglob("*"), *(root / "llama_cpp").rglob("*.py"), root / "llama_cpp/py.typed"}
        if LICENCE.exists():
            (info / "licenses/LICENSE-libgomp").write_bytes(LICENCE.read_bytes())
            kept.add(info / "licenses/LICENSE-libgomp")
        name, version = info.name.removesuffix(".dist-info").split("-")
        target = Path(directory) / f"{name}-{version}-{tag}.whl"
        write_wheel(target, root, sorted(file for file in kept if file.is_file()), info.name)


def closure(directory: Path, names: Iterable[str]) -> set[Path]:
    """Return the libraries of a directory that are loaded with those named.

    Raises:
        SystemExit: one needs a library that is neither there nor in glibc.
    """
    found: set[Path] = set()
    waiting = list(names)
    while waiting:
        file = directory / waiting.pop()
        if file not in found:
            found.add(file)
            waiting += [name for name in needed(file) if not SYSTEM.fullmatch(name)]
    if missing := sorted(file.name for file in found if not file.is_file()):
        raise SystemExit(f"error: the wheel lacks {', '.join(missing)}, on which llama.cpp depends")
    return found


def needed(file: Path) -> Iterator[str]:
    yield from re.findall(r"\(NEEDED\).*\[(.+)\]", readelf("-d", file)) if file.is_file() else ()


def newest_glibc(file: Path) -> tuple[int, ...]:
    """Return the version of glibc that has the newest symbol a library uses."""
    return max(
        tuple(map(int, version.split(".")))
        for version in re.findall(r"GLIBC_(\d+\.\d+)", readelf("-V", file))
    )


def readelf(option: str, file: Path) -> str:
    return subprocess.run(
        ["readelf", "-W", option, file],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin"},
    ).stdout


def tagged(text: str, tag: str) -> str:
    """Return the text of a WHEEL file with one tag instead of those it has."""
    lines = [line for line in text.splitlines() if line and not line.startswith("Tag:")]
    return "\n".join([*lines, f"Tag: {tag}"]) + "\n"


def write_wheel(target: Path, root: Path, files: list[Path], info: str) -> None:
    """Write the files, and a RECORD of them, each with the same date: the same files give the same wheel."""
    record = ""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file in files:
            name, content = str(file.relative_to(root)), file.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(content)}\n"
            wheel.writestr(entry(name), content)
        wheel.writestr(entry(f"{info}/RECORD"), f"{record}{info}/RECORD,,\n")


def entry(name: str) -> zipfile.ZipInfo:
    result = zipfile.ZipInfo(name)
    result.compress_type = zipfile.ZIP_DEFLATED
    result.external_attr = 0o644 << 16
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
