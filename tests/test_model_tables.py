"""The `[models.NAME]` tables of the configuration file."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer import settings
from edgeinfer.errors import SettingsError
from edgeinfer.settings import Settings


def load(tmp_path: Path, text: str) -> Settings:
    """The settings of a configuration file."""
    file = tmp_path / "edgeinfer" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return settings.load(environ={"XDG_CONFIG_HOME": str(tmp_path)}).settings


def test_a_table_takes_what_it_does_not_say_from_above(tmp_path: Path) -> None:
    """Without a model it is named after one."""
    text = 'ctx = 100\nthreads = 3\n[models.a]\nctx = 200\naliases = ["z", "模型"]\n[models."b c/d:e"]\nmodel = "/x.gguf"'
    loaded = load(tmp_path, text)
    a, b = loaded.for_model("a"), loaded.for_model("b c/d:e")
    assert ("a", 200, 3) == (a.model, a.ctx, a.threads)
    assert ("/x.gguf", 100, 3) == (b.model, b.ctx, b.threads)
    assert {"z": "a", "模型": "a"} == loaded.aliases()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("models = 3", "models is not a table", "write [models.NAME]"),
        ("[[models]]\nctx = 512", "models is not a table", "write [models.NAME]"),
        ("[models]\na = 3", "[models.a] of file .* is not a table", "write [models.a]"),
        ("[models]\nctx = 512", "[models.ctx] of file .* is not a table", "write it above the tables"),
        ("[model.a]\nctx = 512", "model: it must be a text in quotes", "write [models.NAME]"),
        ("[models.a]\nctxx = 512", "unknown setting 'ctxx' in [models.a]", "did you mean 'ctx'?"),
        ('[models.a]\nalias = ["b"]', "unknown setting 'alias'", "did you mean 'aliases'?"),
        ("[models.a]\nmemory_limit_mb = 9", "unknown setting 'memory_limit_mb'", "write it above the tables"),
        ("[models.qwen2.5]\nctx = 512", "unknown setting '5' in [models.qwen2]", '[models."qwen2.5"]'),
        ('[models.a]\nctx = "many"', "[models.a] of file .*: ctx: it must be a whole number", ""),
        ('[models.a]\naliases = "b"', "aliases: it must be a list", ""),
        ("[models.a]\nkeep_alive = -2", "keep_alive: it must be at least -1$", ""),
        ("[models.default]\nctx = 512", "'default' cannot be a model's name", ""),
        ('[models.a]\naliases = ["default"]', "'default' cannot be a model's name", ""),
        ('[models.""]\nctx = 512', "'' cannot be a model's name", ""),
        ('[models." a"]\nctx = 512', "' a' cannot be a model's name", ""),
        ('[models."a\\nb"]\nctx = 512', r'[models."a\\nb"]: .* control characters', ""),
        (f"[models.{'x' * 201}]\nctx = 512", "more than 200 characters", ""),
        ('[models.a]\naliases = ["b"]\n[models.b]', "both [models.a] and [models.b] are called 'b'", ""),
        ('[models.a]\naliases = ["z"]\n[models.b]\naliases = ["z"]', "are called 'z'", ""),
        ('[models.a]\nmodel = "b"\n[models.b]\nmodel = "c"', "model 'b' is another table", "an alias"),
        ('[models.a]\nmodel = "z"\n[models.b]\nmodel = "c"\naliases = ["z"]', "another table", "an alias"),
    ],
)
def test_what_cannot_be_meant_is_an_error(tmp_path: Path, text: str, message: str, hint: str) -> None:
    """It says where it stands, and how to write it."""
    with pytest.raises(SettingsError, match=message.replace("[", r"\[")) as error:
        load(tmp_path, text)
    assert hint in (error.value.hint or "")


def test_a_name_may_be_claimed_twice_by_one_table(tmp_path: Path) -> None:
    """It means the same model."""
    assert {"a": "a", "z": "a"} == load(tmp_path, '[models.a]\naliases = ["a", "z", "z"]').aliases()


def test_two_tables_may_share_an_installed_model(tmp_path: Path) -> None:
    """One is named after it, and the other one serves it in another way."""
    loaded = load(tmp_path, '[models.qwen3]\nctx = 100\n[models.long]\nmodel = "qwen3"\nctx = 9000')
    assert [("qwen3", 100), ("qwen3", 9000)] == [
        (own.model, own.ctx) for own in map(loaded.for_model, ("qwen3", "long"))
    ]


@pytest.mark.parametrize("model", ["a", "z"])
def test_the_default_model_may_be_a_table(tmp_path: Path, model: str) -> None:
    """By its name or an alias."""
    loaded = load(tmp_path, f'model = "{model}"\n[models.a]\nmodel = "/x.gguf"\nctx = 99\naliases = ["z"]')
    name, own = loaded.default_model()
    assert ("a", "/x.gguf", 99) == (name, own.model, own.ctx)


@pytest.mark.parametrize(("keep_alive", "expected"), [("0", 0.0), ("60", 60.0), ("-1", 7.0)])
def test_the_default_model_expires_if_its_table_says_so(
    tmp_path: Path, keep_alive: str, expected: float
) -> None:
    """What holds for all models loaded on demand does not."""
    text = f'model = "a"\nkeep_alive = 1\nidle_unload = 7\n[models.a]\nkeep_alive = {keep_alive}\n[models.b]'
    loaded = load(tmp_path, text)
    assert expected == loaded.default_model()[1].idle_unload
    assert 7 == loaded.for_model("b").idle_unload


def test_a_table_may_be_called_like_the_default_model(tmp_path: Path) -> None:
    """Its settings are the default model's then, whatever has made that the default."""
    loaded = load(tmp_path, "ctx = 100\n[models.edgeinfer-nano]\nctx = 200\nkeep_alive = 5")
    assert (None, loaded) == loaded.default_model()
    own = loaded.for_default("edgeinfer-nano")
    assert (None, 200, 5) == (own.model, own.ctx, own.idle_unload)
    assert loaded == loaded.for_default("other")


@pytest.mark.parametrize("text", ['[models.x]\nmodel = "/other.gguf"', '[models.a]\naliases = ["x"]'])
def test_another_model_may_not(tmp_path: Path, text: str) -> None:
    """Requests for that name would get one or the other."""
    loaded = load(tmp_path, f'model = "/srv/x.gguf"\n{text}')
    with pytest.raises(SettingsError, match=r"both the default model and .* are called 'x'") as error:
        loaded.for_default("x")
    assert "above the tables" in (error.value.hint or "")
