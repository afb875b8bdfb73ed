"""Describes the service to install: its program, user and settings, and what it requires of the machine."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from typing import Literal

import msgspec

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.errors import ServiceFailed
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan import Plan
from edgeinfer.settings import SYSTEM_CONFIG, Settings, user_config
from edgeinfer.user_folders import home

PACKAGE = Path(__file__).parent.parent

Scope = Literal["system", "user"]
"""System: started at boot and run by a user of its own. User: run by the user who installs it."""


class Program(msgspec.Struct, frozen=True):
    """An installation of edgeinfer.

    Attributes:
        executable: the `edgeinfer` command.
        python: the interpreter of its environment.
        folders: folders that it is loaded from.
    """

    executable: Path
    python: Path
    folders: tuple[Path, ...] = ()


class Requirements(msgspec.Struct, frozen=True):
    """Requirements of the service.

    Attributes:
        models: model files to load.
        memory: bytes of RAM that the plan of the default model takes.
        ram: bytes of RAM that the machine has.
        gpus: vendors of the GPUs, if the plan places layers on one.
    """

    models: tuple[Path, ...] = ()
    memory: int | None = None
    ram: int | None = None
    gpus: tuple[str, ...] = ()


class ServiceSpec(msgspec.Struct, frozen=True):
    """Description of a service to install.

    Attributes:
        config: the configuration file; None if the daemon finds it by itself.
        on_demand: the first request starts the daemon, instead of the machine's start.
    """

    scope: Scope
    program: Program
    settings: Settings = Settings()
    requirements: Requirements = Requirements()
    config: Path | None = None
    on_demand: bool = False

    @property
    def models(self) -> tuple[Path, ...]:
        """Model files to load that are not in the store: the default model's, and those of `[models.NAME]` tables."""
        tables = (Path(str(table.get("model", ""))) for table in self.settings.models.values())
        return tuple(
            dict.fromkeys((*self.requirements.models, *(path for path in tables if path.is_absolute())))
        )


def this_program() -> Program:
    """Return the installation that runs this code.

    Raises:
        ServiceFailed: there is no `edgeinfer` command next to this Python.
    """
    scripts = (Path(sys.prefix, "bin"), Path(sysconfig.get_path("scripts")))
    executable = next((path for folder in scripts if os.access(path := folder / "edgeinfer", os.X_OK)), None)
    if executable is None:
        raise ServiceFailed(
            f"there is no edgeinfer command in {scripts[0]}",
            hint="install edgeinfer in a virtual environment",
        )
    folders = [Path(folder) for folder in (sys.prefix, sys.base_prefix)]
    if not any(PACKAGE.is_relative_to(folder) for folder in folders):
        folders.append(PACKAGE.parent)
    return Program(executable, Path(sys.executable), tuple(dict.fromkeys(folders)))


def usual_configs(scope: Scope) -> list[Path]:
    """Return the configuration files that a service finds by itself."""
    own = [user_config({"HOME": str(home())})] if scope == "user" else []
    return [SYSTEM_CONFIG, *own]


def requirements(plan: Plan, profile: HardwareProfile) -> Requirements:
    """Return what the plan of the default model requires of the machine."""
    config = plan.config
    on_gpu = config.gpu_layers if isinstance(config, LlamaConfig) else config.cards
    gpus = [gpu.vendor for gpu in profile.gpus if gpu.api] if on_gpu else []
    return Requirements(
        models=(Path(config.model),) if Path(config.model).is_absolute() else (),
        memory=plan.memory.total + plan.memory.embeddings + plan.memory.ram_cache,
        ram=profile.memory.total,
        gpus=tuple(dict.fromkeys(gpus)),
    )
