"""The store of models: what is in it is whole, whatever happens to whoever writes it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.errors import StoreBusy, StoreError
from edgeinfer.settings import Settings
from edgeinfer.store.location import store_root
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import model_problem
from tests.support.paths import ROOT
from tests.support.stored import COMMIT, DATA, LATER, REPO, adopt, stored


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def files(store: Store) -> set[str]:
    """Everything below the store but its locks."""
    paths = (p.relative_to(store.root) for p in store.root.rglob("*"))
    return {str(p) for p in paths if not p.is_relative_to("locks")}


def test_an_adopted_file_is_found_where_its_name_says(store: Store) -> None:
    """Real files, in directories that a person can read."""
    model = adopt(store)
    path = store.root / "models/owner/some-GGUF/0123456789ab/some-Q4_0.gguf"
    assert path == model.path
    assert DATA == path.read_bytes()
    assert [model] == store.installed()
    assert not [path for path in (store.root / "incoming").rglob("*") if path.is_file()]


def test_names_and_quantizations_are_found_in_any_case(store: Store) -> None:
    """Without a quantization the newest one is meant."""
    adopt(store)
    other = adopt(store, quant="Q8_0", file="some-Q8_0.gguf")
    assert store.find("SOME") == other
    assert store.find("some", "q8_0") == other
    assert (store.find("some", "q4_0") or other).quant == "Q4_0"
    assert store.find("some", "F16") is None
    assert store.find("other") is None


def test_a_clock_that_goes_back_does_not_change_which_model_is_the_newest(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boards without a battery wake up in the past."""
    adopt(store)
    monkeypatch.setattr(time, "time", lambda: 1.0)
    adopt(store, quant="Q8_0", file="some-Q8_0.gguf")
    assert ["Q4_0", "Q8_0"] == [model.quant for model in store.installed()]


def test_the_store_can_be_moved(store: Store, tmp_path: Path) -> None:
    """To a larger disk: no path of its own is written anywhere."""
    adopt(store)
    moved = Store(store.root.rename(tmp_path / "moved"))
    assert [tmp_path / "moved"] == [model.path.parents[4] for model in moved.installed()]


def test_a_file_of_the_wrong_size_is_not_adopted(store: Store) -> None:
    """It is not what was announced."""
    partial = store.incoming(REPO, COMMIT) / "partial"
    partial.write_bytes(DATA[:-1])
    with pytest.raises(StoreError, match="3003 bytes, not 3004"):
        store.adopt(partial, stored())
    assert [] == store.installed()


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tests.support.stored import DATA, REPO, COMMIT, stored
from edgeinfer.store.store import Store

def run(root, kill_at):
    calls = 0
    def counted(function):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return call
    for module, name in ((os, "fsync"), (Path, "replace"), (Path, "mkdir"), (Path, "write_bytes"), (Path, "rmdir")):
        setattr(module, name, counted(getattr(module, name)))
    store = Store(root)
    if not store.installed():  # as a second attempt would
        partial = store.incoming(REPO, COMMIT) / "partial"
        partial.write_bytes(DATA)
        store.adopt(partial, stored())

for kill_at in range(1, 100):
    root = Path(sys.argv[1], str(kill_at))
    if not (pid := os.fork()):
        run(root, kill_at)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    print(kill_at, os.waitstatus_to_exitcode(status))
    if not status:
        break
"""


def test_a_kill_at_any_point_leaves_no_model_or_a_whole_one(tmp_path: Path) -> None:
    """And the next attempt succeeds, and nothing is left over after a pruning."""
    code = KILLED.format(tests=str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert len(lines) > 10
    assert {"-9"} == {line.split()[1] for line in lines[:-1]}
    seen = set()
    for line in lines:
        store = Store(tmp_path / line.split()[0])
        models = store.installed()
        seen.add(len(models))
        assert all(store.verify(one) is None for one in models)
        if not models:
            adopt(store)
        store.prune()
        assert {"records/some@Q4_0.json"} == {name for name in files(store) if name.startswith("records/")}
        assert [None] == [store.verify(one) for one in store.installed()]
    assert {0, 1} == seen


ADOPTER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tests.support.stored import adopt
from edgeinfer.store.store import Store
for number in range(20):
    adopt(Store(Path(sys.argv[1])), quant=f"Q{{number}}", file=sys.argv[2] + f"{{number}}.gguf")
"""


def test_processes_that_adopt_at_once_do_not_disturb_each_other(store: Store) -> None:
    """Each record is that of one of them, and its file is there."""
    code = ADOPTER.format(tests=str(ROOT))
    both = [
        subprocess.Popen([sys.executable, "-c", code, store.root, name], stderr=subprocess.PIPE)
        for name in ("a", "b")
    ]
    # The partial file has one name for both, so one of them may well find that it has gone.
    for process in both:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0 or b"StoreError" in errors
    models = store.installed()
    assert models
    assert [None] * len(models) == [store.verify(one) for one in models]
    assert models == store.recorded()


def test_removing_frees_the_file_the_record_and_the_directories(store: Store) -> None:
    """And nothing else."""
    other = adopt(store, quant="Q8_0", revision=LATER, file="some-Q8_0.gguf")
    gone = adopt(store)
    assert len(DATA) == store.remove(gone)
    assert [other] == store.installed()
    assert not (store.root / "models" / REPO / COMMIT[:12]).exists()
    assert 0 == store.remove(gone)
    store.remove(other)
    assert {"models", "records"} == {name for name in files(store) if not name.startswith("incoming")}


def test_removing_what_was_replaced_meanwhile_leaves_the_new_one(store: Store) -> None:
    """Somebody else may just have pulled it."""
    old = adopt(store)
    new = adopt(store, revision=LATER)
    with pytest.raises(StoreError, match="replaced in the meantime"):
        store.remove(old)
    assert [new] == store.installed()


def test_a_file_with_two_records_stays_until_the_second_is_removed(store: Store) -> None:
    """Two names may mean one file."""
    one = adopt(store)
    two = adopt(store, name="alias")
    assert 0 == store.remove(one)
    assert two.path.exists()
    assert len(DATA) == store.remove(two)


def test_an_imported_file_is_noted_and_never_touched(store: Store, tmp_path: Path) -> None:
    """Not even when it is removed."""
    path = tmp_path / "theirs.gguf"
    path.write_bytes(DATA)
    model = store.record(stored(path=path, repo="local/theirs"))
    assert ("import", path) == (model.origin, model.path)
    assert [model] == store.installed()
    assert 0 == store.remove(model)
    assert DATA == path.read_bytes()
    assert [] == store.recorded()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(DATA + b"!"), "changed"),
        (lambda path: os.utime(path, (1, 1)), "changed"),
    ],
    ids=["gone", "size", "mtime"],
)
def test_an_import_that_has_changed_is_kept_but_not_served(
    store: Store, tmp_path: Path, harm: Any, words: str
) -> None:
    """Its owner may do with it what they like; the person sees why it is not there."""
    path = tmp_path / "theirs.gguf"
    path.write_bytes(DATA)
    model = store.record(stored(path=path, repo="local/theirs"))
    harm(path)
    assert [] == store.installed()
    assert [model] == store.recorded()
    assert words in (model_problem(model) or "")
    assert store.find("some") is None


def test_a_replaced_revision_stays_until_it_is_pruned(store: Store) -> None:
    """A running daemon may have to load it again."""
    old = adopt(store)
    new = adopt(store, revision=LATER)
    assert [new] == store.installed()
    assert old.path.exists()
    assert len(DATA) == store.prune()
    assert not old.path.exists()
    assert [new] == store.installed()


def test_pruning_takes_downloads_that_were_given_up_and_leaves_the_others(store: Store) -> None:
    """A day without a byte."""
    old, new = (store.incoming(REPO, commit) / "partial" for commit in (COMMIT, LATER))
    old.write_bytes(DATA)
    new.write_bytes(DATA)
    empty = store.incoming("owner/empty", COMMIT)
    for path in (old, empty, empty.parent):
        os.utime(path, (time.time() - 100_000,) * 2)
    assert len(DATA) == store.prune()
    assert (False, True, False) == (old.exists(), new.exists(), empty.exists())


def test_nothing_is_pruned_while_a_record_cannot_be_read(store: Store) -> None:
    """It may be a later version's, and its model is not ours to delete."""
    model = adopt(store)
    record = store.root / "records" / "some@Q4_0.json"
    record.write_text(record.read_text().replace('"size"', '"length"'))
    with pytest.raises(StoreError, match="cannot be read"):
        store.prune()
    assert model.path.exists()


def broken(**fields: Any) -> bytes:
    record = {
        "name": "x",
        "quant": "Q4_0",
        "size": 4,
        "sha256": "0" * 64,
        "repo": "local/x",
        "revision": COMMIT,
        "file": "x.gguf",
        "origin": "import",
        "added": 1.0,
        "path": "/dev/null",
    }
    return json.dumps(record | fields).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"name": "x"}',
        broken(name="y"),
        broken(name="../x"),
        broken(origin="hub", repo="../.."),
        broken(origin="hub", file="../../../../etc/passwd"),
        broken(origin="hub", file="/etc/passwd"),
        broken(origin="hub", file="a\0b"),
        broken(revision="main"),
        broken(revision="../../../.."),
        broken(path="relative.gguf"),
        broken(path="/etc/\0passwd"),
        broken(path=None),
        broken(size=-1),
        broken(added=1e300),
        broken()[:-1] + b', "x": ' + b"[" * 100_000,
        broken(sha256="x"),
        broken(origin="elsewhere"),
    ],
    ids=range(21),
)
def test_a_record_that_is_none_is_left_out_with_a_warning(
    store: Store, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are still there."""
    model = adopt(store)
    path = store.root / "records" / "x@Q4_0.json"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert [model] == store.recorded()
    assert str(path) in caplog.text


@pytest.mark.parametrize("name", ["", ".", "..", "-x", ".x", "a/b", "a\\b", "a\0", "a\n", "a b", "a" * 201])
def test_hostile_names_never_become_paths(store: Store, name: str) -> None:
    """Neither a model's name, nor a quantization, nor a repository, a commit or a file."""
    for fields in ({"name": name}, {"quant": name}, {"repo": f"owner/{name}"}, {"revision": name}):
        partial = store.incoming(REPO, COMMIT) / "partial"
        partial.write_bytes(DATA)
        with pytest.raises(StoreError):
            store.adopt(partial, stored(DATA, **fields))
    assert [] == store.recorded()


@pytest.mark.parametrize("file", ["", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a\\b", "a\0b", ".x"])
def test_hostile_file_names_never_become_paths(store: Store, file: str) -> None:
    """The hub's names are a stranger's."""
    with pytest.raises(StoreError):
        adopt(store, file=file)
    assert [] == store.recorded()


def test_links_do_not_lead_out_of_the_store(store: Store, tmp_path: Path) -> None:
    """Neither for what is written, nor for what is read, nor for what is deleted."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "some-Q4_0.gguf").write_bytes(DATA)
    directory = store.root / "models" / REPO / COMMIT[:12]
    directory.parent.mkdir(parents=True)
    directory.symlink_to(outside)
    with pytest.raises(StoreError, match="out of the store"):
        adopt(store)
    with pytest.raises(StoreError, match="out of the store"):
        store.remove(stored())
    directory.unlink()
    model = adopt(store)
    model.path.unlink()
    model.path.symlink_to(outside / "some-Q4_0.gguf")
    assert [] == store.installed()
    store.remove(model)
    assert DATA == (outside / "some-Q4_0.gguf").read_bytes()


def test_verifying_reads_every_byte(store: Store) -> None:
    """One that has flipped on the card is found, and progress is told."""
    model = adopt(store)
    pieces: list[int] = []
    assert store.verify(model, pieces.append) is None
    assert len(DATA) == sum(pieces)
    model.path.write_bytes(DATA[:-1] + b"\1")
    assert "sha256" in (store.verify(model) or "")
    model.path.unlink()
    assert "missing" in (store.verify(model) or "")


def test_a_lock_is_held_by_one_and_says_by_whom(store: Store) -> None:
    """Also within one process, whose threads may pull the same model."""
    with store.lock("owner/repo@main"):
        with (
            pytest.raises(StoreBusy, match=f"process {os.getpid()} is busy with owner/repo@main"),
            store.lock("owner/repo@main"),
        ):
            pass
        with store.lock("another"):
            pass
    with store.lock("owner/repo@main"):
        pass


HOLDER = """
import sys, time
from pathlib import Path
from edgeinfer.store.store import Store
with Store(Path(sys.argv[1])).lock("key"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_ends_with_the_process_that_held_it(store: Store) -> None:
    """However it ended."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, store.root], stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert b"held\n" == holder.stdout.readline()
        with pytest.raises(StoreBusy, match=str(holder.pid)) as raised, store.lock("key"):
            pass
        assert str(holder.pid) in str(raised.value.hint)
        holder.kill()
    with store.lock("key", wait=10):
        pass


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """And to read it is no error: there is nothing in it."""
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file" / "store")
    assert [] == store.installed()
    with pytest.raises(StoreError, match="Not a directory"):
        store.incoming(REPO, COMMIT)
    with pytest.raises(StoreError, match="Not a directory"):
        store.prune()


def test_the_service_can_read_what_root_has_installed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the umask of root is. A user's own store is the user's own."""
    before = os.umask(0o077)
    try:
        own = adopt(Store(store.root / "own"))
        monkeypatch.setattr("edgeinfer.store.store.SYSTEM_STORE", store.root)
        model = adopt(store)
    finally:
        os.umask(before)
    readable = [model.path, store.root / "records" / "some@Q4_0.json"]
    assert [0o644] * 2 == [path.stat().st_mode & 0o777 for path in readable]
    above = [parent for path in readable for parent in path.parents if parent.is_relative_to(store.root)]
    assert {0o755} == {path.stat().st_mode & 0o777 for path in above}
    assert own.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("uid", "environ", "expected"),
    [
        (1000, {"EDGEINFER_STORE": "/mnt/models", "XDG_DATA_HOME": "/x"}, "/mnt/models"),
        (1000, {"XDG_DATA_HOME": "/x"}, "/x/edgeinfer"),
        (1000, {"HOME": "/home/a"}, "/home/a/.local/share/edgeinfer"),
        (1000, {"HOME": "/home/a", "STATE_DIRECTORY": "/var/lib/edgeinfer"}, "/var/lib/edgeinfer"),
        (
            1000,
            {"HOME": "/home/a", "STATE_DIRECTORY": "/home/a/.local/state/edgeinfer"},
            "/home/a/.local/share/edgeinfer",
        ),
        (0, {"HOME": "/root"}, "/var/lib/edgeinfer"),
        (0, {"HOME": "/root", "EDGEINFER_STORE": "/mnt/models"}, "/mnt/models"),
    ],
)
def test_where_the_store_is(
    uid: int, environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's own data, or the machine's."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert Path(expected) == store_root(environ)


def test_the_settings_name_the_store(tmp_path: Path) -> None:
    """Which the configuration file or the environment may have said."""
    assert tmp_path == Store.of(Settings(store=str(tmp_path))).root
    assert store_root() == Store.of(Settings()).root
