"""The model store: damaged files and records, leftovers, and the disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgeinfer.doctor.finding import Finding
from edgeinfer.store.disk import files_below
from edgeinfer.store.free_space import RESERVED_BYTES
from edgeinfer.store.progress import NullProgress, Progress, size_text
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel, model_problem

STORE, DISK = "store", "disk"

MIN_FREE = 10**9
"""Bytes; few models are smaller."""


def check_store(store: Store, *, fast: bool = False, progress: Progress | None = None) -> list[Finding]:
    """Check every model by reading it; `fast` compares only sizes and dates."""
    if not store.root.exists():
        return [Finding(STORE, "ok", f"no model is installed in {store.root}")]
    if not os.access(store.root, os.R_OK | os.X_OK):
        return [Finding(STORE, "error", f"this user cannot read {store.root}", "sudo edgeinfer doctor")]
    recorded = store.recorded()
    findings = []
    for stored in recorded:
        damage = model_problem(stored) if fast else _verified(store, stored, progress or NullProgress())
        if damage:
            name = f"{stored.name}:{stored.quant}"
            text = f"{name} cannot be served: {damage} ({stored.path})"
            findings.append(Finding(STORE, "error", text, f"edgeinfer models rm {name}, then pull it again"))
    for path in _unreadable_records(store, recorded):
        text = f"the record {path} cannot be read, so its model is missing"
        findings.append(Finding(STORE, "warning", text, f"rm {path}, then pull the model again"))
    if size := store.leftovers():
        text = f"{size_text(size)} are used by files that no model needs"
        findings.append(Finding(STORE, "note", text, "edgeinfer models prune"))
    return findings or [Finding(STORE, "ok", _summary(recorded, fast=fast))]


def _summary(recorded: list[StoredModel], *, fast: bool) -> str:
    if not recorded:
        return "no model is installed"
    count = "1 model" if len(recorded) == 1 else f"{len(recorded)} models"
    how = "not read" if fast else "read and intact"
    return f"{count}, {size_text(sum(stored.size for stored in recorded))}, {how}"


def _verified(store: Store, stored: StoredModel, progress: Progress) -> str | None:
    progress.begin(f"{stored.name}:{stored.quant}", stored.size)
    try:
        return store.verify(stored, _counter(progress))
    finally:
        progress.end()


def _counter(progress: Progress) -> Callable[[int], None]:
    """Return a callback that adds up the bytes read and reports the sum."""
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        progress.update(done)

    return advance


def _unreadable_records(store: Store, recorded: list[StoredModel]) -> list[Path]:
    """Return files of records that hold no record."""
    known = {f"{stored.name}@{stored.quant}.json" for stored in recorded}
    files = files_below(store.root / "records")
    return sorted(path for path in files if path.suffix == ".json" and path.name not in known)


class DiskStatus(msgspec.Struct, frozen=True):
    """Free bytes and inodes of a disk; inodes are None if the file system does not count them."""

    free: int
    read_only: bool = False
    inodes: int | None = None


def disk_status(path: Path) -> DiskStatus:
    """Return the disk that `path` is on, or would be created on."""
    existing = next(level for level in (path, *path.parents) if level.exists())
    stat = os.statvfs(existing)
    inodes = stat.f_favail if stat.f_files else None
    return DiskStatus(stat.f_bavail * stat.f_frsize, bool(stat.f_flag & os.ST_RDONLY), inodes)


def check_disk(disk: DiskStatus, path: Path) -> list[Finding]:
    """Check the disk of the store, which is at `path`."""
    free_space = "free some space: edgeinfer models ls, edgeinfer models rm NAME"
    if disk.read_only:
        text = f"the disk of {path} is mounted read-only, as happens if a card or disk fails"
        fix = "check: sudo dmesg --level err; then replace the disk or remount it read-write"
        return [Finding(DISK, "error", text, fix)]
    if disk.inodes == 0:
        text = f"the disk of {path} has no free inodes"
        return [Finding(DISK, "error", text, "delete small files on it")]
    if disk.free < RESERVED_BYTES:
        return [
            Finding(DISK, "error", f"the disk of {path} is full: {size_text(disk.free)} are free", free_space)
        ]
    if disk.free < MIN_FREE:
        text = f"{size_text(disk.free)} are free on the disk of {path}, too little for another model"
        return [Finding(DISK, "note", text, free_space)]
    return [Finding(DISK, "ok", f"{size_text(disk.free)} free")]
