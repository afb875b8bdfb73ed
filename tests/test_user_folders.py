"""A user's folders, and those of a daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.user_folders import daemon_cache_folder


def test_a_service_has_a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd names it; otherwise it is the user's."""
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/edgeinfer:/var/cache/other")
    assert Path("/var/cache/edgeinfer") == daemon_cache_folder()
    monkeypatch.delenv("CACHE_DIRECTORY")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tmp_path / "edgeinfer" == daemon_cache_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path / ".cache" / "edgeinfer" == daemon_cache_folder()


def test_a_user_without_a_home_has_a_cache_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder called "~" is created: below the root only root may write."""

    def nobody(_: int) -> None:
        raise KeyError("getpwuid(): uid not found")

    for variable in ("CACHE_DIRECTORY", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert Path("/.cache/edgeinfer") == daemon_cache_folder()
