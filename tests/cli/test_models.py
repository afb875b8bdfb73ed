"""`edgeinfer models`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.store import external_stores
from edgeinfer.store.lookup import BUNDLED_MODEL
from edgeinfer.store.store import Store
from tests.support.cli import run, terminal
from tests.support.models import install, write_model

R1 = "deepseek-r1-distill-qwen-1.5b"


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have models of other programs."""
    monkeypatch.setattr(external_stores, "OLLAMA_SERVICE", Path("/nowhere"))
    for name in ("OLLAMA_MODELS", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The one that the commands use."""
    return Store(tmp_path / "store")


def models_json(home: Path, *arguments: str, **env: str) -> Any:
    done = run(home, "models", *arguments, "--json", **env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_the_list_has_the_bundled_model_and_what_was_installed(tmp_path: Path, store: Store) -> None:
    """A line each, in columns; `models` alone is the same."""
    some, other = install(store, "some", "Q8_0"), install(store, R1, "Q4_0")
    done = run(tmp_path, "models", "ls")
    lines = words(done.stdout)
    assert lines[0] == ["NAME", "QUANT", "SIZE", "ORIGIN", "FOR"]
    assert [line[0] for line in lines[1:]] == [BUNDLED_MODEL, "some", R1]
    assert lines[2][:2] == ["some", "Q8_0"]
    assert lines[2][-3:] == ["hub", "chat", str(some.path)]
    assert lines[3][-1] == str(other.path)
    assert done.stdout == run(tmp_path, "models").stdout


def test_an_empty_store_says_how_to_fill_it(tmp_path: Path) -> None:
    """There is a bundled model all the same."""
    done = run(tmp_path, "models", "ls")
    assert [BUNDLED_MODEL] == [line[0] for line in words(done.stdout)[1:]]
    assert "edgeinfer pull NAME" in done.stderr


def test_all_adds_what_the_catalogue_has(tmp_path: Path, store: Store) -> None:
    """With the quantizations, and how to get them."""
    install(store, R1)
    lines = words(run(tmp_path, "models", "ls", "--all").stdout)
    assert [line[0] for line in lines].count(R1) == 1
    [line] = [line for line in lines if line[0] == "qwen3-0.6b"]
    assert line[1:3] == ["Q4_0", "Q8_0"]
    assert line[-3:] == ["edgeinfer", "pull", "qwen3-0.6b"]


def test_a_program_gets_all_there_is(tmp_path: Path, store: Store) -> None:
    """Including what is wrong with a model."""
    some, gone = install(store, "some"), install(store, "gone")
    gone.path.unlink()
    bundled, first, second = models_json(tmp_path, "ls")
    assert (BUNDLED_MODEL, "bundled") == (bundled["name"], bundled["origin"])
    assert (some.sha256, some.repo, some.revision, None) == (
        first["sha256"],
        first["repo"],
        first["revision"],
        first["problem"],
    )
    assert second["problem"] == "its file is missing"
    assert "(its file is missing)" in run(tmp_path, "models", "ls").stdout
    assert any(row["name"] == "qwen3-0.6b" and row["files"] for row in models_json(tmp_path, "ls", "--all"))


def test_a_model_is_shown_with_what_its_file_says(tmp_path: Path, store: Store) -> None:
    """And the catalogue, for those that it has."""
    stored = install(store, R1)
    shown = run(tmp_path, "models", "show", "r1-1.5b").stdout
    assert words(shown)[0] == ["name", R1]
    for line in (f"sha256          {stored.sha256}", "licence         MIT", "layers          2"):
        assert line in shown.splitlines()
    facts = models_json(tmp_path, "show", f"{R1}:q4_k_m")
    assert (256, "qwen2", ["chat"]) == (facts["context"], facts["architecture"], facts["roles"])


def test_what_is_not_installed_can_be_shown_too(tmp_path: Path) -> None:
    """One of the catalogue, the bundled one, and a file."""
    assert models_json(tmp_path, "show", "qwen3-0.6b")["files"]
    assert models_json(tmp_path, "show", BUNDLED_MODEL)["origin"] == "bundled"
    path = write_model(tmp_path / "some.gguf")
    assert ("file", 256) == tuple(
        models_json(tmp_path, "show", str(path))[key] for key in ("origin", "context")
    )
    done = run(tmp_path, "models", "show", "xyzzy")
    assert (1, "") == (done.returncode, done.stdout)
    assert "no such model: 'xyzzy'" in done.stderr


def test_a_model_is_removed_in_all_its_quantizations_or_in_one(tmp_path: Path, store: Store) -> None:
    """What was freed is told."""
    for quant in ("Q4_0", "Q8_0", "F16"):
        install(store, "some", quant)
    done = run(tmp_path, "models", "rm", "Some:q8_0", "--yes")
    assert (0, "") == (done.returncode, done.stdout)
    assert "freed" in done.stderr
    assert ["Q4_0", "F16"] == [stored.quant for stored in store.recorded()]
    run(tmp_path, "models", "rm", "some", "-y")
    assert [] == store.recorded()
    assert not list((store.root / "models").iterdir())


def test_without_a_terminal_nothing_is_removed_unasked(tmp_path: Path, store: Store) -> None:
    """A script has to say --yes."""
    stored = install(store, "some")
    done = run(tmp_path, "models", "rm", "some", stdin="y\n")
    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert [stored] == store.installed()


@pytest.mark.parametrize(
    ("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 1), ("\n", 1, 1), ("\x04", 1, 1)]
)
def test_in_a_terminal_it_asks(tmp_path: Path, store: Store, answer: str, code: int, left: int) -> None:
    """No is what is meant unless yes is said."""
    install(store, "some")
    with terminal(tmp_path, "models", "rm", "some") as t:
        t.expect(r"some:Q4_K_M.*\n.*Remove\?.*: ")
        t.settle()
        t.send(answer)
        assert t.wait() == code
    assert left == len(store.installed())


def test_what_is_not_there_cannot_be_removed(tmp_path: Path, store: Store) -> None:
    """Nor can the bundled model."""
    install(store, "some")
    for name, hint in (
        ("other", "installed: some:Q4_K_M"),
        (BUNDLED_MODEL, "part of edgeinfer"),
        ("some:F16", ""),
    ):
        done = run(tmp_path, "models", "rm", name, "--yes")
        assert done.returncode == 1
        assert "is not installed" in done.stderr
        assert hint in done.stderr
    assert len(store.installed()) == 1


def test_a_file_is_imported_and_forgotten_again(tmp_path: Path, store: Store) -> None:
    """It stays where it is all the time."""
    path = write_model(tmp_path / "some-Q4_0.gguf")
    done = run(tmp_path, "models", "import", str(path))
    assert (0, "some:Q4_0\n") == (done.returncode, done.stdout)
    assert [path] == [stored.path for stored in store.installed()]
    done = run(tmp_path, "models", "rm", "some", "--yes")
    assert f"stays at {path}" in done.stderr
    assert ([], True) == (store.recorded(), path.exists())


def test_what_other_programs_have_is_listed_and_imported_by_its_name(tmp_path: Path, store: Store) -> None:
    """Without an argument nothing is changed."""
    path = write_model(tmp_path / ".lmstudio/models/owner/Some-GGUF/Some-Q6_K.gguf", "a")
    write_model(tmp_path / ".lmstudio/models/owner/Other-GGUF/Other-Q4_0.gguf", "b")
    done = run(tmp_path, "models", "import")
    assert [["other", "Q4_0"], ["some", "Q6_K"]] == [line[:2] for line in words(done.stdout)[1:]]
    assert [] == store.recorded()
    assert run(tmp_path, "models", "import", "some").stdout == "some:Q6_K\n"
    assert [path] == [stored.path for stored in store.installed()]
    assert f"{path} (imported)" in run(tmp_path, "models", "import").stdout
    assert [False, True] == [row["imported"] for row in models_json(tmp_path, "import")]


def test_all_models_of_a_program_are_imported_but_the_broken_ones(tmp_path: Path, store: Store) -> None:
    """Which are told, and in the exit code."""
    folder = tmp_path / ".lmstudio/models/owner/Some-GGUF"
    for quant in ("Q4_0", "Q6_K"):
        write_model(folder / f"Some-{quant}.gguf", quant)
    (folder / "Broken-Q8_0.gguf").write_bytes(b"GGUF, or so it says")
    done = run(tmp_path, "models", "import", "--from", "lmstudio")
    assert (1, {"some:Q4_0", "some:Q6_K"}) == (done.returncode, set(done.stdout.split()))
    assert "Broken-Q8_0.gguf" in done.stderr
    assert len(store.installed()) == 2
    (folder / "Broken-Q8_0.gguf").unlink()
    assert run(tmp_path, "models", "import", "--from", "lmstudio").returncode == 0


def test_importing_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A name, a path, a program without models, and a name for two."""
    for arguments, message in (
        (["xyzzy"], "no other program has a model 'xyzzy'"),
        (["./xyzzy.gguf"], "no such file"),
        (["--from", "lmstudio"], "LM Studio has no models on this machine"),
        (["--from", "huggingface"], "Hugging Face has no models on this machine"),
    ):
        done = run(tmp_path, "models", "import", *arguments)
        assert (1, "") == (done.returncode, done.stdout)
        assert message in done.stderr
    done = run(tmp_path, "models", "import", "--from", "elsewhere")
    assert done.returncode == 2
    assert "it must be one of hf, ollama, lmstudio, not 'elsewhere'" in done.stderr
    folder = tmp_path / ".lmstudio/models/owner/Some-GGUF"
    for quant in ("Q4_0", "Q6_K"):
        write_model(folder / f"Some-{quant}.gguf", quant)
    assert run(tmp_path, "models", "import", "--from", "lmstudio", "--name", "x").returncode == 2


def test_a_damaged_model_is_found(tmp_path: Path, store: Store) -> None:
    """By reading it; the others are sound."""
    install(store, "sound")
    bad = install(store, "bad")
    assert run(tmp_path, "models", "verify").returncode == 0
    data = bytearray(bad.path.read_bytes())
    data[-1] ^= 1
    bad.path.write_bytes(data)
    done = run(tmp_path, "models", "verify")
    assert done.returncode == 1
    assert done.stdout == "sound:Q4_K_M: ok\nbad:Q4_K_M: its content has changed: the sha256 differs\n"
    assert run(tmp_path, "models", "verify", "sound").returncode == 0
    assert run(tmp_path, "models", "verify", "xyzzy").returncode == 1


def test_what_no_model_needs_is_pruned(tmp_path: Path, store: Store) -> None:
    """Such as a file whose record a crash has cost."""
    stored = install(store, "some")
    (store.root / "records" / "some@Q4_K_M.json").unlink()
    done = run(tmp_path, "models", "prune")
    assert (0, "") == (done.returncode, done.stdout)
    assert not stored.path.exists()
    assert "freed" in done.stderr


def test_names_from_elsewhere_cannot_command_the_terminal(tmp_path: Path, store: Store) -> None:
    """A title is whatever a stranger wrote into a header."""
    path = write_model(tmp_path / "some-Q4_0.gguf", "a\x1b[2Jb")
    run(tmp_path, "models", "import", str(path))
    with terminal(tmp_path, "models", "show", "some") as t:
        t.wait()
        assert "\x1b[2J" not in t.seen
        assert "a\\x1b[2Jb" in t.seen


def test_a_text_of_a_file_is_shown_as_far_as_it_fits(tmp_path: Path, store: Store) -> None:
    """It may have a million characters."""
    write_model(path := tmp_path / "long.gguf", "x" * 300_000)
    done = run(tmp_path, "models", "show", str(path))
    assert "x" * 200 in done.stdout
    assert len(done.stdout) < 5000
