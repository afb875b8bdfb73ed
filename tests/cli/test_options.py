"""Options made from the settings."""

from __future__ import annotations

import inspect
import typing
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
import typer
from msgspec import Meta

from edgeinfer.cli import options
from edgeinfer.cli.app import app
from edgeinfer.settings import FIELDS
from tests.support.cli import run


class Example(msgspec.Struct):
    """Bounds may stand around the whole annotation, or around a member of its union."""

    inside: Annotated[Annotated[int, Meta(ge=1, le=9)] | None, Meta(description="Inside.")] = None
    around: Annotated[float, Meta(description="Around.", gt=0)] = 1.5
    text: Annotated[str | None, Meta(description="Text.")] = None
    bare: bool = False


EXAMPLES = {field.name: field for field in msgspec.structs.fields(Example)}


def parse(*arguments: str) -> dict[str, Any]:
    """The flags that a command made by `with_settings` is given."""
    seen: dict[str, Any] = {}
    small = typer.Typer()

    @options.with_settings
    def command(flags: dict[str, Any], *, own: bool = False) -> None:
        seen.update(flags, own=own)

    small.command()(command)
    small(list(arguments), standalone_mode=False)
    return seen


def test_every_setting_is_an_option_of_serve() -> None:
    """Declared once, in settings.py."""
    serve = next(c.callback for c in app.registered_commands if c.callback and c.callback.__name__ == "serve")
    parameters = inspect.signature(serve).parameters
    assert set(FIELDS) <= set(parameters)
    for name, field in FIELDS.items():
        _, option = typing.get_args(parameters[name].annotation)
        assert option.help == options.description(field) != ""


def test_only_what_was_typed_is_a_flag() -> None:
    """A default of the command line would hide what the environment and the file say."""
    assert parse() == {"own": False}
    assert parse("--ctx", "4096", "--own") == {"ctx": 4096, "own": True}


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        (["--port", "0"], {"port": 0}),
        (["--model", "a b.gguf"], {"model": "a b.gguf"}),
        (["--step-ms", "50"], {"step_ms": 50.0}),
        (["--flash-attention"], {"flash_attention": True}),
        (["--no-flash-attention"], {"flash_attention": False}),
        (["--kv-type", "q8_0"], {"kv_type": "q8_0"}),
        (["--gpu-layers", "-1"], {"gpu_layers": -1}),
    ],
)
def test_options_give_values_of_the_settings_type(arguments: list[str], flags: dict[str, Any]) -> None:
    """Whole numbers, numbers, texts, choices, and what is on or off."""
    assert parse(*arguments) == flags | {"own": False}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "70000"],
        ["--ctx", "1"],
        ["--ctx", "many"],
        ["--kv-type", "q3"],
        ["--contxt", "1"],
        ["one", "surplus"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], tmp_path: Path) -> None:
    """And says what is wrong, and where help is."""
    done = run(tmp_path, "serve", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr
    assert "Try 'edgeinfer serve" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("serve --port x", "'--port': it must be a whole number from 0 to 65535, not 'x'"),
        ("serve --port 70000", "'--port': it must be a whole number from 0 to 65535, not '70000'"),
        ("serve --parallel 1.5", "'--parallel': it must be a whole number from 1 to 256, not '1.5'"),
        ("serve --drain-timeout soon", "'--drain-timeout': it must be a number of at least 0, not 'soon'"),
        ("serve --layout rows", "'--layout': it must be one of streams, unified, not 'rows'"),
        ("chat --max-tokens all Hi", "'--max-tokens': it must be a whole number of at least 1, not 'all'"),
        ("chat --seed 0.5 Hi", "'--seed': it must be a whole number, not '0.5'"),
        ("logs -n few", "it must be a whole number of at least 0, not 'few'"),
        ("mirror --port -1", "'--port': it must be a whole number from 0 to 65535, not '-1'"),
        ("key add a --requests-per-minute no", "it must be a whole number of at least 0, not 'no'"),
    ],
)
def test_a_bad_value_is_told_with_what_the_option_takes(arguments: str, words: str, tmp_path: Path) -> None:
    """In our own words: those of typer change from version to version."""
    done = run(tmp_path, *arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("Error: Invalid value for '-")
    assert done.stderr.rstrip().endswith(words)


def test_bounds_are_found_around_an_annotation_and_inside_of_it() -> None:
    """`int | None` cannot have bounds, its `int` can."""
    inside, around = EXAMPLES["inside"], EXAMPLES["around"]
    assert (options.bound(inside, "ge"), options.bound(inside, "le"), options.bound(inside, "gt")) == (
        1,
        9,
        None,
    )
    assert (options.bound(around, "ge"), options.bound(around, "gt")) == (None, 0)
    assert [options.description(field) for field in EXAMPLES.values()] == ["Inside.", "Around.", "Text.", ""]
    assert [options.bare_type(field.type) for field in EXAMPLES.values()] == [
        int | None,
        float,
        str | None,
        bool,
    ]


def test_what_is_left_to_the_plan_is_told_from_what_is_left_out() -> None:
    """No number means: find one. No text means none."""
    assert [options.is_planned(field) for field in EXAMPLES.values()] == [True, False, False, False]
