"""Files: the store's, settings, keys, and what the worker has noted."""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path

import pytest

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.safe_mode import SafeModeStore, read_overrides
from edgeinfer.doctor import access, configuration, fallbacks, permissions, store
from edgeinfer.doctor.finding import Finding
from edgeinfer.doctor.store import DiskStatus
from edgeinfer.errors import SettingsError
from edgeinfer.server.engines import FALLBACKS
from edgeinfer.service import access_check
from edgeinfer.settings import Settings, load
from edgeinfer.store.store import Store
from tests.support.doctor import brief
from tests.support.models import install
from tests.support.service import service

NOT_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")


class ProgressLog:
    """Records the calls of a progress display."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def begin(self, title: str, total: int, done: int = 0) -> None:
        self.calls.append(f"{title} {total}")

    def update(self, done: int) -> None:
        self.calls.append(str(done))

    def message(self, text: str) -> None:
        raise AssertionError(text)

    def end(self) -> None:
        self.calls.append("end")


def test_a_store_that_is_not_there_yet(tmp_path: Path) -> None:
    """Nothing is wrong with that."""
    assert [f.level for f in store.check_store(Store(tmp_path / "store"))] == ["ok"]
    (tmp_path / "store").mkdir()
    assert brief(store.check_store(Store(tmp_path / "store"))) == [("ok", "no model is installed")]


def test_sound_models_are_read_whole(tmp_path: Path) -> None:
    """And progress is told of each, to the last byte."""
    models, progress = Store(tmp_path), ProgressLog()
    size = install(models, "tiny").size
    install(models, "other")
    [finding] = store.check_store(models, progress=progress)
    assert (finding.level, finding.text[:8]) == ("ok", "2 models")
    assert progress.calls == [
        f"tiny:Q4_K_M {size}",
        str(size),
        "end",
        f"other:Q4_K_M {size}",
        str(size),
        "end",
    ]


def test_models_that_changed_or_went(tmp_path: Path) -> None:
    """A byte, which only reading shows; the size; the file."""
    models = Store(tmp_path)
    byte, size, gone = (install(models, name) for name in ("byte", "size", "gone"))
    data = bytearray(byte.path.read_bytes())
    data[-1] ^= 1
    byte.path.write_bytes(data)
    size.path.write_bytes(b"short")
    gone.path.unlink()
    findings = store.check_store(models)
    assert brief(findings) == [
        ("error", f"byte:Q4_K_M cannot be served: its content has changed: the sha256 differs ({byte.path})"),
        ("error", f"size:Q4_K_M cannot be served: its file has changed ({size.path})"),
        ("error", f"gone:Q4_K_M cannot be served: its file is missing ({gone.path})"),
    ]
    assert findings[0].fix == "edgeinfer models rm byte:Q4_K_M, then pull it again"
    assert len(store.check_store(models, fast=True)) == 2


def test_records_that_say_nothing(tmp_path: Path) -> None:
    """Their model is not there any more; the others are."""
    models = Store(tmp_path)
    install(models, "tiny")
    broken = tmp_path / "records/broken@Q4_0.json"
    broken.write_text("{")
    assert brief(store.check_store(models)) == [
        ("warning", f"the record {broken} cannot be read, so its model is missing")
    ]


def test_leftovers_are_what_prune_frees(tmp_path: Path) -> None:
    """To the byte: files without a record, and downloads that were given up, not those under way."""
    models = Store(tmp_path)
    stored = install(models, "tiny")
    orphan = stored.path.with_name("orphan.gguf")
    orphan.write_bytes(b"x" * 2000)
    incoming = models.incoming("owner/repo", "0" * 40)
    for name, age in (("old", 2 * 24 * 3600), ("new", 60)):
        (incoming / name).parent.mkdir(parents=True, exist_ok=True)
        (incoming / name).write_bytes(b"x" * 500)
        os.utime(incoming / name, (time.time() - age,) * 2)
    [finding] = store.check_store(models)
    assert (finding.level, finding.text, finding.fix) == (
        "note",
        "2.50 kB are used by files that no model needs",
        "edgeinfer models prune",
    )
    assert models.leftovers() == models.prune()
    assert store.check_store(models)[0].level == "ok"


@NOT_ROOT
def test_a_store_that_is_not_ours_to_read(tmp_path: Path) -> None:
    """Somebody else has to ask."""
    tmp_path.chmod(0)
    try:
        assert store.check_store(Store(tmp_path))[0].fix == "sudo edgeinfer doctor"
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("disk", "level", "words"),
    [
        (DiskStatus(50 * 10**9), "ok", "50.0 GB free"),
        (DiskStatus(50 * 10**9, inodes=12), "ok", "50.0 GB free"),
        (DiskStatus(10**8), "note", "too little for another model"),
        (DiskStatus(10**7), "error", "is full: 10.0 MB are free"),
        (DiskStatus(50 * 10**9, read_only=True), "error", "mounted read-only"),
        (DiskStatus(50 * 10**9, inodes=0), "error", "no free inodes"),
    ],
)
def test_disks(disk: DiskStatus, level: str, words: str) -> None:
    """Full, nearly full, read-only, without inodes."""
    [finding] = store.check_disk(disk, Path("/var/lib/edgeinfer"))
    assert finding.level == level
    assert words in finding.text


def test_the_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    """That of the nearest one above."""
    status = store.disk_status(tmp_path / "a/b/c")
    assert not status.read_only
    assert status.free > 0


def test_files_that_others_can_change_or_read(tmp_path: Path) -> None:
    """What is trusted, and what is secret; a folder like /tmp is safe, as its bit says."""
    config, keys, shared = tmp_path / "config.toml", tmp_path / "my keys", tmp_path / "tmp"
    shared.mkdir()
    for path in (config, keys):
        path.write_text("x")
    for path, mode in ((config, 0o666), (keys, 0o640), (shared, 0o1777)):
        path.chmod(mode)
    assert permissions.check_permissions([config, shared, tmp_path / "none"], [keys], None) == [
        Finding("permissions", "error", f"any user can change {config}", f"chmod o-w {config}"),
        Finding("permissions", "warning", f"other users can read the keys in {keys}", f"chmod 600 '{keys}'"),
    ]
    config.chmod(0o644)
    keys.chmod(0o600)
    assert [f.level for f in permissions.check_permissions([config], [keys], None)] == ["ok"]


def test_what_the_services_user_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its model's file and settings, and keys that are not its own."""
    monkeypatch.setattr(access_check, "TEMPORARY", ())
    monkeypatch.setattr(access_check, "SERVICE_FOLDERS", (tmp_path / "ours",))
    monkeypatch.setattr(access_check, "HOMES", tuple(tmp_path.parents))
    me = pwd.getpwuid(os.geteuid())
    other = next(entry for entry in pwd.getpwall() if entry.pw_uid != me.pw_uid)
    config, keys = tmp_path / "config.toml", tmp_path / "ours/keys"
    keys.parent.mkdir()
    for path, mode in ((config, 0o600), (keys, 0o600)):
        path.write_text("x")
        path.chmod(mode)
    spec = service(config=config, api_key_file=str(keys))
    monkeypatch.setattr(permissions, "USER", other.pw_name)
    findings = permissions.check_permissions([], [], spec)
    assert [(f.level, f.fix) for f in findings] == [
        ("error", f"sudo chmod a+r {config}"),
        ("error", f"sudo chown {other.pw_name}: {keys}"),
    ]
    monkeypatch.setattr(permissions, "USER", me.pw_name)
    config.chmod(0o644)
    assert [f.level for f in permissions.check_permissions([], [], spec)] == ["ok"]


def safer_file(path: Path, model: Path) -> Path:
    """As a worker leaves it that died of SIGILL with repacked weights."""
    wanted = LlamaConfig(model=str(model), name="tiny", threads=4)
    proved = LlamaConfig(model=str(model), name="tiny", threads=1, repack=False)
    SafeModeStore(path).remember(wanted, proved, "SIGILL in the self-test")
    return path


def test_safer_settings_are_shown_and_how_to_forget_them(tmp_path: Path) -> None:
    """A warning for the model that is served, a note for another."""
    model = tmp_path / "tiny.gguf"
    file = safer_file(tmp_path / fallbacks.FILE, model)
    [finding] = fallbacks.check_fallbacks(file, str(model))
    text = (
        "tiny.gguf runs without repacked weights (and AMX), on 1 thread, because of: SIGILL in the self-test"
    )
    assert (finding.level, finding.text) == ("warning", text)
    assert finding.fix
    assert f"rm {file}" in finding.fix
    assert fallbacks.check_fallbacks(file, "/another")[0].level == "note"
    file.unlink()
    assert not read_overrides(file)
    assert [f.level for f in fallbacks.check_fallbacks(file, str(model))] == ["ok"]


def test_safer_settings_are_looked_for_where_the_daemon_keeps_them() -> None:
    """Two names of one file."""
    assert fallbacks.FILE == FALLBACKS


def settings_of(home: Path, **more: str) -> list[Finding]:
    environ = {"HOME": str(home), **more}
    try:
        loaded = load(environ=environ)
    except SettingsError as e:
        return configuration.check_configuration(e, environ, has_service=True)
    return configuration.check_configuration(loaded, environ, has_service=True)


def test_a_configuration_file_in_force(tmp_path: Path) -> None:
    """It is named; none at all is fine too."""
    assert brief(settings_of(tmp_path)) == [("ok", "no configuration file; defaults apply")]
    file = tmp_path / ".config/edgeinfer/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("port = 8080\n")
    assert brief(settings_of(tmp_path)) == [("ok", str(file))]


@pytest.mark.parametrize(
    ("text", "words"),
    [("pralel = 4", "unknown setting 'pralel'"), ("port = 70000", "port"), ("port = ", "Invalid value")],
)
def test_a_configuration_that_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    """An unknown key, a value out of bounds, no TOML."""
    file = tmp_path / "config.toml"
    file.write_text(text)
    [finding] = settings_of(tmp_path, EDGEINFER_CONFIG=str(file))
    assert finding.level == "error"
    assert words in finding.text


def test_variables_that_the_service_does_not_see(tmp_path: Path) -> None:
    """And a key for clients, which is no setting."""
    [finding] = settings_of(tmp_path, EDGEINFER_CTX="512", EDGEINFER_API_KEY="k", EDGEINFER_PORT="")
    assert (finding.level, finding.text) == (
        "note",
        "EDGEINFER_CTX is set in this shell, where the service does not see it",
    )


def test_a_file_that_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's goes before the user's."""
    system = tmp_path / "system.toml"
    own = tmp_path / ".config/edgeinfer/config.toml"
    own.parent.mkdir(parents=True)
    for path in (system, own):
        path.write_text("")
    for module in ("edgeinfer.settings", "edgeinfer.doctor.configuration"):
        monkeypatch.setattr(f"{module}.SYSTEM_CONFIG", system)
    [finding] = settings_of(tmp_path)
    assert (finding.level, finding.text) == ("note", f"{own} is ignored, as {system} exists")


def test_who_gets_in(tmp_path: Path) -> None:
    """This machine; others with a key, over plain HTTP; others without one, which the daemon refuses."""
    assert brief(access.check_access(Settings(), None)) == [
        ("ok", "only this machine can reach it, no key required")
    ]
    keys = tmp_path / "keys"
    keys.write_text("one\ntwo\n")
    keys.chmod(0o600)
    text = "only this machine can reach it, 2 API keys"
    assert brief(access.check_access(Settings(), str(keys))) == [("ok", text)]
    [plain] = access.check_access(Settings(host="0.0.0.0"), str(keys))
    assert (plain.level, plain.fix) == ("warning", "set tls_cert and tls_key")
    exposed, _ = access.check_access(Settings(host="0.0.0.0"), None)
    assert (exposed.level, exposed.fix) == ("error", "create one: edgeinfer key add NAME")
    assert access.check_access(Settings(host="0.0.0.0", uds="/run/s"), None)[0].level == "ok"


def test_keys_and_certificates_of_no_use(tmp_path: Path) -> None:
    """Missing, bad, empty."""
    keys = tmp_path / "keys"
    [missing] = access.check_access(Settings(), str(keys))
    assert missing.level == "error"
    assert missing.fix == f"edgeinfer key add NAME --api-key-file {keys}"
    keys.write_text("sha256:12 x\n")
    assert "line 1 should be" in access.check_access(Settings(), str(keys))[0].text
    [bad] = access.check_access(Settings(tls_cert=str(keys)), None)
    assert (bad.level, bad.fix) == ("error", "give tls_cert a file with the line -----BEGIN CERTIFICATE-----")


@NOT_ROOT
def test_keys_that_are_not_ours_to_read(tmp_path: Path) -> None:
    """No fault, but it can't be said."""
    keys = tmp_path / "keys"
    keys.write_text("one\n")
    keys.chmod(0)
    assert [(f.level, f.fix) for f in access.check_access(Settings(), str(keys))] == [
        ("note", "sudo edgeinfer doctor")
    ]
