"""Packs wheels, models and an installer into one archive; scripts/bundle runs it and says more."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import parse_wheel_filename
from pins import PYTHONS
from wheelhouse import add_options, fail, fill, run_main, say

from edgeinfer import __version__
from edgeinfer.errors import EdgeinferError
from edgeinfer.settings import load as load_settings
from edgeinfer.store.disk import files_below, sha256_of
from edgeinfer.store.lookup import recorded_models
from edgeinfer.store.model_copy import copy_model
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel
from edgeinfer.user_folders import cache_folder

INSTALLER = Path(__file__).parent / "installer"
COMPILED_SHARE = 0.4
"""Share of a wheel's size that compiled Python adds, at most."""


def main() -> None:
    parser = argparse.ArgumentParser("scripts/bundle", add_help=False, allow_abbrev=False)
    add_options(parser)
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--wheels", type=Path, default=cache_folder() / "wheelhouse")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    name = f"edgeinfer-{__version__}-{options.target}"
    output = options.output or Path(f"{name}.tar")
    if not output.parent.is_dir():
        fail(f"there is no folder {output.parent}", "make it, or name another --output")
    models = find_models(options.model)
    wheels = fill(options.wheels, options.target, options.python or PYTHONS, options.llama)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".bundle-") as work:
        folder = Path(work, name)
        put_together(folder, options.target, options.wheels, wheels, models)
        pack(folder, output)
    say(f"{output}: {output.stat().st_size / 1e6:.0f} MB, sha256 {sha256_of(output)}")
    say(f"on the other machine: tar xf {output.name} && sudo {name}/install")


def find_models(names: Sequence[str]) -> list[StoredModel]:
    """Find models in this machine's store; the newest quantization, if a name has none."""
    store = Store.of(load_settings().settings)
    found = []
    for name in names:
        try:
            installed = [m for m in recorded_models(name, store) if m in store.installed()]
        except EdgeinferError as e:
            fail(e.message, e.hint or "")
        if not installed:
            fail(f"{name} is not installed here", f"edgeinfer pull {name}")
        found.append(installed[-1])
    return found


def put_together(
    folder: Path,
    machine: str,
    wheels_folder: Path,
    wheels: Mapping[str, Sequence[str]],
    models: Iterable[StoredModel],
) -> None:
    """Fill the folder that is packed."""
    names = sorted({name for some in wheels.values() for name in some})
    (folder / "wheels").mkdir(parents=True)
    for name in names:
        shutil.copyfile(wheels_folder / name, folder / "wheels" / name)
    shutil.copytree(INSTALLER, folder / "installer", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "installer/install").rename(folder / "install")
    (folder / "installer/pythons").write_text("".join(f"{python}\n" for python in wheels))
    copied = []
    for model in models:
        say(f"copying {model.name}:{model.quant} ...")
        try:
            copied.append(copy_model(model, Store(folder / "store")))
        except EdgeinferError as e:
            fail(e.message, e.hint or "")
    shutil.rmtree(folder / "store/locks", ignore_errors=True)
    shutil.rmtree(folder / "store/incoming", ignore_errors=True)
    contents = description(machine, folder / "wheels", wheels, copied)
    (folder / "bundle.json").write_text(json.dumps(contents, indent=1) + "\n")
    files = sorted(path.relative_to(folder) for path in files_below(folder))
    sums = "".join(f"{sha256_of(folder / path)}  {path}\n" for path in files)
    (folder / "SHA256SUMS").write_text(sums)


def description(
    machine: str, folder: Path, wheels: Mapping[str, Sequence[str]], models: Iterable[StoredModel]
) -> dict[str, Any]:
    """Return what the installer wants to know."""
    return {
        "version": __version__,
        "machine": machine,
        "glibc": [2, max(glibc_minor(name) for some in wheels.values() for name in some)],
        "pythons": {
            python: {"wheels": list(names), "unpacked": sum(unpacked_size(folder / name) for name in names)}
            for python, names in wheels.items()
        },
        "models": [{"name": m.name, "quant": m.quant, "size": m.size, "sha256": m.sha256} for m in models],
    }


def glibc_minor(wheel: str) -> int:
    """Return the minor version of glibc 2 that a wheel needs, as far as its name tells."""
    platforms = {tag.platform for tag in parse_wheel_filename(wheel)[3]}
    minors = [int(m[1]) for name in platforms if (m := re.match(r"manylinux_2_(\d+)_", name))]
    return min(minors, default=0)


def unpacked_size(wheel: Path) -> int:
    with zipfile.ZipFile(wheel) as archive:
        return int(sum(info.file_size for info in archive.infolist()) * (1 + COMPILED_SHARE))


def pack(folder: Path, output: Path) -> None:
    """Write the archive, the same one for the same contents."""
    part = output.with_name(f"{output.name}.part")
    with tarfile.open(part, "w") as archive:
        for path in sorted([folder, *folder.rglob("*")]):
            info = archive.gettarinfo(path, str(path.relative_to(folder.parent)))
            executable = info.isdir() or path.name == "install"
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = ""
            info.mode = 0o755 if executable else 0o644
            if info.isdir():
                archive.addfile(info)
            else:
                with path.open("rb") as file:
                    archive.addfile(info, file)
    part.replace(output)


if __name__ == "__main__":
    run_main(main)
