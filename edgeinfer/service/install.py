"""Installs and uninstalls the service under any service manager. Nothing stays half done."""

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
    """The steps that `install` would take.

    Attributes:
        files: all files of the service.
        changed: files that would be written.
        removed: files of an earlier installation that would be removed.
        commands: commands to run, in this order, after the files are written.
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
    """Return everything that `install` would do."""
    files = [*beside, *manager.files(service)]
    return Proposal(
        manager=manager.name,
        files=files,
        changed=[str(file.path) for file in files if not file.is_current()],
        removed=[str(path) for path in _removed(manager, files)],
        commands=manager.commands(service, start=start),
        notes=manager.notes(service),
    )


def install(
    manager: ServiceManager, service: ServiceSpec, *, start: bool = True, beside: Sequence[ServiceFile] = ()
) -> None:
    """Write the files and start the service, or the socket whose first request starts it.

    A second call upgrades the service, or applies changes.

    Args:
        beside: files to write with the service's own, that stay when it is uninstalled, such as its configuration.

    Raises:
        EdgeinferError: a step failed. The previous state is restored.
    """
    manager.check()
    files = manager.files(service)
    before = manager.status()
    transaction = FileTransaction()
    try:
        for file in (*beside, *files):
            transaction.write(file)
        manager.apply(service, start=start)
        if removed := _removed(manager, files):  # units that are disabled by now
            for path in removed:
                transaction.remove(path)
            manager.forget()
    except BaseException:
        logger.warning("restoring the previous state")
        _try(manager.withdraw)
        transaction.undo()
        _try(manager.forget)
        if before.installed:
            _try(lambda: manager.resume(before))
        raise


def uninstall(manager: ServiceManager) -> list[str]:
    """Stop and remove the service, and return the files that were removed. Settings, models and keys stay."""
    manager.check()
    transaction = FileTransaction()
    existing = [path for path in manager.paths() if path.exists()]
    manager.withdraw()
    try:
        for path in existing:
            transaction.remove(path)
    except BaseException:
        transaction.undo()
        raise
    finally:
        manager.forget()
    return [str(path) for path in existing]


def _removed(manager: ServiceManager, files: list[ServiceFile]) -> list[Path]:
    current = {file.path for file in files}
    return [path for path in manager.paths() if path not in current and path.exists()]


def _try(step: Callable[[], None]) -> None:
    """Run a step of the rollback. Its errors are dropped in favour of the one that caused the rollback."""
    with contextlib.suppress(EdgeinferError):
        step()
