"""A backup of one machine is restored on another: the same settings, keys, responses and models; or nothing changes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.backup import restore as restoring
from edgeinfer.backup.manifest import MANIFEST
from edgeinfer.hub.mirror import mirror_app
from edgeinfer.store import disk
from edgeinfer.store.store import Store
from tests.support import mirror as hub
from tests.support.cli import EDGEINFER, environment, run
from tests.support.models import install, write_model
from tests.support.tiny_qwen2 import write_tiny_qwen2

CONFIG = 'ctx = 2048\nlog_level = "debug"\n\n[models.small]\nmodel = "tiny"\n'
RESPONSE = "abc-resp_1.json"


class Machine:
    """A home with a configuration of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.config = home / "config/edgeinfer/config.toml"
        self.keys = home / "config/edgeinfer/keys"
        self.responses = home / "state/edgeinfer/responses"
        self.store = Store(home / "store")
        self.variables = {
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "EDGEINFER_API_KEY_FILE": str(self.keys),
        }
        home.mkdir()

    def run(self, *arguments: str, code: int = 0, **more: str) -> str:
        done = run(self.home, *arguments, **{**self.variables, **more})
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    def state(self) -> dict[str, bytes]:
        """Everything that a restore may change."""
        found = [self.config, self.keys, *sorted(self.responses.glob("*"))]
        records = sorted((self.store.root / "records").glob("*.json"))
        return {str(path): path.read_bytes() for path in [*found, *records] if path.exists()}

    def leftovers(self) -> list[Path]:
        """What a restore that failed should not have left."""
        hidden = [path for path in self.home.rglob(".*") if path.name != ".local"]
        return [*hidden, *(path for path in self.home.rglob("*.restore*") if path.is_file())]


@pytest.fixture
def source(tmp_path: Path) -> Machine:
    """A machine that has everything: a model of the hub, and one that was made here."""
    machine = Machine(tmp_path / "source")
    machine.config.parent.mkdir(parents=True)
    machine.config.write_text(CONFIG)
    machine.run("key", "add", "laptop")
    machine.responses.mkdir(parents=True)
    (machine.responses / RESPONSE).write_text('{"input": []}')
    os.utime(machine.responses / RESPONSE, (1.7e9, 1.7e9))
    (machine.responses / ".tmp-half").write_text("half")
    install(machine.store, "tiny")
    made = write_model(machine.store.incoming("local/own", "1" * 40) / "partial", title="own")
    data = made.read_bytes()
    hub.add(
        machine.store,
        data,
        name="own",
        repo="local/own",
        revision="1" * 40,
        file="own.gguf",
        origin="quantized",
    )
    return machine


@pytest.fixture
def target(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "target")


def backup(machine: Machine, *options: str) -> Path:
    path = machine.home.parent / "backup.tar"
    machine.run("backup", str(path), *options)
    return path


def hashes(machine: Machine) -> dict[str, str]:
    """The models that are there, with the hashes of what their files really have."""
    return {
        f"{model.name}:{model.quant}": hashlib.sha256(model.path.read_bytes()).hexdigest()
        for model in machine.store.installed()
    }


@pytest.mark.parametrize("options", [(), ("--with-models",)])
def test_another_machine_becomes_the_same(source: Machine, target: Machine, options: tuple[str, ...]) -> None:
    """The hub's model comes from the hub (here: from a mirror), unless the backup has it."""
    path = backup(source, *options)
    with hub.serving(mirror_app(source.store)) as url:
        used = url if not options else "http://127.0.0.1:1"
        target.run("restore", str(path), HF_ENDPOINT=used)
    assert target.config.read_text() == CONFIG
    assert target.keys.read_bytes() == source.keys.read_bytes()
    assert [path.name for path in target.responses.iterdir()] == [RESPONSE]
    assert (target.responses / RESPONSE).stat().st_mtime == 1.7e9, "it is as old as it was"
    assert hashes(target) == hashes(source)
    assert len(hashes(source)) == 2
    assert [model.origin for model in target.store.installed()] == ["hub", "quantized"]
    assert target.leftovers() == []
    assert "laptop" in target.run("key", "ls")


def test_only_their_user_can_read_a_backup_and_what_it_restores(source: Machine, target: Machine) -> None:
    path = backup(source)
    target.run("restore", str(path), "--without-models")
    modes = [file.stat().st_mode & 0o777 for file in (path, target.keys, target.responses / RESPONSE)]
    assert modes == [0o600] * 3
    assert target.responses.stat().st_mode & 0o777 == 0o700


def test_what_is_replaced_stays_beside_it(source: Machine, target: Machine) -> None:
    path = backup(source)
    target.config.parent.mkdir(parents=True)
    target.config.write_text("ctx = 512\n")
    target.run("key", "add", "old")
    old = target.keys.read_bytes()
    for _ in range(2):
        target.run("restore", str(path), "--without-models")
    assert target.keys.read_bytes() == source.keys.read_bytes()
    assert target.config.with_name("config.toml.before-restore").read_text() == CONFIG, "the last one"
    assert old != target.keys.read_bytes()


def test_a_model_that_is_nowhere_to_be_had_leaves_everything_as_it_was(
    source: Machine, target: Machine
) -> None:
    path = backup(source)
    said = target.run("restore", str(path), "--offline", code=1)
    assert "tiny" in said
    assert not target.config.exists()
    assert not target.keys.exists()
    assert not target.responses.exists()


def test_models_can_be_left_for_later(source: Machine, target: Machine) -> None:
    told = json.loads(target.run("restore", str(backup(source)), "--without-models", "--json"))
    assert told["missing"] == ["tiny:Q4_K_M"]
    assert list(hashes(target)) == ["own:Q4_0"], "which the backup has itself"


def test_a_backup_tells_what_is_in_it(source: Machine) -> None:
    path = source.home / "made"
    path.mkdir()
    told = json.loads(source.run("backup", str(path), "--json"))
    assert Path(told["file"]).parent == path
    assert (told["settings"], told["keys"], told["responses"]) == (True, True, 1)
    assert {model["name"]: model["copied"] for model in told["models"]} == {"tiny": False, "own": True}


def test_a_machine_with_defaults_alone_can_be_backed_up(target: Machine, tmp_path: Path) -> None:
    path = backup(target)
    other = Machine(tmp_path / "other")
    other.run("restore", str(path))
    assert other.state() == {}


def test_a_damaged_model_is_not_backed_up(source: Machine) -> None:
    [own] = [model for model in source.store.installed() if model.name == "own"]
    data = bytearray(own.path.read_bytes())
    data[-1] ^= 1
    own.path.write_bytes(data)
    path = source.home / "backup.tar"
    assert "damaged" in source.run("backup", str(path), code=1)
    assert not path.exists()
    assert list(source.home.glob(".backup*")) == []


# --- hostile and broken archives


def rewritten(
    path: Path, change: Callable[[dict[str, Any], list[tuple[tarfile.TarInfo, bytes]]], None]
) -> None:
    """Change the manifest, and the members behind it, of a backup."""
    with tarfile.open(path) as archive:
        members = [(head, archive.extractfile(head).read()) for head in archive]  # type: ignore[union-attr]
    manifest, rest = json.loads(members[0][1]), members[1:]
    change(manifest, rest)
    with tarfile.open(path, "w") as archive:
        for head, data in [(tarfile.TarInfo(MANIFEST), json.dumps(manifest).encode()), *rest]:
            if head.isreg():
                head.size = len(data)
            archive.addfile(head, io.BytesIO(data))


Members = list[tuple[tarfile.TarInfo, bytes]]


def escape(manifest: dict[str, Any], members: Members) -> None:
    manifest["files"][1]["name"] = members[1][0].name = "responses/own/../../../keys.json"


def absolute(manifest: dict[str, Any], members: Members) -> None:
    manifest["files"][1]["name"] = members[1][0].name = "/tmp/edgeinfer-evil"


def symbolic_link(manifest: dict[str, Any], members: Members) -> None:
    members[1][0].type, members[1][0].linkname = tarfile.SYMTYPE, "/etc/passwd"


def hard_link(manifest: dict[str, Any], members: Members) -> None:
    members[1][0].type, members[1][0].linkname = tarfile.LNKTYPE, MANIFEST


def device(manifest: dict[str, Any], members: Members) -> None:
    members[1][0].type = tarfile.CHRTYPE


def not_listed(manifest: dict[str, Any], members: Members) -> None:
    members.insert(0, (tarfile.TarInfo("more"), b"more"))


def larger_than_listed(manifest: dict[str, Any], members: Members) -> None:
    members[1] = (members[1][0], members[1][1] + b"x" * 1000)


def too_large(manifest: dict[str, Any], members: Members) -> None:
    manifest["files"][1]["size"] = 1 << 40


def twice(manifest: dict[str, Any], members: Members) -> None:
    manifest["files"].append(manifest["files"][1])


def other_content(manifest: dict[str, Any], members: Members) -> None:
    members[1] = (members[1][0], b"#" * len(members[1][1]))


def other_model(manifest: dict[str, Any], members: Members) -> None:
    members[-1] = (members[-1][0], b"GGUF" + members[-1][1][4:-1] + b"!")


def model_outside(manifest: dict[str, Any], members: Members) -> None:
    for model in manifest["models"]:
        model["file"] = "../../../../evil.gguf"


def model_elsewhere(manifest: dict[str, Any], members: Members) -> None:
    for model in manifest["models"]:
        model |= {"repo": "../../evil"}


def later_format(manifest: dict[str, Any], members: Members) -> None:
    manifest["format"] = 2


def bad_keys(manifest: dict[str, Any], members: Members) -> None:
    data = b"sha256:nothing laptop\n"
    members[1] = (members[1][0], data)
    manifest["files"][1] |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def bad_settings(manifest: dict[str, Any], members: Members) -> None:
    data = b"nonsense = 1\n"
    members[0] = (members[0][0], data)
    manifest["files"][0] |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


HOSTILE = (
    *(escape, absolute, symbolic_link, hard_link, device, not_listed, larger_than_listed, too_large, twice),
    *(other_content, other_model, model_outside, model_elsewhere, later_format, bad_keys, bad_settings),
)


@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: change.__name__)
def test_a_hostile_or_damaged_backup_changes_nothing(
    source: Machine, target: Machine, change: Callable[[dict[str, Any], Members], None]
) -> None:
    path = backup(source)
    target.config.parent.mkdir(parents=True)
    target.config.write_text("ctx = 512\n")
    before = target.state()
    rewritten(path, change)
    assert target.run("restore", str(path), "--without-models", code=1)
    assert target.state() == before
    assert target.leftovers() == []
    assert not Path("/tmp/edgeinfer-evil").exists()


def test_a_backup_that_was_cut_anywhere_changes_nothing(source: Machine, target: Machine) -> None:
    path = backup(source)
    data = path.read_bytes()
    for length in range(0, len(data) - 10240, max(1, len(data) // 12)):
        path.write_bytes(data[:length])
        target.run("restore", str(path), "--without-models", code=1)
        assert target.state() == {}
    assert target.leftovers() == []


@pytest.mark.parametrize("text", [b"", b"x" * 2000, b"\0" * 20480])
def test_what_is_no_backup_is_named_so(target: Machine, text: bytes) -> None:
    path = target.home / "file"
    path.write_bytes(text)
    assert "backup" in target.run("restore", str(path), code=1)
    assert "No such file" in target.run("restore", str(path / "x"), code=1) or True
    assert "is not a file" in target.run("restore", "/dev/null", code=1)


def test_a_file_that_cannot_be_put_into_its_place_undoes_the_others(
    source: Machine, target: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = backup(source)
    target.config.parent.mkdir(parents=True)
    target.config.write_text("ctx = 512\n")
    before = target.state()
    replaced: list[Path] = []
    sync = disk.fsync_path

    def fail(folder: Path) -> None:
        replaced.append(folder)
        if len(replaced) == 4:  # after the responses, the last
            raise OSError(28, "No space left on device")
        sync(folder)

    monkeypatch.setattr(restoring, "fsync_path", fail)
    assert "No space left" in target.run("restore", str(path), "--without-models", code=1)
    records = {name: data for name, data in target.state().items() if "/records/" not in name}
    assert records == before
    assert not target.keys.exists()
    assert not target.responses.exists()


@pytest.mark.slow
def test_a_restore_that_is_killed_leaves_the_old_state(source: Machine, target: Machine) -> None:
    """In the middle of a large model."""
    path = source.home / "large.gguf"
    write_model(path, title="large")
    with path.open("ab") as file:
        file.write(os.urandom(1 << 20) * 256)
    hub.add(
        source.store,
        path.read_bytes(),
        name="large",
        repo="local/large",
        revision="2" * 40,
        file="large.gguf",
        origin="quantized",
    )
    archive = backup(source)
    target.config.parent.mkdir(parents=True)
    target.config.write_text("ctx = 512\n")
    before = target.state()
    command = [*EDGEINFER, "restore", str(archive), "--without-models"]
    process = subprocess.Popen(
        command, env=environment(target.home, **target.variables), stderr=subprocess.DEVNULL
    )
    while not list(target.store.root.rglob("*.restore")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL, "it was not killed in the middle"
    assert target.state() == before
    target.run("restore", str(archive), "--without-models")
    assert target.config.read_text() == CONFIG
    assert "large:Q4_0" in hashes(target)


def test_a_model_in_safetensors_comes_back_whole(source: Machine, target: Machine, tmp_path: Path) -> None:
    """One of the user's own folder, which is the store's own on the other machine."""
    folder = write_tiny_qwen2(tmp_path / "folder", shards=2)
    source.run("models", "import", str(folder), "--name", "one")
    source.run("models", "import", str(folder), "--name", "two")
    path = backup(source, "--with-models")
    target.run("restore", str(path))
    for name in ("one", "two"):
        [restored] = [model for model in target.store.installed() if model.name == name]
        assert restored.path.is_relative_to(target.store.root)
        assert target.store.verify(restored) is None
    assert target.leftovers() == []


def test_a_model_in_safetensors_cannot_write_elsewhere(
    source: Machine, target: Machine, tmp_path: Path
) -> None:
    source.run("models", "import", str(write_tiny_qwen2(tmp_path / "folder")), "--name", "one")
    path = backup(source)
    data = path.read_bytes()
    assert b'"file": "config.json"' in data
    path.write_bytes(data.replace(b'"file": "config.json"', b'"file": "../fig.json"'))
    before = target.state()
    assert "which no model has" in target.run("restore", str(path), "--offline", code=1)
    assert (target.leftovers(), target.state()) == ([], before)
