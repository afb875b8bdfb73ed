"""The clock: a board without a battery starts in the past, where no certificate is valid."""

from __future__ import annotations

import datetime
from pathlib import Path

from edgeinfer.doctor.finding import Finding
from edgeinfer.hardware.root_files import entries, exists, output, pairs

CHECK = "clock"
DAY = 86_400.0

SET = "sudo timedatectl set-ntp true"


def build_time() -> float:
    """Return the time this program was made, in seconds since the epoch: the true time is later."""
    return Path(__file__).stat().st_mtime


def check_clock(now: float, built: float, root: Path) -> list[Finding]:
    """Check the time; `now` and `built` are seconds since the epoch."""
    date = datetime.datetime.fromtimestamp(now, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    if now < built - DAY:
        text = (
            f"the clock says {date}, before this program was made: downloads fail, as no certificate is valid"
        )
        return [
            Finding(CHECK, "error", text, f"{SET}, or without a network: sudo date --set 'YYYY-MM-DD HH:MM'")
        ]
    synchronized = _synchronized(root)
    if synchronized is False and exists(root / "sys/class/rtc") and not entries(root / "sys/class/rtc"):
        text = f"{date}; no time server sets it, and this board has no clock that runs while it is off"
        return [Finding(CHECK, "warning", text, SET)]
    if synchronized is False:
        return [Finding(CHECK, "note", f"{date}; no time server sets it", SET)]
    return [Finding(CHECK, "ok", date + (", set by a time server" if synchronized else ""))]


def _synchronized(root: Path) -> bool | None:
    """Tell whether a time server has set the clock; None if unknown."""
    if exists(root / "run/systemd/timesync/synchronized"):
        return True
    properties = pairs(output(root, "timedatectl", "timedatectl", "show") or "", "=")
    return {"yes": True, "no": False}.get(properties.get("NTPSynchronized", ""))
