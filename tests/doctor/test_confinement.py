"""What doctor says about the confinement of processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.doctor.confinement import check_confinement, enabled_modules
from edgeinfer.ipc.confinement.confinement import Confinement
from edgeinfer.ipc.confinement.landlock import landlock_version
from edgeinfer.ipc.confinement.probe import probe_confinement

ALL = Confinement(landlock=7, seccomp=True, namespaces=True)
MODULES = "capability,landlock,yama"


def findings(
    layers: Confinement, modules: str | None = MODULES, daemon: str | None = None
) -> list[tuple[str, str, str]]:
    found = check_confinement(layers, modules, daemon, "linux")
    return [(finding.level, finding.text, finding.fix or "") for finding in found]


def test_layers_that_hold_are_named() -> None:
    """Those here, or those of the daemon's worker."""
    assert findings(ALL) == [("ok", "Landlock 7, seccomp, network namespace", "")]
    assert findings(ALL, daemon="Landlock 7, seccomp") == [
        ("ok", "the running worker: Landlock 7, seccomp", "")
    ]


def test_a_worker_that_is_not_confined_is_told() -> None:
    """By a setting, or because its service's sandbox forbids it."""
    off = str(Confinement(missing=("confinement: the setting confine is off",)))
    [(level, text, fix)] = findings(ALL, daemon=off)
    assert (level, "confine = true" in fix) == ("warning", True)
    assert "the setting confine is off" in text


@pytest.mark.parametrize(
    ("layers", "modules", "level", "text", "fix"),
    [
        (
            Confinement(landlock=4, missing=("seccomp: libseccomp.so.2 is not installed",)),
            MODULES,
            "warning",
            "libseccomp.so.2 is not installed",
            "sudo apt install libseccomp2",
        ),
        (Confinement(seccomp=True), "capability,yama", "note", "no Landlock", "lsm=landlock,capability,yama"),
        (Confinement(seccomp=True), None, "note", "no Landlock", "Linux 5.13"),
        (
            Confinement(landlock=3, missing=("seccomp: x",)),
            MODULES,
            "warning",
            "can reach the network",
            "security.md",
        ),
    ],
)
def test_layers_that_are_missing_are_told_with_their_fix(
    layers: Confinement, modules: str | None, level: str, text: str, fix: str
) -> None:
    """And with what that allows."""
    assert any(
        (level, True, True) == (found, text in words, fix in help)
        for found, words, help in findings(layers, modules)
    )


def test_other_systems_have_none() -> None:
    """As macOS."""
    [finding] = check_confinement(Confinement(), None, None, "darwin")
    assert finding.level == "note"


def test_the_probe_says_what_holds_here() -> None:
    """It really confines a process."""
    assert probe_confinement().landlock == landlock_version()


def test_modules_are_read_from_the_kernel(tmp_path: Path) -> None:
    """Where it tells them."""
    assert enabled_modules(tmp_path) is None
    (tmp_path / "sys/kernel/security").mkdir(parents=True)
    (tmp_path / "sys/kernel/security/lsm").write_text(MODULES)
    assert enabled_modules(tmp_path) == MODULES
