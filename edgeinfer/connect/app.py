"""A program that can be connected, and what it is told about the daemon."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from edgeinfer.connect.edits import ConfigEdit
from edgeinfer.user_folders import home

KEY_VARIABLE = "EDGEINFER_API_KEY"
"""Configurations name this variable; a key itself is never written into one."""

RequestKind = Literal["chat", "responses", "messages", "infill", "ollama"]


class AppEndpoint(msgspec.Struct, frozen=True):
    """The daemon, as an app sees it.

    Attributes:
        url: without /v1.
        model: the name to ask for; "default" unless somebody named one.
        model_name: the real name of that model; None if the daemon could not be asked.
        context: tokens that a request may have; None if the daemon could not be asked.
        trained_context: tokens that the model was trained for, and so the most that a setting can give.
        fill_model: a model that fills gaps in code; None if there is none, or the daemon could not be asked.
    """

    url: str
    model: str = "default"
    model_name: str | None = None
    context: int | None = None
    trained_context: int | None = None
    fill_model: str | None = None
    key_needed: bool = False

    @property
    def openai_url(self) -> str:
        return self.url + "/v1"


class Places:
    """Where this user's programs keep their configuration."""

    def __init__(self, environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> None:
        self.environ = environ
        self.home = home(environ)
        self.is_mac = platform == "darwin"

    def config(self) -> Path:
        return self.named("XDG_CONFIG_HOME") or self.home / ".config"

    def application(self, name: str) -> Path:
        """Return the folder of a program that keeps to the custom of the system."""
        if self.is_mac:
            return self.home / "Library/Application Support" / name
        return self.config() / name

    def vs_code(self) -> Path:
        """Return the folder of the settings of VS Code, or of a build of it that is installed instead."""
        names = ("Code", "VSCodium", "Code - Insiders")
        folders = [self.application(name) / "User" for name in names]
        return next((folder for folder in folders if folder.is_dir()), folders[0])

    def named(self, variable: str) -> Path | None:
        """Return the absolute path that a variable names."""
        path = Path(self.environ.get(variable) or ".")
        return path if path.is_absolute() else None

    def has_program(self, name: str) -> bool:
        return shutil.which(name, path=self.environ.get("PATH")) is not None


class Setup(msgspec.Struct, frozen=True):
    """How an app is connected.

    Attributes:
        edits: the files to change; none if it is set up by hand.
        steps: what is left to do, a line each; for a setup by hand all of it.
    """

    edits: Sequence[tuple[Path, ConfigEdit]] = ()
    steps: Sequence[str] = ()


class App(msgspec.Struct, frozen=True):
    """A program that can be connected.

    Attributes:
        context: tokens that it needs to be useful.
        request: what it asks the daemon.
        programs: commands by which it is found.
        folder: a folder by which it is found.
    """

    name: str
    title: str
    context: int
    request: RequestKind
    setup: Callable[[AppEndpoint, Places], Setup]
    programs: Sequence[str] = ()
    folder: Callable[[Places], Path] | None = None

    def is_installed(self, places: Places) -> bool:
        """Tell whether it seems to be on this machine."""
        if any(places.has_program(program) for program in self.programs):
            return True
        return self.folder is not None and self.folder(places).is_dir()
