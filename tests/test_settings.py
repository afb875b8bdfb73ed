from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeinfer import settings
from edgeinfer.errors import SettingsError


def write_config(home: Path, text: str) -> dict[str, str]:
    """An environment whose configuration file holds `text`."""
    file = home / "edgeinfer" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return {"XDG_CONFIG_HOME": str(home)}


def test_defaults_stand_where_nothing_is_said(tmp_path: Path) -> None:
    """Without flags, environment and file every value is the default, and says so."""
    loaded = settings.load(environ={"XDG_CONFIG_HOME": str(tmp_path)})
    assert settings.Settings() == loaded.settings
    assert {"default"} == set(loaded.sources.values())
    assert set(settings.FIELDS) == set(loaded.sources)


def test_flags_beat_environment_beats_file_beats_default(tmp_path: Path) -> None:
    """Each place wins over the next, and each value knows where it came from."""
    environ = write_config(tmp_path, 'port = 1\nctx = 100\nqueue = 3\nmodel = "from-file"')
    environ |= {"EDGEINFER_PORT": "2", "EDGEINFER_CTX": "200"}
    loaded = settings.load({"port": 3, "threads": None}, environ)
    assert (loaded.settings.port, loaded.settings.ctx, loaded.settings.queue) == (3, 200, 3)
    assert loaded.sources["port"] == "flag"
    assert loaded.sources["ctx"] == "env EDGEINFER_CTX"
    assert f"file {tmp_path / 'edgeinfer' / 'config.toml'}" == loaded.sources["queue"]
    assert loaded.sources["threads"] == "default"


def test_environment_values_are_read_as_the_settings_type(tmp_path: Path) -> None:
    """The environment has only text; numbers, truth values and choices are read out of it."""
    environ = {"EDGEINFER_FLASH_ATTENTION": "true", "EDGEINFER_STEP_MS": "50", "EDGEINFER_KV_TYPE": "q8_0"}
    found = settings.load(environ=environ | {"XDG_CONFIG_HOME": str(tmp_path)}).settings
    assert (found.flash_attention, found.step_ms, found.kv_type) == (True, 50.0, "q8_0")


@pytest.mark.parametrize(
    ("environ", "param", "hint"),
    [
        ({"EDGEINFER_CONTEXT": "1"}, "context", "ctx"),
        ({"EDGEINFER_PARALEL": "1"}, "paralel", "parallel"),
        ({"EDGEINFER_XYZZY": "1"}, "xyzzy", "the settings are"),
    ],
)
def test_an_unknown_variable_names_the_nearest_setting(
    environ: dict[str, str], param: str, hint: str, tmp_path: Path
) -> None:
    """A typing error is not ignored, and the message helps to mend it."""
    with pytest.raises(SettingsError, match="unknown setting") as caught:
        settings.load(environ=environ | {"XDG_CONFIG_HOME": str(tmp_path)})
    assert param == caught.value.param
    assert hint in (caught.value.hint or "")


def test_an_unknown_key_in_the_file_names_file_and_nearest_setting(tmp_path: Path) -> None:
    """The same for the file."""
    with pytest.raises(SettingsError, match=r"'thread' in file .*config\.toml") as caught:
        settings.load(environ=write_config(tmp_path, "thread = 4"))
    assert caught.value.hint == "did you mean 'threads'?"


@pytest.mark.parametrize(
    "text",
    [
        "port = 70000",
        'port = "80"',
        "ctx = 4",
        "parallel = 0",
        "step_ms = -1",
        'kv_type = "q3"',
        "port = true",
        "[",
    ],
)
def test_a_bad_value_in_the_file_is_refused(text: str, tmp_path: Path) -> None:
    """Out of bounds, of the wrong type, not among the choices, or not TOML at all."""
    with pytest.raises(SettingsError, match=r"config\.toml"):
        settings.load(environ=write_config(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("port = 70000", "at most 65535"),
        ("ctx = 4", "at least 16"),
        ('ctx = "4k"', "a whole number"),
        ("port = true", "a whole number"),
        ("step_ms = 2.5", "at least 10"),
        ('step_ms = "fast"', "a number"),
        ("confine = 1", "true or false"),
        ('cors_origins = ["a"]', "a text in quotes"),
        ("model = 3", "a text in quotes"),
        ('kv_type = "q3"', "one of f32, f16, bf16, q8_0, q4_0"),
        ('log_level = "loud"', "one of debug, info, warning, error"),
    ],
)
def test_a_bad_value_is_told_in_words(text: str, rule: str, tmp_path: Path) -> None:
    """Not in those of a library."""
    with pytest.raises(SettingsError, match=f": it must be {rule}$"):
        settings.load(environ=write_config(tmp_path, text))


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "many"), ("THREADS", "0"), ("FLASH_ATTENTION", "maybe")]
)
def test_a_bad_value_in_the_environment_names_the_variable(name: str, value: str, tmp_path: Path) -> None:
    """What was set wrong must be found again."""
    with pytest.raises(SettingsError, match=f"EDGEINFER_{name}"):
        settings.load(environ={f"EDGEINFER_{name}": value, "XDG_CONFIG_HOME": str(tmp_path)})


@pytest.mark.parametrize("name", ["parallel", "threads", "cells", "batch", "ubatch", "gpu_layers"])
def test_a_number_that_the_plan_would_find_can_be_given(name: str, tmp_path: Path) -> None:
    """None is the default, not the only value."""
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert getattr(settings.load({name: 256}, environ).settings, name) == 256
    assert (
        getattr(settings.load(environ=environ | {f"EDGEINFER_{name.upper()}": "256"}).settings, name) == 256
    )


@pytest.mark.parametrize(
    "environ",
    [{"EDGEINFER_THREADS": "10000"}, {"EDGEINFER_THREADS": "many"}, {"EDGEINFER_THREADS": "0"}],
    ids=str,
)
def test_threads_that_cannot_be_meant_are_refused_with_the_machine_s_number(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """llama.cpp takes no more than 512."""
    with pytest.raises(SettingsError, match="threads: it must be ") as caught:
        settings.load(environ=environ | {"XDG_CONFIG_HOME": str(tmp_path)})
    assert f"this machine has {os.cpu_count()} CPU" in (caught.value.hint or "")


def test_the_clients_key_is_no_setting(tmp_path: Path) -> None:
    """Who exports it for `edgeinfer chat` can start a daemon all the same."""
    settings.load(environ={"EDGEINFER_API_KEY": "secret", "XDG_CONFIG_HOME": str(tmp_path)})


def test_a_bad_flag_is_refused(tmp_path: Path) -> None:
    """Bounds hold for whoever calls, not only for the command line."""
    with pytest.raises(SettingsError, match="flag: load_timeout"):
        settings.load({"load_timeout": 0.0}, {"XDG_CONFIG_HOME": str(tmp_path)})


def test_a_configuration_file_named_by_hand_must_exist(tmp_path: Path) -> None:
    """Silently running with defaults is not what somebody wanted who named a file."""
    with pytest.raises(SettingsError, match="no such file"):
        settings.load(environ={"EDGEINFER_CONFIG": str(tmp_path / "none.toml")})


def test_a_configuration_file_named_by_hand_is_read(tmp_path: Path) -> None:
    """EDGEINFER_CONFIG goes before the usual places."""
    environ = write_config(tmp_path, "ctx = 100")
    (tmp_path / "mine.toml").write_text("ctx = 200")
    loaded = settings.load(environ=environ | {"EDGEINFER_CONFIG": str(tmp_path / "mine.toml")})
    assert loaded.settings.ctx == 200
