"""`edgeinfer pull`: what a person types, and what there is afterwards."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from edgeinfer.cli.progress import ProgressLines
from edgeinfer.errors import InvalidRequest, ModelNotFound
from edgeinfer.hub.endpoint import Endpoint
from edgeinfer.hub.ensure_installed import available_files, ensure_installed, model_name
from edgeinfer.hub.reference import ModelReference
from edgeinfer.service import discovery
from edgeinfer.service.builtin import BuiltinManager
from edgeinfer.service.spec import Scope
from edgeinfer.store.catalogue import catalogue
from edgeinfer.store.progress import size_text
from edgeinfer.store.store import Store
from tests.support.cli import Terminal, run
from tests.support.f16_model import write_f16_model
from tests.support.faulty_hub import COMMIT, REPO, FaultyHub, cut, refusal, serving, stall, status, wait_for

OWN = f"""
[our-nano]
description = "A model of our own."
licence = "MIT"
context = 2048
roles = ["chat"]
aliases = ["ours"]
repo = "{REPO}"
files.Q8_0 = {{ file = "Nano-*.gguf" }}
files.Q4_0 = {{ file = "*-Q4_0.gguf", size = 2500000 }}
files.F16 = {{ file = "Tiny-F16.gguf" }}
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("models") / "Tiny-F16.gguf"
    write_f16_model(path)
    return path.read_bytes()


@pytest.fixture
def hub(model_file: Path, tiny: bytes) -> Iterator[FaultyHub]:
    with serving(FaultyHub({"Nano-Q8_0.gguf": model_file.read_bytes(), "Tiny-F16.gguf": tiny})) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    own = tmp_path / ".config/edgeinfer/models.toml"
    own.parent.mkdir(parents=True)
    own.write_text(OWN)
    return tmp_path


def pull(home: Path, hub: FaultyHub, *arguments: str, **env: str) -> CompletedProcess[str]:
    return run(home, "pull", *arguments, HF_ENDPOINT=hub.url, **env)


def models(home: Path) -> list[str]:
    return [f"{stored.name}:{stored.quant}" for stored in Store(home / "store").installed()]


def test_a_model_of_the_catalogue_is_fetched(hub: FaultyHub, home: Path, model_file: Path) -> None:
    """By an alias; stdout is its path alone."""
    done = pull(home, hub, "ours:q8_0")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.removesuffix("\n")).read_bytes() == model_file.read_bytes()
    size = size_text(model_file.stat().st_size)
    assert done.stderr == (
        f"Nano-Q8_0.gguf: {size}\n100 %  {size} in 0 s\nnext: edgeinfer serve --model our-nano:Q8_0\n"
    )
    assert models(home) == ["our-nano:Q8_0"]


def test_a_second_time_nothing_is_fetched(hub: FaultyHub, home: Path) -> None:
    """The hub is only asked whether there is something new."""
    first = pull(home, hub, "our-nano", "--quant", "Q8_0")
    hub.requests.clear()
    again = pull(home, hub, "our-nano:Q8_0", "--json")
    assert again.returncode == 0
    assert "our-nano:Q8_0 is already installed" in again.stderr
    record = json.loads(again.stdout)
    assert record["path"] == first.stdout.strip()
    assert (record["name"], record["quant"], record["revision"]) == ("our-nano", "Q8_0", COMMIT)
    assert [r.path for r in hub.requests] == [f"/api/models/{REPO}/revision/main?blobs=true"]


def test_a_newer_one_is_fetched_when_asked_for(hub: FaultyHub, home: Path, model_file: Path) -> None:
    """Until then what is here stays, and there is a word about it."""
    first = pull(home, hub, "our-nano:Q8_0").stdout
    hub.commit = "b2" * 20
    hub.files["Nano-Q8_0.gguf"] += bytes(64)
    unchanged = pull(home, hub, "our-nano:Q8_0")
    assert unchanged.stdout == first
    assert "the hub has another version of our-nano:Q8_0; to download it: --update" in unchanged.stderr
    hub.faults = [status(404)]
    assert pull(home, hub, "our-nano:Q8_0", "--update").returncode == 1
    assert models(home) == ["our-nano:Q8_0"]
    assert Path(first.strip()).read_bytes() == model_file.read_bytes()
    done = pull(home, hub, "our-nano:Q8_0", "--update")
    assert "to free its disk space later: edgeinfer models prune" in done.stderr
    new = done.stdout
    assert new != first
    assert Path(new.strip()).read_bytes() == hub.files["Nano-Q8_0.gguf"]
    assert Path(first.strip()).exists()
    assert models(home) == ["our-nano:Q8_0"]


def test_without_a_quantization_the_plan_chooses(hub: FaultyHub, home: Path) -> None:
    """By the header of one of the files, where the catalogue has no shape of the model."""
    done = pull(home, hub, "our-nano")
    assert done.returncode == 0, done.stderr
    assert models(home)[0] in ("our-nano:Q8_0", "our-nano:F16")
    hub.requests.clear()
    hub.files = {"Odd-Q8_0.gguf": hub.files["Nano-Q8_0.gguf"], "Odd-Q6_K.gguf": hub.files["Nano-Q8_0.gguf"]}
    done = pull(home, hub, REPO)
    assert done.returncode == 0, done.stderr
    assert len(hub.file_requests) == 2  # a header and a file
    assert models(home)[-1] in ("odd:Q8_0", "odd:Q6_K")
    again = pull(home, hub, REPO)
    assert again.stdout == done.stdout
    assert "is already installed" in again.stderr
    assert len(hub.file_requests) == 2


def test_a_file_of_any_repository_can_be_named(hub: FaultyHub, home: Path) -> None:
    """It is called as its file is, unless the catalogue knows it."""
    hub.files["deep/Else-Q8_0.gguf"] = hub.files["Nano-Q8_0.gguf"]
    done = pull(home, hub, f"https://huggingface.co/{REPO}/blob/main/deep/Else-Q8_0.gguf")
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("next: edgeinfer serve --model else:Q8_0\n")
    done = pull(home, hub, f"{REPO}/Nano-Q8_0.gguf")
    assert done.stderr.endswith("next: edgeinfer serve --model our-nano:Q8_0\n")
    known = catalogue({})
    assert model_name(REPO, "Other-Q8_0.gguf", known) == "other"
    assert model_name("x/y", "Qwen3-0.6B-Q8_0.gguf", known) == "qwen3-0.6b"
    assert model_name("x/y", "DeepSeek-R1-Q4_0.gguf", known) == "deepseek-r1"
    assert (
        model_name("bartowski/Llama-3.2-1B-Instruct-GGUF", "Llama-3.2-1B-Instruct-Q4_0.gguf", known)
        == "llama-3.2-1b"
    )


def test_a_repository_of_several_models_needs_a_file(hub: FaultyHub) -> None:
    """One of a quantization that only one of them has does not."""
    some = b"GGUF"
    hub.files = {"A-Q4_0.gguf": some, "A-Q8_0.gguf": some, "B-Q4_0.gguf": some, "C-Q6_K.gguf": some}
    here = Endpoint(hub.url)
    with pytest.raises(InvalidRequest, match="has Q4_0 of several models: a, b, c") as error:
        available_files(ModelReference(repo=REPO, quant="Q4_0"), hub=here)
    assert error.value.hint == f"name a file, for example {REPO}/A-Q4_0.gguf"
    assert [p.file for p in available_files(ModelReference(repo=REPO, quant="Q6_K"), hub=here)] == [
        "C-Q6_K.gguf"
    ]
    assert [p.name for p in available_files(ModelReference(repo=REPO), hub=here)] == ["a", "a"]


def test_what_nobody_published_is_made_of_f16(hub: FaultyHub, home: Path, tiny: bytes) -> None:
    """And what it was made of goes again."""
    done = pull(home, hub, "our-nano:Q4_K_M")
    assert done.returncode == 0, done.stderr
    assert models(home) == ["our-nano:Q4_K_M"]
    assert Path(done.stdout.strip()).name == "Tiny-F16.Q4_K_M.gguf"
    assert "our-nano:Q4_K_M is not published; making it from F16" in done.stderr
    assert "removed F16 again" in done.stderr
    hub.requests.clear()
    assert pull(home, hub, "our-nano:Q4_K_M").stdout == done.stdout
    assert hub.file_requests == []


def test_what_was_here_before_is_kept(hub: FaultyHub, home: Path) -> None:
    """It was asked for."""
    pull(home, hub, "our-nano:F16")
    hub.announced = {"Tiny-F16.gguf": "d" * 64}  # there is another by now
    assert pull(home, hub, "our-nano:Q4_K_M").returncode == 0
    assert models(home) == ["our-nano:F16", "our-nano:Q4_K_M"]
    assert len(hub.file_requests) == 1


def test_what_can_t_be_made_is_refused(hub: FaultyHub, home: Path) -> None:
    """With what there is; Q8_0 serves only where it is allowed to."""
    del hub.files["Tiny-F16.gguf"]
    done = pull(home, hub, "our-nano:Q4_K_M")
    assert done.returncode == 1
    assert done.stderr == (
        "error: our-nano is not published as Q4_K_M\n"
        "hint: published: Q8_0; --requantize makes it from Q8_0, at some cost in quality\n"
    )
    done = pull(home, hub, "our-nano:Q4_K_M", "--requantize")
    assert done.returncode == 0, done.stderr
    assert "slightly lower" in done.stderr
    assert models(home) == ["our-nano:Q4_K_M"]


def test_offline_says_whether_it_is_here(hub: FaultyHub, home: Path) -> None:
    """By flag or variable; what is missing is named."""
    missing = pull(home, hub, "our-nano:Q4_0", "--offline")
    assert missing.returncode == 1
    assert f"our-nano:Q4_0 is not installed (*-Q4_0.gguf of {REPO}, 2.50 MB)" in missing.stderr
    assert hub.requests == []
    path = pull(home, hub, "our-nano:Q8_0").stdout
    hub.requests.clear()
    for there in (
        pull(home, hub, "our-nano", "--offline"),
        pull(home, hub, "our-nano:Q8_0", HF_HUB_OFFLINE="1"),
        pull(home, hub, REPO, "--offline"),
    ):
        assert (there.returncode, there.stdout) == (0, path), there.stderr
    assert hub.requests == []


@pytest.mark.slow
def test_a_dead_network_does_not_hide_what_is_here(hub: FaultyHub, home: Path) -> None:
    """An update needs one."""
    path = pull(home, hub, "our-nano:Q8_0").stdout
    hub.first_answers = [refusal(401, "GatedRepo")]
    done = pull(home, hub, "our-nano:Q8_0")
    assert (done.returncode, done.stdout) == (0, path)
    assert "only available to users who have accepted" in done.stderr
    hub.first_answers = [refusal(401, "GatedRepo")]
    assert pull(home, hub, "our-nano:Q8_0", "--update").returncode == 1
    hub.url = "http://127.0.0.1:1"
    done = pull(home, hub, "our-nano:Q8_0")
    assert (done.returncode, done.stdout) == (0, path)
    assert "cannot check for a newer version: no connection to 127.0.0.1:1" in done.stderr


def test_the_bundled_model_needs_no_fetching(hub: FaultyHub, home: Path) -> None:
    """Asking for it is a mistake that can be explained."""
    done = pull(home, hub, "edgeinfer-nano")
    assert done.returncode == 1
    assert "edgeinfer-nano comes with edgeinfer" in done.stderr
    assert hub.requests == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("our-nano:Q8_0", "--quant", "Q4_0"),
        ("our-nano", "--quant", "../x"),
        ("our-nano", "--revision", "../x"),
        ("/etc/passwd",),
        ("nosuch-model",),
    ],
)
def test_what_makes_no_sense_is_an_error(hub: FaultyHub, home: Path, arguments: tuple[str, ...]) -> None:
    """Before anybody is asked."""
    done = pull(home, hub, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert "hint: " in done.stderr or "--" in done.stderr
    assert hub.requests == []


def test_a_revision_can_be_named(hub: FaultyHub, home: Path) -> None:
    """It goes before the catalogue's."""
    assert pull(home, hub, "our-nano:Q8_0", "--revision", COMMIT).returncode == 0
    assert hub.requests[0].path == f"/api/models/{REPO}/revision/{COMMIT}?blobs=true"
    done = pull(home, hub, "our-nano:F16", "--revision", "v9")
    assert f"error: {REPO} has no such revision" in done.stderr


def test_lines_tell_rate_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    """Every few seconds, for a log; what was here before does not count for the rate."""
    now = 100.0
    lines = ProgressLines(lambda: now)
    lines.begin("a.gguf", 100_000_000, 20_000_000)
    for second in range(1, 13):
        now = 100.0 + second
        lines.update(20_000_000 + second * 2_000_000)
    lines.update(10_000_000)
    now = 200.0
    lines.end()
    lines.begin("b.gguf", 10)
    lines.update(10)
    lines.end()
    assert capsys.readouterr().err.splitlines() == [
        "a.gguf: 100 MB",
        " 30 %  30.0 MB of 100 MB, 2.00 MB/s, 35 s left",
        " 40 %  40.0 MB of 100 MB, 2.00 MB/s, 30 s left",
        " 10 %  10.0 MB of 100 MB",
        "stopped at 10.0 MB of 100 MB",
        "b.gguf: 10 bytes",
        "100 %  10 bytes in 0 s",
    ]


@pytest.mark.slow
def test_a_terminal_shows_a_bar_and_ctrl_c_keeps_what_came(hub: FaultyHub, home: Path) -> None:
    """The same command goes on."""
    over = threading.Event()
    hub.faults = [cut(0.3), stall(0.3, over)]
    terminal = Terminal(home, "pull", "ours:Q8_0", HF_ENDPOINT=hub.url, TERM="xterm")
    terminal.expect(r"closed connection[\s\S]*trying again")
    terminal.expect(r"Nano-Q8_0\.gguf .*/\d\.\d MB")
    wait_for(lambda: len(hub.file_requests) == 2)
    terminal.interrupt()
    terminal.expect("stopped; run the same command to resume")
    assert terminal.wait() == 130
    over.set()
    done = pull(home, hub, "ours:Q8_0")
    assert done.returncode == 0
    assert "continuing after" in done.stderr


def test_obtain_takes_what_is_offered(hub: FaultyHub, tmp_path: Path) -> None:
    """Even where the hub no longer has it: what is here is here."""
    store, here = Store(tmp_path), Endpoint(hub.url)
    offered = available_files(ModelReference(repo=REPO, quant="Q8_0"), hub=here)
    stored = ensure_installed(offered, "q8_0", store, hub=here)
    assert (
        ensure_installed(
            available_files(ModelReference(repo=REPO, file="Tiny-F16.gguf"), hub=here), "F16", store, hub=here
        ).quant
        == "F16"
    )
    hub.files.pop("Nano-Q8_0.gguf")
    with pytest.raises(ModelNotFound):
        available_files(ModelReference(repo=REPO, file="Nano-Q8_0.gguf"), hub=here)
    assert stored in store.installed()


@pytest.mark.parametrize(
    ("scope", "mine", "words"),
    [
        ("user", "user", ["next: edgeinfer install --model our-nano:Q8_0"]),
        (
            "system",
            "user",
            ["does not see this one", "next: sudo ", "edgeinfer install --model our-nano:Q8_0"],
        ),
    ],
)
def test_with_a_service_the_next_step_is_that_of_the_service(
    hub: FaultyHub,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    scope: Scope,
    mine: Scope,
    words: list[str],
) -> None:
    """Another daemon could not listen at its port; and the system's service has a store of its own."""
    manager = BuiltinManager(scope, {"HOME": str(home)})
    manager.spec = home / "service.json"
    manager.spec.touch()
    monkeypatch.setattr(discovery, "installed_manager", lambda: manager)
    monkeypatch.setattr(discovery, "default_scope", lambda: mine)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    done = pull(home, hub, "ours:q8_0")
    for word in words:
        assert word in done.stderr
    assert "edgeinfer serve" not in done.stderr
