"""Services for tests of the service package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from edgeinfer.service.spec import Program, Requirements, ServiceSpec
from edgeinfer.settings import Settings

PROGRAM = Program(
    Path("/opt/edgeinfer/bin/edgeinfer"), Path("/opt/edgeinfer/bin/python"), (Path("/opt/edgeinfer"),)
)


def service(
    *,
    scope: Any = "system",
    requirements: Requirements = Requirements(),
    program: Program = PROGRAM,
    **given: Any,
) -> ServiceSpec:
    """A service of a program in /opt; other keywords are settings."""
    fields = {name: given.pop(name) for name in ("config", "on_demand") if name in given}
    return ServiceSpec(scope, program, Settings(**given), requirements, **fields)


def stub(folder: Path, script: str) -> Program:
    """A program that runs a Python script when it is called as `edgeinfer serve`."""
    executable = folder / "edgeinfer"
    executable.write_text(f"#!{sys.executable}\n{script}")
    executable.chmod(0o755)
    return Program(executable, Path(sys.executable))
