"""The installer in a bundle: where it refuses, and that what is installed is whole or as it was before."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest

from tests.support.bundles import PYTHON, install, make_bundle

OTHER_MACHINE = "aarch64" if platform.machine() == "x86_64" else "x86_64"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "opt"


@pytest.mark.parametrize(
    ("changes", "problem", "hint"),
    [
        ({"machine": OTHER_MACHINE}, f"this bundle is for {OTHER_MACHINE}", "scripts/bundle --target"),
        ({"glibc": [2, 99]}, "edgeinfer needs 2.99", "upgrade the system"),
        (
            {"pythons": {PYTHON: {"wheels": [], "unpacked": 10**15}}},
            " MB are needed in ",
            "free some space",
        ),
        (
            {"pythons": {PYTHON: {"wheels": ["gone-1.0-py3-none-any.whl"], "unpacked": 1}}},
            "gone-1.0-py3-none-any.whl: No such file",
            "extract the archive again",
        ),
    ],
)
def test_a_machine_that_does_not_suit_is_told_why(
    tmp_path: Path, prefix: Path, changes: dict[str, Any], problem: str, hint: str
) -> None:
    """Before anything is written but the folder."""
    done = install(make_bundle(tmp_path / "bundle", **changes), tmp_path / "home", "--prefix", prefix)
    assert 1 == done.returncode
    assert f"error: {problem}" in done.stderr or problem in done.stderr.partition("hint:")[0]
    assert hint in done.stderr.partition("hint:")[2]
    assert "Traceback" not in done.stderr
    assert not (prefix / "current").exists()
    assert [] == list(prefix.glob("releases/*"))


def test_a_python_that_the_bundle_is_not_for(tmp_path: Path, prefix: Path) -> None:
    """What it needs, what there is, and what to do."""
    bundle = make_bundle(tmp_path / "bundle")
    (bundle / "installer/pythons").write_text("3.5\n3.6\n")
    done = install(bundle, tmp_path / "home", "--prefix", prefix)
    assert 1 == done.returncode
    assert "needs one of these Pythons: 3.5\n3.6" in done.stderr
    assert f"is Python {PYTHON};" in done.stderr
    assert "scripts/bundle --python VERSION" in done.stderr
    missing = install(bundle, tmp_path / "home", "--prefix", prefix, PYTHON="/nowhere/python")
    assert (1, True) == (missing.returncode, "found: none" in missing.stderr)


def test_a_damaged_wheel_is_found(tmp_path: Path, prefix: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    wheel = bundle / "wheels/edgeinfer-1.0-py3-none-any.whl"
    data = bytearray(wheel.read_bytes())
    data[100] ^= 1
    wheel.write_bytes(data)
    done = install(bundle, tmp_path / "home", "--prefix", prefix)
    assert (1, True) == (done.returncode, f"error: {wheel} is damaged" in done.stderr)
    assert "copy the archive to this machine again" in done.stderr
    assert not (prefix / "current").exists()


def test_half_a_bundle_is_found(tmp_path: Path, prefix: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    (bundle / "SHA256SUMS").unlink()
    done = install(bundle, tmp_path / "home", "--prefix", prefix)
    assert (1, True) == (done.returncode, "error: this bundle is not complete" in done.stderr)


@pytest.mark.parametrize("text", ["{}", "[]", '{"pythons": {}}', '{"version": "'])
def test_a_damaged_description_is_found(tmp_path: Path, prefix: Path, text: str) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    (bundle / "bundle.json").write_text(text)
    done = install(bundle, tmp_path / "home", "--prefix", prefix)
    assert 1 == done.returncode
    assert "hint: extract the archive again" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_description_that_is_not_the_archives_is_found(tmp_path: Path, prefix: Path) -> None:
    """Even if it makes sense: another list of packages would install something else."""
    bundle = make_bundle(tmp_path / "bundle")
    text = (bundle / "bundle.json").read_text()
    (bundle / "bundle.json").write_text(text.replace("20000000", "20000001"))
    done = install(bundle, tmp_path / "home", "--prefix", prefix)
    assert (1, True) == (done.returncode, "error: bundle.json is damaged" in done.stderr)
    assert not (prefix / "current").exists()


@pytest.mark.parametrize(
    ("options", "environ"), [(("--prefix", "~nosuch/x"), {}), ((), {"EDGEINFER_STORE": "~nosuch/x"})]
)
def test_the_home_of_nobody_is_refused(
    tmp_path: Path, options: tuple[str, ...], environ: dict[str, str]
) -> None:
    options = options or ("--prefix", str(tmp_path / "opt"))
    done = install(make_bundle(tmp_path / "bundle", models=1), tmp_path / "home", *options, **environ)
    assert (1, True) == (done.returncode, "error: ~nosuch/x: there is no user 'nosuch'" in done.stderr)


def test_a_folder_with_something_else_in_it_stays(tmp_path: Path, prefix: Path) -> None:
    """Such as a checkout in /opt/edgeinfer."""
    prefix.mkdir()
    (prefix / "README.md").touch()
    done = install(make_bundle(tmp_path / "bundle"), tmp_path / "home", "--prefix", prefix)
    assert (1, True) == (done.returncode, f"{prefix} has something else in it" in done.stderr)
    assert ["README.md"] == [path.name for path in prefix.iterdir()]


@pytest.mark.slow
def test_it_installs_once(tmp_path: Path, prefix: Path) -> None:
    """The second run finds everything there, and copies the models that are missing."""
    bundle, home = make_bundle(tmp_path / "bundle", models=1), tmp_path / "home"
    first = install(bundle, home, "--prefix", prefix)
    assert 0 == first.returncode, first.stderr
    command = prefix / "current/bin/edgeinfer"
    assert f"next, to run it as a service: {command} install --offline --model m0:Q4_0" in first.stderr
    release = (prefix / "current").resolve()
    calls = ["--version", f"models import {bundle}/store", "service status --json"]
    assert [f"1.0 {call}" for call in calls] == (home / "calls").read_text().splitlines()
    second = install(bundle, home, "--prefix", prefix)
    assert (0, True) == (second.returncode, "is installed already" in second.stderr)
    assert release == (prefix / "current").resolve()
    assert 2 * [f"1.0 {call}" for call in calls] == (home / "calls").read_text().splitlines()


@pytest.mark.slow
def test_an_upgrade_keeps_the_release_before_and_no_older_one(tmp_path: Path, prefix: Path) -> None:
    """A daemon may still run it."""
    releases = []
    for version in ("1.0", "1.1", "1.2"):
        done = install(make_bundle(tmp_path / version, version), tmp_path / "home", "--prefix", prefix)
        assert 0 == done.returncode, done.stderr
        releases.append((prefix / "current").resolve())
    assert set(releases[1:]) == set(prefix.glob("releases/*"))
    assert [False, True, True] == [path.exists() for path in releases]


@pytest.mark.slow
def test_a_failed_upgrade_leaves_the_release_before(tmp_path: Path, prefix: Path) -> None:
    """Whether the program does not start or a model is damaged."""
    assert 0 == install(make_bundle(tmp_path / "old"), tmp_path / "home", "--prefix", prefix).returncode
    before = (prefix / "current").resolve()
    new = make_bundle(tmp_path / "new", "1.1", models=1)
    for step in ("--version", "import"):
        failed = install(new, tmp_path / "home", "--prefix", prefix, FAILS=step)
        assert (1, True) == (failed.returncode, "it fails as it was told to" in failed.stderr)
        assert before == (prefix / "current").resolve()
        assert [before] == list(prefix.glob("releases/*"))


@pytest.mark.slow
def test_what_is_not_whole_is_installed_again(tmp_path: Path, prefix: Path) -> None:
    """A power cut leaves a release without its mark; a damaged one stays, for a service may be running from it."""
    bundle, home = make_bundle(tmp_path / "bundle"), tmp_path / "home"
    half = prefix / "releases/half"
    half.mkdir(parents=True)
    assert 0 == install(bundle, home, "--prefix", prefix).returncode
    release = (prefix / "current").resolve()
    assert [release] == list(prefix.glob("releases/*"))
    (release / "bin/edgeinfer").write_text("#!/bin/sh\nexit 1\n")
    assert 0 == install(bundle, home, "--prefix", prefix).returncode
    assert release.with_name(f"{release.name}.2") == (prefix / "current").resolve()
    assert release.exists()


@pytest.mark.slow
def test_a_service_of_an_older_release_is_upgraded(tmp_path: Path, prefix: Path) -> None:
    """Once; one that belongs to another installation is left alone, and a failure is told."""
    home, unit = tmp_path / "home", tmp_path / "unit"
    old, new = make_bundle(tmp_path / "old"), make_bundle(tmp_path / "new", "1.1")
    unit.write_text("ExecStart=/elsewhere/bin/edgeinfer")
    assert 0 == install(old, home, "--prefix", prefix, UNIT=str(unit)).returncode
    assert "/elsewhere/" in unit.read_text()
    release = (prefix / "current").resolve()
    unit.write_text(f"ExecStart={release}/bin/edgeinfer")
    failed = install(new, home, "--prefix", prefix, UNIT=str(unit), FAILS="--dry-run")
    assert (0, True) == (failed.returncode, str(release) in unit.read_text())
    done = install(new, home, "--prefix", prefix, UNIT=str(unit))
    assert (0, True) == (done.returncode, "upgrading the service" in done.stderr)
    assert "next, to run it as a service" not in done.stderr
    assert f"ExecStart={(prefix / 'current').resolve()}/bin/edgeinfer" == unit.read_text()
    again = install(new, home, "--prefix", prefix, UNIT=str(unit))
    assert (0, False) == (again.returncode, "upgrading the service" in again.stderr)
