"""Installs edgeinfer and its models from the bundle that this file lies in; `install` runs it and says more.

It needs nothing but Python's standard library, not even pip or ensurepip. Until everything has been installed and has
run once, the release that was there before stays the current one.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from bundle import FOLDER, PYTHON, Bundle, InstallError, Model, check_machine, check_wheels, read_bundle
from releases import Releases

ROOT_PREFIX, ROOT_COMMAND = Path("/opt/edgeinfer"), Path("/usr/local/bin/edgeinfer")
SPARE_BYTES = 64 << 20
"""Left free for the system."""

ILLEGAL_INSTRUCTION = -signal.SIGILL


def main() -> None:
    parser = argparse.ArgumentParser("./install", allow_abbrev=False, description="Install edgeinfer.")
    parser.add_argument("--prefix", type=Path, help="folder to install in; no command is put on the PATH")
    prefix = parser.parse_args().prefix
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    os.umask(0o022)  # the service has a user of its own
    try:
        install(prefix)
    except InstallError as e:
        fail(str(e), e.hint)
    except PermissionError as e:
        fail(f"{e.filename}: {e.strerror}", "sudo ./install, or as this user: ./install --prefix DIR")
    except OSError as e:
        fail(f"{e.filename}: {e.strerror}")
    except KeyboardInterrupt:
        fail("stopped; nothing has changed")


def install(prefix: Path | None) -> None:
    bundle = read_bundle()
    check_machine(bundle)
    is_root = os.geteuid() == 0
    own = ROOT_PREFIX if is_root else Path.home() / ".local/lib/edgeinfer"
    releases = Releases(expanded(prefix).resolve() if prefix else own)
    with releases.lock():
        before = releases.current
        if before and before.name.startswith(bundle.release) and works(before):
            say(f"edgeinfer {bundle.version} of this bundle is installed already")
            import_models(before, bundle)
        else:
            check_wheels(bundle)
            check_space(bundle, releases.prefix)
            with releases.new(bundle.release) as release:
                make_environment(release, bundle)
                try_out(release)
                import_models(release, bundle)
            say(f"edgeinfer {bundle.version} is installed in {releases.prefix}")
        command = "edgeinfer"
        if prefix:
            command = shlex.quote(str(releases.prefix / "current/bin/edgeinfer"))
        else:
            say(releases.link_command(ROOT_COMMAND if is_root else Path.home() / ".local/bin/edgeinfer"))
        if not upgrade_service(releases, is_root):
            say_next(command, bundle.models, is_root)
        releases.remove_others(keep=before)


def check_space(bundle: Bundle, prefix: Path) -> None:
    """Raise InstallError if the disks have too little space for the programs and models."""
    store = store_folder()
    models = sum(model.size for model in bundle.models if not is_present(model, store))
    needed: dict[int, tuple[Path, int]] = {}
    for folder, size in ((prefix, bundle.unpacked), (store, models)):
        while not folder.exists():
            folder = folder.parent
        device = folder.stat().st_dev
        needed[device] = (folder, needed.get(device, (folder, 0))[1] + size)
    for folder, size in needed.values():
        free = shutil.disk_usage(folder).free
        if size and free < size + SPARE_BYTES:
            message = (
                f"{megabytes(size + SPARE_BYTES)} are needed in {folder}, and {megabytes(free)} are free"
            )
            raise InstallError(message, "free some space; EDGEINFER_STORE names another place for models")


def make_environment(release: Path, bundle: Bundle) -> None:
    """Make a virtual environment with the bundle's packages. pip runs from its own wheel."""
    say(f"installing {len(bundle.wheels)} packages for Python {PYTHON} ...")
    run(
        [sys.executable, "-E", "-s", "-m", "venv", "--without-pip", str(release)],
        "python has no usable venv module",
    )
    temporary = release / "tmp"  # /tmp is memory on small boards
    temporary.mkdir()
    pip = [
        str(release / "bin/python"),
        "-E",
        "-s",
        str(bundle.pip / "pip"),
        "--disable-pip-version-check",
        "install",
    ]
    options = [
        "--no-index",
        "--no-deps",
        "--no-cache-dir",
        "--no-input",
        "--no-warn-script-location",
        "--quiet",
    ]
    run([*pip, *options, *map(str, bundle.wheels)], "the packages cannot be installed", TMPDIR=str(temporary))
    shutil.rmtree(temporary)


def try_out(release: Path) -> None:
    """Run the installed program and load llama.cpp once.

    Raises:
        InstallError: one of them fails.
    """
    run([str(release / "bin/edgeinfer"), "--version"], "edgeinfer does not start")
    run(
        [str(release / "bin/python"), "-m", "edgeinfer.backends.llama_cpp.binding.build"],
        "llama.cpp cannot be loaded",
    )


def import_models(release: Path, bundle: Bundle) -> None:
    """Copy the bundle's models into the store, where edgeinfer verifies them; those that are there stay."""
    if bundle.models:
        say("copying models ...")
        command = [str(release / "bin/edgeinfer"), "models", "import", str(FOLDER / "store")]
        if subprocess.run(command, check=False, stdout=sys.stderr).returncode:
            raise InstallError("the models cannot be copied; nothing else has changed")


def upgrade_service(releases: Releases, is_root: bool) -> bool:
    """Let a service that runs one of these releases run the current one; return whether there is such a service.

    Raises:
        InstallError: it does not start with this release, and runs the one before again.
    """
    program, scope = (
        str((releases.prefix / "current").resolve() / "bin/edgeinfer"),
        "system" if is_root else "user",
    )
    if not ask(program, "service", "status").get("installed"):
        return False
    command = [program, "service", "install", f"--{scope}"]
    files = ask(*command, "--dry-run").get("files", [])
    if not any(str(releases.prefix) in read(Path(file["path"])) for file in files):
        return False
    if any(file["new"] for file in files):
        say("upgrading the service ...")
        if subprocess.run(command, check=False, stdout=sys.stderr).returncode:
            hint = "edgeinfer doctor; then: edgeinfer service install"
            raise InstallError("this release is installed, but the service still runs the one before", hint)
    return True


def read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def ask(*command: str) -> dict[str, Any]:
    """Return what a command prints as JSON; nothing if it prints something else."""
    done = subprocess.run([*command, "--json"], check=False, capture_output=True, text=True)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def say_next(command: str, models: Sequence[Model], is_root: bool) -> None:
    model = f"{models[0].name}:{models[0].quant}" if models else "edgeinfer-nano"
    sudo = "sudo " if is_root and os.environ.get("SUDO_USER") else ""
    say(f"next, to run it as a service: {sudo}{command} install --offline --model {model}")
    say(f"or try it: {command} chat --model {model} Hello")


def works(release: Path) -> bool:
    try:
        try_out(release)
    except InstallError:
        return False
    return True


def expanded(path: Path) -> Path:
    """Return a path with its ~ replaced. Raises InstallError if it is the home of nobody."""
    try:
        return path.expanduser()
    except RuntimeError as e:
        raise InstallError(f"{path}: there is no user {path.parts[0][1:]!r}", f"./{path}") from e


def store_folder() -> Path:
    """Return where edgeinfer keeps models."""
    if configured := os.environ.get("EDGEINFER_STORE"):
        return expanded(Path(configured)).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/edgeinfer")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "edgeinfer"


def is_present(model: Model, store: Path) -> bool:
    try:
        record = json.loads((store / "records" / f"{model.name}@{model.quant}.json").read_text())
        return bool(record["sha256"] == model.sha256)
    except (OSError, ValueError, KeyError):
        return False


def run(command: list[str], problem: str, **environ: str) -> None:
    """Run a command without this shell's settings of pip and Python.

    Raises:
        InstallError: it fails; the message has the end of its output.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON"))}
    done = subprocess.run(
        command,
        env=inherited | {"PIP_CONFIG_FILE": os.devnull} | environ,
        cwd="/",  # Python imports from the folder that it runs in
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()][-5:]
        raise InstallError("\n  ".join([f"{problem}:", *lines]), hint_for(done.returncode, done.stdout))


def hint_for(status: int, output: str) -> str:
    if status == ILLEGAL_INSTRUCTION:
        return "the bundle's llama.cpp is for another CPU; scripts/bundle without --llama makes one for every CPU"
    if "libgomp" in output:
        return "install the system's package libgomp1 (Debian, Ubuntu) or libgomp (Fedora)"
    if "No module named venv" in output:
        return f"install the system's whole Python: on Debian and Ubuntu libpython{PYTHON}-stdlib"
    if "No space left" in output:
        return "free some space"
    return "edgeinfer and what was installed before are unchanged"


def megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def fail(problem: str, hint: str = "") -> NoReturn:
    say(f"error: {problem}")
    if hint:
        say(f"hint: {hint}")
    sys.exit(1)


if __name__ == "__main__":
    main()
