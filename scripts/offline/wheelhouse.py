"""Fills a folder with every wheel that another machine needs; scripts/wheelhouse runs it and says more.

It runs before anything is installed, so it needs nothing but pip and packaging.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from pins import PYTHONS, REQUIREMENTS, ROOT, TARGETS, Pin, Target, base_pins, build_pins

ONE_MACHINE = "linux_"
"""Begins the platform of a llama.cpp that was built for one CPU."""


def main() -> None:
    parser = argparse.ArgumentParser("scripts/wheelhouse", add_help=False, allow_abbrev=False)
    add_options(parser)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("--output", type=Path, default=cache / "edgeinfer/wheelhouse")
    options = parser.parse_args()
    pythons = options.python or PYTHONS
    wheels = fill(options.output, options.target, pythons, options.llama)
    names = {name for some in wheels.values() for name in some}
    for python in pythons:  # scripts/setup builds edgeinfer's package in its checkout
        target = Target(options.target, python)
        names.update(download_pins(options.output, build_pins(target), target))
    size = sum((options.output / name).stat().st_size for name in names)
    say(f"{len(names)} wheels, {size / 1e6:.0f} MB, in {options.output}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that bundles have too."""
    machine = platform.machine()
    default = machine if machine in TARGETS else None
    parser.add_argument("--target", choices=TARGETS, default=default, required=default is None)
    parser.add_argument("--python", choices=PYTHONS, action="append")
    parser.add_argument("--llama", type=Path)


def fill(folder: Path, machine: str, pythons: Sequence[str], llama: Path | None) -> dict[str, list[str]]:
    """Bring the wheels for a machine into `folder`; return the names of those that each Python needs."""
    folder.mkdir(parents=True, exist_ok=True)
    own = [add_llama(folder, machine, llama), build_edgeinfer(folder)]
    wheels = {}
    for python in sorted(set(pythons), key=PYTHONS.index):
        target = Target(machine, python)
        pins = [*base_pins(target), *(pin for pin in build_pins(target) if pin.name == "pip")]
        wheels[python] = sorted([*own, *download_pins(folder, pins, target)])
    return wheels


def build_edgeinfer(folder: Path) -> str:
    """Build edgeinfer's wheel, in the place of older ones; return its name."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        tools = {name: str(REQUIREMENTS / "build.txt") for name in ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT")}
        run_pip("building edgeinfer", "wheel", "--no-deps", "--wheel-dir", work, str(ROOT), **tools)
        [wheel] = Path(work).glob("edgeinfer-*.whl")
        return put(wheel, folder)


def add_llama(folder: Path, machine: str, wheel: Path | None) -> str:
    """Put llama.cpp's wheel into the folder, in the place of older ones for that machine; return its name."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        if wheel is None:
            say(f"llama.cpp for {machine} ...")
            command = [str(ROOT / "scripts/build-wheel"), "--target", machine, "--output", work]
            if subprocess.run(command, check=False).returncode:
                fail(
                    "llama.cpp could not be built",
                    "scripts/wheelhouse --llama WHEEL takes one that is built already",
                )
            [wheel] = Path(work).glob("llama_cpp_python-*.whl")
        if not wheel.is_file():
            fail(f"there is no {wheel}")
        if machines_of(wheel) != {machine}:
            fail(f"{wheel.name} is not for {machine}")
        if any(name.startswith(ONE_MACHINE) for name in platforms_of(wheel)):
            say(f"note: {wheel.name} is for the CPU that built it, and others like it")
        return put(wheel, folder)


def platforms_of(wheel: Path) -> set[str]:
    try:
        return {tag.platform for tag in parse_wheel_filename(wheel.name)[3]}
    except InvalidWheelFilename as e:
        fail(str(e))


def machines_of(wheel: Path) -> set[str]:
    """Return the targets that a wheel is for; none if it is for all."""
    return {machine for machine in TARGETS for name in platforms_of(wheel) if name.endswith(machine)}


def put(wheel: Path, folder: Path) -> str:
    """Copy a wheel of ours into the folder, and remove other versions of it for the same machines."""
    part = folder / f"{wheel.name}.part"
    shutil.copyfile(wheel, part)
    for path in folder.glob(f"{wheel.name.partition('-')[0]}-*.whl"):
        if machines_of(path) == machines_of(wheel):
            path.unlink()
    part.replace(folder / wheel.name)
    return wheel.name


def download_pins(folder: Path, pins: Sequence[Pin], target: Target) -> list[str]:
    """Download what the folder lacks of some pins for a target; return the names of all their wheels."""
    missing = [pin for pin in pins if find_wheel(folder, pin, target) is None]
    for some in ([pin for pin in missing if pin.hashes], [pin for pin in missing if not pin.hashes]):
        if some:  # pip takes hashes for all or for none
            download(folder, some, target)
    found = {pin: find_wheel(folder, pin, target) for pin in pins}
    if lacking := [pin.name for pin, name in found.items() if name is None]:
        fail(f"pip has downloaded no usable wheel of {', '.join(lacking)}")
    return [name for name in found.values() if name]


def download(folder: Path, pins: Sequence[Pin], target: Target) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as work:
        requirements = Path(work, "requirements.txt")
        requirements.write_text("".join(f"{pin.line}\n" for pin in pins))
        run_pip(
            f"downloading {len(pins)} package{'' if len(pins) == 1 else 's'} for Python {target.python} on {target.machine}",
            *("download", "--no-deps", "--only-binary", ":all:", "--dest", work),
            *("--implementation", "cp", "--python-version", target.python),
            *(word for platform in target.platforms for word in ("--platform", platform)),
            *("--requirement", str(requirements)),
        )
        for wheel in Path(work).glob("*.whl"):
            wheel.replace(folder / wheel.name)


def find_wheel(folder: Path, pin: Pin, target: Target) -> str | None:
    """Return the name of the folder's wheel for a pin that runs on the target and has one of the hashes."""
    for path in sorted(folder.glob("*.whl")):
        try:
            project, version, _, tags = parse_wheel_filename(path.name)
        except InvalidWheelFilename:  # another file of the user's
            continue
        if (project, str(version)) != (pin.name, pin.version) or not tags & target.tags:
            continue
        if not pin.hashes or hashlib.sha256(path.read_bytes()).hexdigest() in pin.hashes:
            return path.name
    return None


def run_pip(what: str, *arguments: str, **environ: str) -> None:
    """Run pip quietly; if it fails, show what it said and end."""
    say(f"{what} ...")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write("".join(f"{line}\n" for line in (done.stdout + done.stderr).splitlines()[-20:]))
        fail(f"{what} failed", f"is the network up? the command: {shlex.join(command)}")


def run_main(main: Callable[[], None]) -> None:
    """Run a script, and report what the system refuses."""
    try:
        main()
    except OSError as e:
        fail(f"{e.filename}: {e.strerror}" if e.filename else str(e))
    except KeyboardInterrupt:
        sys.exit(130)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def fail(problem: str, *hints: str) -> NoReturn:
    say(f"error: {problem}")
    for hint in hints:
        say(f"hint: {hint}")
    sys.exit(1)


if __name__ == "__main__":
    run_main(main)
