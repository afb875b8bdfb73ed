"""Holds the memory in which a worker leaves the states of its answers to the next one."""

from __future__ import annotations

import os


class InheritedMemory:
    """A file in memory, without a name. It takes no memory until a worker writes to it.

    Attributes:
        descriptor: to be passed to a worker; None where the system has no such files.
    """

    def __init__(self) -> None:
        self.descriptor: int | None = None
        if hasattr(os, "memfd_create"):  # Linux
            self.descriptor = os.memfd_create("edgeinfer states", os.MFD_CLOEXEC)

    def close(self) -> None:
        """Give the memory back to the system, once the worker that has it has ended."""
        if self.descriptor is not None:
            os.close(self.descriptor)
        self.descriptor = None
