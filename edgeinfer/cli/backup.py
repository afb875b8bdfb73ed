"""`edgeinfer backup` and `edgeinfer restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeinfer.cli.common_options import Json

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeinfer.backup.manifest import Manifest
    from edgeinfer.store.record import ModelRecord
    from edgeinfer.store.store import Store
    from edgeinfer.store.stored_model import StoredModel


def backup(
    path: Annotated[
        Path, typer.Argument(metavar="FILE|DIR", help="The backup to write; in a directory, it gets a name.")
    ],
    with_models: Annotated[
        bool, typer.Option("--with-models", help="Copy all models, also those that the hub has.")
    ] = False,
    json: Json = False,
) -> None:
    """Back up settings, keys, responses and models into one file.

    Models that the hub has are noted by their hash, and downloaded when the backup is restored; others are
    copied. The file is complete or not there, and only you can read it: it has the key file, and what was said
    in stored responses.

    Examples:
      sudo edgeinfer backup /mnt/usb/
      edgeinfer backup edgeinfer.tar --with-models
    """
    import time

    from edgeinfer import settings
    from edgeinfer.backup.create import create_backup
    from edgeinfer.backup.daemon_files import config_file, daemon_files
    from edgeinfer.cli import terminal
    from edgeinfer.cli.pasteable import pasteable
    from edgeinfer.store.progress import size_text

    if path.is_dir():
        path /= f"edgeinfer-{time.strftime('%Y%m%d-%H%M%S')}.tar"
    elif not path.parent.is_dir():
        raise typer.BadParameter(f"there is no directory {path.parent}", param_hint="FILE|DIR")
    where = daemon_files(config_file(), settings.load().settings)
    manifest = create_backup(path, where, with_models=with_models, progress=_reading)
    if json:
        terminal.write_json({"file": str(path.absolute()), "size": path.stat().st_size, **_summary(manifest)})
        return
    terminal.write(f"{path}\n")
    terminal.say(f"{size_text(path.stat().st_size)}: {_contents(manifest)}")
    terminal.say(pasteable(f"to restore it: edgeinfer restore {path}"))


def restore(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A file that edgeinfer backup wrote.")],
    without_models: Annotated[
        bool,
        typer.Option(
            "--without-models", help="Do not download models; those that the backup has are restored."
        ),
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Use no network.")] = False,
    json: Json = False,
) -> None:
    """Restore a backup of this machine or of another one.

    Everything is checked and every model is there before settings, keys and responses are replaced, all of
    them or none. What they replace is kept beside them, under names that end in .before-restore. Restart the
    daemon afterwards.

    Examples:
      sudo edgeinfer restore /mnt/usb/edgeinfer-20260131-120000.tar

    Models come from another machine's mirror with HF_ENDPOINT=http://board:11436.
    """
    from edgeinfer.backup.daemon_files import config_file
    from edgeinfer.backup.restore import read_manifest, restore_backup
    from edgeinfer.cli import terminal
    from edgeinfer.cli.pasteable import pasteable

    manifest = read_manifest(path)
    fetch = None if without_models else _fetcher(offline=offline)
    where = restore_backup(path, config_file(), fetch=fetch, progress=_copying)
    missing = [
        f"{record.name}:{record.quant}"
        for record in manifest.models
        if where.store.find(record.name, record.quant) is None
    ]
    if json:
        terminal.write_json({**_summary(manifest), "missing": missing, "config": str(where.config)})
        return
    terminal.say(f"restored: {_contents(manifest)}")
    for title in missing:
        terminal.say(pasteable(f"not installed: {title}; to download it: edgeinfer pull {title}"))
    terminal.say(pasteable("next: edgeinfer service restart"))


def _fetcher(*, offline: bool) -> Callable[[ModelRecord, Store], None]:
    """Make what downloads a model of a backup: this very file, by its hash."""
    from edgeinfer.cli.progress import make_progress
    from edgeinfer.hub.endpoint import hub_endpoint

    hub = hub_endpoint(offline=offline)
    from edgeinfer.hub.download import download
    from edgeinfer.hub.hub_index import RemoteFile

    def fetch(record: ModelRecord, store: Store) -> None:
        file = RemoteFile(
            record.name, record.quant, record.repo, record.file, record.revision, record.size, record.sha256
        )
        download(file, store, make_progress(), hub=hub)

    return fetch


def _reading(model: StoredModel) -> Callable[[int], None]:
    return _begin(f"{model.name}:{model.quant}", model.size)


def _copying(record: ModelRecord) -> Callable[[int], None]:
    return _begin(f"{record.name}:{record.quant}", record.size)


def _begin(title: str, size: int) -> Callable[[int], None]:
    """Show progress; return what is called with the size of each piece."""
    from edgeinfer.cli.progress import make_progress

    progress, done = make_progress(), 0
    progress.begin(title, size)

    def update(piece: int) -> None:
        nonlocal done
        done += piece
        progress.update(done)
        if done >= size:
            progress.end()

    return update


def _summary(manifest: Manifest) -> dict[str, object]:
    from edgeinfer.backup.manifest import CONFIG, KEYS

    names = {file.name for file in manifest.files}
    return {
        "settings": CONFIG in names,
        "keys": KEYS in names,
        "responses": len(names - {CONFIG, KEYS}),
        "models": [
            {
                "name": record.name,
                "quant": record.quant,
                "sha256": record.sha256,
                "copied": record.sha256 in manifest.copied,
            }
            for record in manifest.models
        ],
    }


def _contents(manifest: Manifest) -> str:
    """Return what a backup has, such as "settings, keys, 3 responses, 2 models (1 copied)"."""
    summary = _summary(manifest)
    parts = [name for name in ("settings", "keys") if summary[name]]
    if summary["responses"]:
        parts.append(f"{summary['responses']} responses")
    if manifest.models:
        parts.append(f"{len(manifest.models)} models ({len(manifest.copied)} copied)")
    return ", ".join(parts) or "nothing but defaults"
