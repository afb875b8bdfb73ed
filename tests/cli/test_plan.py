"""edgeinfer plan."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.paths import TREES


def test_a_recorded_machine_is_planned_for(tmp_path: Path) -> None:
    """What it is, what would run on it, and why."""
    done = run(tmp_path, "plan", "--root", str(TREES / "orange-pi-5-8gb"))
    assert (0, "") == (done.returncode, done.stderr)
    assert "Board      Orange Pi 5\n" in done.stdout
    assert "Model      deepseek-r1-distill-qwen-1.5b:Q4_K_M\n" in done.stdout
    assert "about 10" in done.stdout
    assert "- cpus 4-7: " in done.stdout
    assert "RAM needed" in done.stdout
    assert "deepseek-r1-distill-qwen-1.5b:Q8_0" in done.stdout
    assert 80 >= max(map(len, done.stdout.splitlines()))


def test_a_card_has_its_own_memory(tmp_path: Path) -> None:
    """Beside the RAM."""
    done = run(tmp_path, "plan", "--root", str(TREES / "rtx-3060-desktop"))
    assert "Model      deepseek-r1-distill-qwen-1.5b:F16\n" in done.stdout
    assert "GPU memory needed" in done.stdout


@pytest.mark.parametrize("record", sorted(path.name for path in TREES.iterdir() if path.is_dir()))
def test_no_line_is_wider_than_a_terminal(record: str, tmp_path: Path) -> None:
    """Of 80 columns; all of them."""
    done = run(tmp_path, "plan", "--root", str(TREES / record))
    assert 0 == done.returncode
    assert 80 >= max(map(len, done.stdout.splitlines()))


def test_a_program_gets_all_of_it(tmp_path: Path) -> None:
    """As JSON."""
    done = run(tmp_path, "plan", "--root", str(TREES / "pi5-4gb"), "--json")
    plan = json.loads(done.stdout)
    assert ("Q4_K_M", True, 4) == (plan["quant"], plan["fits"], plan["plan"]["config"]["threads"])
    assert plan["memory"]["needed"] + plan["budget"]["headroom"] <= plan["budget"]["available"]
    assert "raspberry-pi-5" == plan["machine"]["board"]["family"]
    assert all(other["against"] for other in plan["others"])


def test_larger_models_are_told(tmp_path: Path) -> None:
    """With their speed, and the command that installs one; not to somebody who names a model."""
    arguments = ("plan", "--root", str(TREES / "strix-halo-128gb"))
    done = run(tmp_path, *arguments)
    assert "larger models, at a good speed" in done.stdout
    assert "edgeinfer install --model qwen3-30b-a3b-instruct-2507\n" in done.stdout
    larger = json.loads(run(tmp_path, *arguments, "--json").stdout)["larger"]
    assert all(each["speed"]["decode"] >= 15 for each in larger)
    assert "larger models" not in run(tmp_path, *arguments, "--model", "qwen3-1.7b").stdout


@pytest.mark.parametrize(
    ("arguments", "label"),
    [
        (("--model", "qwen3-1.7b"), "qwen3-1.7b:Q4_K_M"),
        (("--model", "R1-1.5B", "--quant", "q8_0"), "deepseek-r1-distill-qwen-1.5b:Q8_0"),
        (("--model", "qwen3-0.6b:Q8_0"), "qwen3-0.6b:Q8_0"),
        (("--quant", "Q4_0"), "deepseek-r1-distill-qwen-1.5b:Q4_0"),
        (("--model", "edgeinfer-nano"), "edgeinfer-nano:Q8_0"),
    ],
    ids=" ".join,
)
def test_model_and_quantization_can_be_given(arguments: tuple[str, ...], label: str, tmp_path: Path) -> None:
    """By name, alias, and in one word."""
    done = run(tmp_path, "plan", "--root", str(TREES / "pi5-8gb"), *arguments)
    assert f"Model      {label}\n" in done.stdout


def test_what_does_not_fit_is_refused_with_the_numbers(tmp_path: Path) -> None:
    """And shown if it is forced."""
    arguments = ("plan", "--root", str(TREES / "pi4-2gb"), "--model", "r1-1.5b")
    done = run(tmp_path, *arguments)
    assert (1, "") == (done.returncode, done.stdout)
    assert "can be used" in done.stderr
    assert "qwen3-0.6b" in done.stderr
    forced = run(tmp_path, *arguments, "--force")
    assert 0 == forced.returncode
    assert "Fits       no\n" in forced.stdout


def test_a_program_gets_the_reason_where_nothing_fits(tmp_path: Path) -> None:
    """The exit code is that of the refusal."""
    arguments = ("plan", "--root", str(TREES / "pi4-2gb"), "--model", "r1-1.5b", "--json")
    done = run(tmp_path, *arguments)
    assert (1, "") == (done.returncode, done.stderr)
    refusal = json.loads(done.stdout)
    assert (False, "does_not_fit") == (refusal["fits"], refusal["error"]["code"])
    assert "can be used" in refusal["error"]["message"]
    assert "raspberry-pi-4" == refusal["machine"]["board"]["family"]


@pytest.mark.parametrize("kind", ["missing", "file", "empty"])
def test_a_record_that_is_not_there_is_a_mistake(kind: str, tmp_path: Path) -> None:
    """No plan is made up for it."""
    root = tmp_path / "record"
    if kind == "file":
        root.touch()
    elif kind == "empty":
        root.mkdir()
    done = run(tmp_path, "plan", "--root", str(root), "--json")
    assert (2, "") == (done.returncode, done.stdout)
    assert "record" in done.stderr


def test_a_system_of_an_unusual_kind_is_told(tmp_path: Path) -> None:
    """The plan says what will not work there, before anything is installed."""
    root = tmp_path / "record"
    shutil.copytree(TREES / "pi4-4gb", root)
    (root / "commands/uname.txt").write_text("armv7l\n")
    done = run(tmp_path, "plan", "--root", str(root))
    assert "Note       the programs of this system are 32-bit" in done.stdout
    assert json.loads(run(tmp_path, "plan", "--root", str(root), "--json").stdout)["notes"]


def test_a_name_that_nothing_has_is_told(tmp_path: Path) -> None:
    """With the nearest one."""
    done = run(tmp_path, "plan", "--model", "qwen3-0.6")
    assert 1 == done.returncode
    assert "qwen3-0.6b" in done.stderr


def test_a_file_is_planned_for(tmp_path: Path, model_file: Path) -> None:
    """On this machine, by its own header."""
    (tmp_path / "mine.gguf").symlink_to(model_file)
    done = run(tmp_path, "plan", "--model", str(tmp_path / "mine.gguf"))
    assert 0 == done.returncode
    assert "Model      mine:Q8_0\n" in done.stdout
    assert str(model_file) in done.stdout.replace("\n           ", "")


def test_this_machine_has_a_plan(tmp_path: Path) -> None:
    """Whatever it is; the model in the configuration is the one that is planned for."""
    done = run(tmp_path, "plan", EDGEINFER_MODEL="edgeinfer-nano")
    assert 0 == done.returncode
    assert "Model      edgeinfer-nano:Q8_0\n" in done.stdout
    assert "threads 1: " in done.stdout


@pytest.mark.parametrize("arguments", [(), ("--model", "nano")])
def test_a_table_of_the_configuration_is_planned_for(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Whether it is the default model or the one that is asked about."""
    config = tmp_path / "my.toml"
    config.write_text('model = "nano"\n[models.nano]\nmodel = "edgeinfer-nano"\nctx = 777\n')
    done = run(tmp_path, "plan", "--json", *arguments, EDGEINFER_CONFIG=str(config))
    planned = json.loads(done.stdout)
    assert ("edgeinfer-nano", 777) == (planned["model"], planned["plan"]["config"]["ctx"])


def test_the_configuration_of_this_machine_is_nothing_to_another(tmp_path: Path) -> None:
    """A record is planned for as if it were new."""
    done = run(
        tmp_path, "plan", "--root", str(TREES / "pi5-8gb"), EDGEINFER_MODEL="fake", EDGEINFER_THREADS="1"
    )
    assert "threads 4: " in done.stdout


def test_several_models_are_planned_together(tmp_path: Path) -> None:
    """Each with what those before it leave; the exit code says whether all fit."""
    arguments = (
        "plan",
        "--root",
        str(TREES / "pi4-2gb"),
        "--model",
        "qwen3-0.6b",
        "--model",
        "edgeinfer-nano",
    )
    done = run(tmp_path, *arguments)
    assert (0, "") == (done.returncode, done.stderr)
    table = done.stdout[done.stdout.index("model   ") :].splitlines()
    assert ["memory", "left", "answers", "tok/s"] == table[0].split()[1:]
    assert table[1].startswith("qwen3-0.6b:")
    assert table[2].startswith("edgeinfer-nano:Q8_0 ")
    assert 80 >= max(map(len, done.stdout.splitlines()))
    twice = run(tmp_path, *arguments, "--model", "qwen3-1.7b")
    assert 1 == twice.returncode
    assert "qwen3-1.7b" in twice.stdout
    assert "can be used" in twice.stdout
    assert "hint: " in twice.stdout


def test_a_program_gets_several_models_too(tmp_path: Path) -> None:
    """The ones that fit with all that one alone has, others with their error."""
    names = ("qwen3-0.6b", "qwen3-1.7b:Q8_0")
    arguments = [word for name in names for word in ("--model", name)]
    done = run(tmp_path, "plan", "--root", str(TREES / "pi4-2gb"), *arguments, "--json")
    first, second = json.loads(done.stdout)["models"]
    assert (1, *names) == (done.returncode, first["name"], second["name"])
    assert (True, False) == (first["fits"], second["fits"])
    assert 0 <= first["left"] == first["budget"]["ram"] - first["memory"]["needed"]
    assert "does_not_fit" == second["error"]["code"]


def test_one_quantization_is_not_for_several_models(tmp_path: Path) -> None:
    """Each has its own in its name."""
    done = run(tmp_path, "plan", "--model", "a", "--model", "b", "--quant", "Q4_0")
    assert 2 == done.returncode
    assert "NAME:QUANT" in done.stderr
