"""The measurement of this machine: does it exist, and was it made with this llama.cpp?"""

from __future__ import annotations

from pathlib import Path

from edgeinfer.doctor.finding import Finding
from edgeinfer.plan.calibration import FILE, Calibration
from edgeinfer.plan.speed import CALIBRATE

CHECK = "calibration"


def check_calibration(calibration: Calibration | None, store: Path) -> list[Finding]:
    """Check the measurement; `calibration` is None if the one in `store` is missing or outdated."""
    if calibration:
        return [Finding(CHECK, "ok", f"measured {calibration.measured[:10]}")]
    if (store / FILE).exists():
        text = "this machine was measured with another llama.cpp or other hardware"
        return [Finding(CHECK, "note", text, CALIBRATE)]
    return [
        Finding(
            CHECK,
            "note",
            "this machine has not been measured, so the plan uses typical values for its board",
            CALIBRATE,
        )
    ]
