"""Putting a service in place, and taking it away, whoever manages it. Nothing stays half done."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from edgeinfer.errors import EdgeinferError
from edgeinfer.service.command import Command
from edgeinfer.service.file_transaction import FileTransaction, ServiceFile
from edgeinfer.service.manager import ServiceManager
from edgeinfer.service.spec import ServiceSpec

logger = logging.getLogger(__name__)


class Proposal(msgspec.Struct, frozen=True):
    """What `install` would do.

    Attributes:
        files: all that the service consists of.
        changed: those that are to be written.
        removed: files of an earlier installation that it no longer has.
        commands: run in this order once the files are there.
        notes: what the user should know or do.
    """

    manager: str
    files: list[ServiceFile]
    changed: list[str]
    removed: list[str]
    commands: list[Command]
    notes: list[str]


def propose(
    manager: ServiceManager, service: ServiceSpec, *, start: bool = True, beside: Sequence[ServiceFile] = ()
) -> Proposal:
    """Everything `install` does, before it does it."""
    files = [*beside, *manager.files(service)]
    return Proposal(
        manager=manager.name,
        files=files,
        changed=[str(file.path) for file in files if not file.is_there()],
        removed=[str(path) for path in _removed(manager, files)],
        commands=manager.commands(service, start=start),
        notes=manager.notes(service),
    )


def install(
    manager: ServiceManager, service: ServiceSpec, *, start: bool = True, beside: Sequence[ServiceFile] = ()
) -> None:
    """Write the files, and start the service or what its first request starts; again to change or upgrade it.

    `beside`: files that are written with the service's own, and stay when it goes, such as its configuration.

    Raises:
        EdgeinferError: it did not work. What was there before is there again.
    """
    manager.check()
    files = manager.files(service)
    before = manager.status()
    change = FileTransaction()
    try:
        for file in (*beside, *files):
            change.write(file)
        manager.apply(service, start=start)
        if removed := _removed(manager, files):  # what is disabled by now
            for path in removed:
                change.remove(path)
            manager.forget()
    except BaseException:
        logger.warning("putting back what was there before")
        _try(manager.withdraw)
        change.undo()
        _try(manager.forget)
        if before.installed:
            _try(lambda: manager.resume(before))
        raise


def uninstall(manager: ServiceManager) -> list[str]:
    """Stop and remove the service; -> the files that were removed. Settings, models and keys stay."""
    manager.check()
    change = FileTransaction()
    there = [path for path in manager.paths() if path.exists()]
    manager.withdraw()
    try:
        for path in there:
            change.remove(path)
    except BaseException:
        change.undo()
        raise
    finally:
        manager.forget()
    return [str(path) for path in there]


def _removed(manager: ServiceManager, files: list[ServiceFile]) -> list[Path]:
    kept = {file.path for file in files}
    return [path for path in manager.paths() if path not in kept and path.exists()]


def _try(step: Callable[[], None]) -> None:
    """Run a step back; the failure that led here is the one to be told."""
    with contextlib.suppress(EdgeinferError):
        step()
