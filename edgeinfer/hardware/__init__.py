"""What machine this is. Probes are functions of a root directory; an unknown fact is None."""

from edgeinfer.hardware.profile import HardwareProfile, detect

__all__ = ["HardwareProfile", "detect"]
