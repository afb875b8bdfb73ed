"""The clock: boards without a battery wake up in the past, and then no certificate is valid."""

from __future__ import annotations

import datetime
from pathlib import Path

from edgeinfer.doctor.finding import Finding
from edgeinfer.hardware.root_files import entries, exists, output, pairs

CHECK = "clock"
DAY = 86_400.0

SET = "sudo timedatectl set-ntp true"


def built() -> float:
    """When this program came to be, in seconds since the epoch: no true time is earlier."""
    return Path(__file__).stat().st_mtime


def clock(now: float, built: float, root: Path) -> list[Finding]:
    """`now`, `built`: seconds since the epoch."""
    date = datetime.datetime.fromtimestamp(now, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    if now < built - DAY:
        text = (
            f"it says {date}, when this program was not made yet: downloads fail, as no certificate is valid"
        )
        return [
            Finding(CHECK, "error", text, f"{SET}, or without a network: sudo date --set 'YYYY-MM-DD HH:MM'")
        ]
    synchronized = _synchronized(root)
    if synchronized is False and exists(root / "sys/class/rtc") and not entries(root / "sys/class/rtc"):
        text = f"{date}; nothing sets it, and this board has no clock that runs while it is off"
        return [Finding(CHECK, "warning", text, SET)]
    if synchronized is False:
        return [Finding(CHECK, "note", f"{date}; no time server sets it", SET)]
    return [Finding(CHECK, "ok", date + (", set by a time server" if synchronized else ""))]


def _synchronized(root: Path) -> bool | None:
    """Whether a time server has set it, None where nobody knows."""
    if exists(root / "run/systemd/timesync/synchronized"):
        return True
    said = pairs(output(root, "timedatectl", "timedatectl", "show") or "", "=")
    return {"yes": True, "no": False}.get(said.get("NTPSynchronized", ""))
