"""Real apps read what `connect` has written for them, ask the daemon, and show its answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.long_prompt_nano import ANSWER
from tests.support.nano_daemon import NanoDaemon
from tests.support.real_apps import REAL_APPS, app_daemon, ask, connected, contents, fill_home

pytestmark = [pytest.mark.heavy, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NanoDaemon]:
    with app_daemon(tmp_path_factory.mktemp("daemon")) as daemon:
        yield daemon


@pytest.mark.parametrize("name", REAL_APPS)
def test_a_connected_app_is_answered_and_then_given_its_files_back(
    daemon: NanoDaemon, tmp_path: Path, name: str
) -> None:
    fill_home(tmp_path)
    before = contents(tmp_path)
    written = connected(name, tmp_path, daemon.url)
    assert written
    outcome = ask(REAL_APPS[name], tmp_path, daemon)
    assert outcome.answered >= 1
    assert ANSWER in " ".join(outcome.said.split())
    undone = run(tmp_path, "connect", name, "--undo")
    assert undone.returncode == 0, undone.stderr
    after = contents(tmp_path)
    assert {path: after.get(path) for path in written} == {path: before.get(path) for path in written}
    assert [path for path in after if "before-edgeinfer" in path.name] == []


def test_installed_apps_are_found(tmp_path: Path) -> None:
    folders = ":".join(str(app.folder()) for app in REAL_APPS.values())
    listed = json.loads(run(tmp_path, "connect", "--json", PATH=folders).stdout)
    assert set(REAL_APPS) <= {app["name"] for app in listed if app["state"] == "found"}
