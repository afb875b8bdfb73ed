"""Whether this machine was measured, with the llama.cpp that it has now."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.doctor.finding import Finding
from edgeinfer.plan.calibration import FILE, Calibration
from edgeinfer.plan.speed import CALIBRATE

CHECK = "calibration"


def speed(calibration: Calibration | None, store: Path) -> list[Finding]:
    """`calibration`: what counts of what is kept in `store`."""
    if calibration:
        return [Finding(CHECK, "ok", f"measured {calibration.measured[:10]}")]
    if (store / FILE).exists():
        text = "this machine was measured when it had another llama.cpp, or other hardware"
        return [Finding(CHECK, "note", text, CALIBRATE)]
    return [
        Finding(CHECK, "note", "this machine was never measured, so the plan goes by its board", CALIBRATE)
    ]
