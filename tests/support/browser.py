"""Real browsers, driven by the programs of tests/server/web/browser through puppeteer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.node import node_modules
from tests.support.paths import ROOT

PACKAGES = ("puppeteer-core@24.10.0", "axe-core@4.14.1")
PROGRAMS = ROOT / "tests" / "server" / "web" / "browser"
COMMANDS = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "firefox": ("firefox-esr", "firefox"),
}
DEBIAN = {"chromium": "chromium", "firefox": "firefox-esr"}
TIMEOUT = 110
INSTALL_TIMEOUT = 540
"""Seconds. apt that is killed leaves packages half configured, so it has far more time than it needs."""


def run_in_browser(browser: str, program: str, url: str, home: Path, **arguments: Any) -> dict[str, Any]:
    """What a program of tests/server/web/browser has seen; it fails the test if it throws."""
    folder = node_modules(*PACKAGES)
    given = {
        "browser": browser,
        "executable": _executable(browser),
        "url": url,
        "home": str(home),
        **arguments,
    }
    done = subprocess.run(
        ["node", str(PROGRAMS / f"{program}.mjs"), json.dumps(given)],
        env={**os.environ, "HOME": str(home), "EDGEINFER_TEST_MODULES": str(folder)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{program} in {browser}: {done.stderr[-3000:]}", pytrace=False)
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def _executable(browser: str) -> str:
    for _ in range(2):
        for command in COMMANDS[browser]:
            if found := shutil.which(command):
                return found
        _install(DEBIAN[browser])
    pytest.fail(f"{browser} is not installed, and could not be", pytrace=False)


def _install(package: str) -> None:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        pytest.fail(f"these tests need {package}, and only root can install it", pytrace=False)
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", package]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT, check=False)
        if done.returncode:
            pytest.fail(f"{package} cannot be installed: {done.stderr[-1000:]}", pytrace=False)
