"""For the tests of the doctor: its findings in short, and a service that runs."""

from __future__ import annotations

from edgeinfer.doctor.finding import Finding
from edgeinfer.service.manager import ServiceStatus

RUNNING = ServiceStatus("systemd", "system", True, "running", enabled=True, pid=7, restarts=0)


def brief(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.level, finding.text) for finding in findings]
