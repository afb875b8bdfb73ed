"""Whether the processes that handle model files and requests are confined, and by what."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from edgeinfer.doctor.finding import Finding
from edgeinfer.ipc.confinement.confinement import Confinement

CHECK = "confinement"

INSTALL = "install libseccomp: sudo apt install libseccomp2, sudo dnf install libseccomp, or sudo apk add libseccomp"
READ = "docs/security.md, Confinement, says what each layer does"


def enabled_modules(root: Path = Path("/")) -> str | None:
    """Return the kernel's security modules, "capability,landlock,yama"; None if it does not tell."""
    try:
        return (root / "sys/kernel/security/lsm").read_text().strip()
    except OSError:
        return None


def check_confinement(
    layers: Confinement, modules: str | None, daemon: str | None, platform: str = sys.platform
) -> list[Finding]:
    """Check the layers.

    Args:
        layers: those that hold for a process of this user.
        modules: the kernel's security modules.
        daemon: those of the running daemon's worker, in its words; its service may allow more or less.
    """
    if platform != "linux":
        text = "this system has no means to confine processes: those that handle model files are only apart"
        return [Finding(CHECK, "note", text, "run model files that you do not trust on Linux")]
    found = list(_missing(layers, modules))
    if daemon is not None:
        off = daemon.startswith(str(Confinement()))
        text, fix = f"the running worker: {daemon}", "confine = true in the settings, if that is why"
        found.append(Finding(CHECK, "warning", text, fix) if off else Finding(CHECK, "ok", text))
    return found or [Finding(CHECK, "ok", str(layers))]


def _missing(layers: Confinement, modules: str | None) -> Iterator[Finding]:
    reasons = {reason.partition(":")[0]: reason.partition(": ")[2] for reason in layers.missing}
    if not layers.seccomp:
        reason = reasons.get("seccomp", "unknown")
        text = f"no filter of system calls confines code that a model file brings: {reason}"
        yield Finding(CHECK, "warning", text, INSTALL if "libseccomp" in reason else READ)
    if not layers.landlock:
        text = "a worker that a model file takes over can read the files of the daemon's user: this kernel has no Landlock"
        yield Finding(CHECK, "note", text, _landlock_fix(modules))
    if not layers.network:
        yield Finding(CHECK, "warning", "code that a model file brings can reach the network", READ)


def _landlock_fix(modules: str | None) -> str:
    if modules and "landlock" not in modules.split(","):
        return (
            f"if the kernel has it (Linux 5.13), add lsm=landlock,{modules} to its command line, and reboot"
        )
    return "a kernel with Landlock: Linux 5.13 or later, where the distribution has enabled it"
