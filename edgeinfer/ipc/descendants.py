"""Ends all that a process has started, also what wanted to live on."""

from __future__ import annotations

import contextlib

import psutil

from edgeinfer.ipc.confinement.system_call import IS_LINUX, prctl

SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, where the system has that."""
    if IS_LINUX:
        prctl(SET_CHILD_SUBREAPER, 1)


def end_descendants() -> None:
    """End the descendants of this process, until there are none."""
    while children := psutil.Process().children(recursive=True):
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()
        psutil.wait_procs(children, timeout=1)
