"""The store of models: files that are what they were, records that can be read, leftovers, and the disk."""

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

LITTLE = 10**9
"""Bytes: hardly a model is smaller."""


def store(store: Store, *, fast: bool = False, progress: Progress | None = None) -> list[Finding]:
    """Everything in it, read anew; `fast` looks at sizes and dates alone."""
    if not store.root.exists():
        return [Finding(STORE, "ok", f"no model is installed in {store.root}")]
    if not os.access(store.root, os.R_OK | os.X_OK):
        return [Finding(STORE, "error", f"{store.root} cannot be read by this user", "sudo edgeinfer doctor")]
    recorded = store.recorded()
    found = []
    for stored in recorded:
        trouble = model_problem(stored) if fast else _verified(store, stored, progress or NullProgress())
        if trouble:
            name = f"{stored.name}:{stored.quant}"
            text = f"{name} cannot be served: {trouble} ({stored.path})"
            found.append(Finding(STORE, "error", text, f"edgeinfer models rm {name}, and get it again"))
    for path in _unknown(store, recorded):
        text = f"the record {path} cannot be read, so its model is not there"
        found.append(Finding(STORE, "warning", text, f"rm {path}, and get the model again"))
    if size := store.leftovers():
        text = f"{size_text(size)} are files that no model needs"
        found.append(Finding(STORE, "note", text, "edgeinfer models prune"))
    return found or [Finding(STORE, "ok", _sound(recorded, fast=fast))]


def _sound(recorded: list[StoredModel], *, fast: bool) -> str:
    if not recorded:
        return "no model is installed"
    count = "1 model" if len(recorded) == 1 else f"{len(recorded)} models"
    how = "not read" if fast else "read, and as it should be"
    return f"{count}, {size_text(sum(stored.size for stored in recorded))}, {how}"


def _verified(store: Store, stored: StoredModel, progress: Progress) -> str | None:
    progress.begin(f"{stored.name}:{stored.quant}", stored.size)
    try:
        return store.verify(stored, _counter(progress))
    finally:
        progress.end()


def _counter(progress: Progress) -> Callable[[int], None]:
    """Of pieces it makes how far we are."""
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        progress.update(done)

    return advance


def _unknown(store: Store, recorded: list[StoredModel]) -> list[Path]:
    """Records that say nothing."""
    known = {f"{stored.name}@{stored.quant}.json" for stored in recorded}
    files = files_below(store.root / "records")
    return sorted(path for path in files if path.suffix == ".json" and path.name not in known)


class Disk(msgspec.Struct, frozen=True):
    """`inodes`: free ones, None where the file system does not count them."""

    free: int
    read_only: bool = False
    inodes: int | None = None


def look_at(place: Path) -> Disk:
    """The disk that `place` is on, or would be."""
    there = next(level for level in (place, *place.parents) if level.exists())
    found = os.statvfs(there)
    inodes = found.f_favail if found.f_files else None
    return Disk(found.f_bavail * found.f_frsize, bool(found.f_flag & os.ST_RDONLY), inodes)


def disk(disk: Disk, place: Path) -> list[Finding]:
    """`place`: the store's."""
    room = "make room: edgeinfer models ls, edgeinfer models rm NAME"
    if disk.read_only:
        text = f"the disk of {place} is mounted read-only, as happens when a card or a disk fails"
        fix = "look at: sudo dmesg --level err; then replace it, or mount it rw"
        return [Finding(DISK, "error", text, fix)]
    if disk.inodes == 0:
        text = f"the disk of {place} can hold no more files"
        return [Finding(DISK, "error", text, "remove small files from it")]
    if disk.free < RESERVED_BYTES:
        return [Finding(DISK, "error", f"the disk of {place} is full: {size_text(disk.free)} are free", room)]
    if disk.free < LITTLE:
        text = f"{size_text(disk.free)} are free on the disk of {place}, too little for another model"
        return [Finding(DISK, "note", text, room)]
    return [Finding(DISK, "ok", f"{size_text(disk.free)} free")]
