"""Runs a command in an emulated ARM machine that has this checkout: python -m tests.support.arm_shell CPU COMMAND..."""

from __future__ import annotations

import subprocess
import sys

from tests.support import arm_layers
from tests.support.arm_box import ArmBox
from tests.support.paths import ROOT


def main(cpu: str, *command: str) -> int:
    box = ArmBox([arm_layers.tools(), arm_layers.system()], binds=[ROOT])
    try:
        box.start()
        inside = ("env", f"--chdir={ROOT}", *command)
        return subprocess.run(box.command(cpu, inside, {"PYTHONPATH": str(ROOT)}), check=False).returncode
    except arm_layers.MissingMeans as e:
        sys.stderr.write(f"error: {e}\n")
        return 1
    finally:
        box.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
