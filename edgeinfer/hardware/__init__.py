"""Detects the machine. Probes are functions of a root directory; an unknown fact is None."""

from edgeinfer.hardware.board import Board
from edgeinfer.hardware.cpu import CpuClass
from edgeinfer.hardware.describe import describe
from edgeinfer.hardware.gpu import Api, Gpu
from edgeinfer.hardware.llama_build import LlamaBuild
from edgeinfer.hardware.memory import Memory
from edgeinfer.hardware.profile import HardwareProfile, detect
from edgeinfer.hardware.storage import Storage
from edgeinfer.hardware.system import System

__all__ = [
    "Api",
    "Board",
    "CpuClass",
    "Gpu",
    "HardwareProfile",
    "LlamaBuild",
    "Memory",
    "Storage",
    "System",
    "describe",
    "detect",
]
