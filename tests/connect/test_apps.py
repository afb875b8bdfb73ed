"""What each app is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml  # type: ignore[import-untyped]

from edgeinfer.connect.app import AppEndpoint, Places
from edgeinfer.connect.catalogue import APPS, find
from edgeinfer.connect.changes import planned
from edgeinfer.errors import EdgeinferError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KNOWN = AppEndpoint(
    "http://127.0.0.1:11435", model_name="qwen3-4b", context=16384, fill_model="qwen2.5-coder-1.5b"
)


def places(home: Path, **environ: str) -> Places:
    return Places({"HOME": str(home), **environ}, "linux")


def written(app: str, endpoint: AppEndpoint, where: Places) -> dict[str, str]:
    """The files by their path in the home directory."""
    changes = planned(app, APPS[app].setup(endpoint, where).edits)
    return {str(c.file.path.relative_to(where.home)): c.new.decode() for c in changes}


def only(app: str, endpoint: AppEndpoint, where: Places) -> str:
    (text,) = written(app, endpoint, where).values()
    return text


def test_codex_gets_a_profile_with_responses_and_the_context(tmp_path: Path) -> None:
    files = written("codex", KNOWN, places(tmp_path))
    profile = tomllib.loads(files[".codex/edgeinfer.config.toml"])
    provider = profile["model_providers"][profile["model_provider"]]
    (model,) = json.loads(files[".codex/edgeinfer.models.json"])["models"]
    assert (profile["model"], model["slug"], model["context_window"]) == ("default", "default", 16384)
    assert profile["model_catalog_json"] == str(tmp_path / ".codex/edgeinfer.models.json")
    assert (provider["base_url"], provider["wire_api"]) == ("http://127.0.0.1:11435/v1", "responses")


def test_claude_code_gets_the_real_name_as_default_means_another_model(tmp_path: Path) -> None:
    settings = json.loads(only("claude-code", KNOWN, places(tmp_path)))
    assert settings["model"] == settings["env"]["ANTHROPIC_DEFAULT_HAIKU_MODEL"] == "qwen3-4b"
    assert settings["env"]["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:11435"
    with pytest.raises(EdgeinferError, match="needs the name of a model"):
        written("claude-code", AppEndpoint("http://127.0.0.1:11435"), places(tmp_path))


def test_aider_knows_the_context_of_the_model_it_uses(tmp_path: Path) -> None:
    files = written("aider", KNOWN, places(tmp_path))
    facts = json.loads(files[".aider.edgeinfer.json"])
    assert facts["openai/default"]["max_input_tokens"] == 16384
    assert 'model: "openai/default"\n' in files[".aider.edgeinfer.yml"]


def test_opencode_keeps_the_model_and_the_file_that_somebody_chose(tmp_path: Path) -> None:
    path = tmp_path / ".config/opencode/opencode.jsonc"
    path.parent.mkdir(parents=True)
    path.write_text('{"model": "mine", /* and */ "theme": "x"}')
    files = written("opencode", KNOWN, places(tmp_path))
    assert list(files) == [".config/opencode/opencode.jsonc"]
    assert files[".config/opencode/opencode.jsonc"].startswith('{"model": "mine", /* and */ "theme": "x", ')


def test_zed_predicts_edits_with_a_model_that_fills_gaps_unless_that_is_set(tmp_path: Path) -> None:
    settings = json.loads(only("zed", KNOWN, places(tmp_path)))
    assert settings["edit_predictions"]["open_ai_compatible_api"]["model"] == "qwen2.5-coder-1.5b"
    path = tmp_path / ".config/zed/settings.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"edit_predictions": {"provider": "zed"}}')
    assert json.loads(only("zed", KNOWN, places(tmp_path)))["edit_predictions"] == {"provider": "zed"}


def test_neovim_is_configured_where_it_is_used(tmp_path: Path) -> None:
    assert list(written("llama.vim", KNOWN, places(tmp_path))) == [".vim/plugin/edgeinfer.vim"]
    (tmp_path / ".config/nvim").mkdir(parents=True)
    assert list(written("llama.vim", KNOWN, places(tmp_path))) == [".config/nvim/plugin/edgeinfer.vim"]


def test_a_build_of_vs_code_that_is_there_is_preferred(tmp_path: Path) -> None:
    assert list(written("copilot", KNOWN, places(tmp_path))) == [".config/Code/User/chatLanguageModels.json"]
    (tmp_path / ".config/VSCodium/User").mkdir(parents=True)
    assert list(written("llama.vscode", KNOWN, places(tmp_path))) == [".config/VSCodium/User/settings.json"]


@pytest.mark.parametrize(
    ("app", "variable", "path"),
    [
        ("codex", "CODEX_HOME", "there/edgeinfer.config.toml"),
        ("claude-code", "CLAUDE_CONFIG_DIR", "there/edgeinfer.json"),
        ("llm", "LLM_USER_PATH", "there/extra-openai-models.yaml"),
        ("zed", "XDG_CONFIG_HOME", "there/zed/settings.json"),
    ],
)
def test_variables_of_the_app_say_where_its_files_are(
    tmp_path: Path, app: str, variable: str, path: str
) -> None:
    where = places(tmp_path, **{variable: str(tmp_path / "there")})
    assert next(iter(written(app, KNOWN, where))) == path


def test_a_mac_has_its_own_folders(tmp_path: Path) -> None:
    where = Places({"HOME": str(tmp_path)}, "darwin")
    assert list(written("llm", KNOWN, where)) == [
        "Library/Application Support/io.datasette.llm/extra-openai-models.yaml"
    ]


@pytest.mark.parametrize(
    ("said", "name"), [("Claude Code", "claude-code"), ("llama_vim", "llama.vim"), ("VSCode", "llama.vscode")]
)
def test_apps_are_found_as_people_write_them(said: str, name: str) -> None:
    assert find(said).name == name


@pytest.mark.parametrize("key_needed", [False, True])
@pytest.mark.parametrize("model", ["default", "a: 'b' \"c\" # {d}"])
def test_every_file_is_sound_in_its_format_and_names_the_daemon(
    key_needed: bool, model: str, tmp_path: Path
) -> None:
    """Whatever the model is called."""
    parsers: dict[str, Any] = {
        ".json": json.loads,
        ".jsonc": json.loads,
        ".toml": tomllib.loads,
        ".yml": yaml.safe_load,
        ".yaml": yaml.safe_load,
    }
    endpoint = msgspec.structs.replace(KNOWN, model=model, key_needed=key_needed)
    parsed = set()
    for app in APPS:
        files = written(app, endpoint, places(tmp_path))
        for name, text in files.items():
            if parse := parsers.get(Path(name).suffix):
                assert parse(text), name
                parsed.add(app)
        assert not files or any(KNOWN.url in text for text in files.values()), app
    others = {"crush", "llama.vim"}  # a shell's commands, and Vim's
    assert parsed | others == {app for app in APPS if written(app, endpoint, places(tmp_path))}


def test_names_with_any_characters_stay_within_their_quotes(tmp_path: Path) -> None:
    odd: Any = AppEndpoint("http://h:1", model="a'b\"c $(x)", model_name="n", context=4096)
    assert "'a''b\"c $(x)'" in only("llama.vim", odd, places(tmp_path))
    profile = written("codex", odd, places(tmp_path))[".codex/edgeinfer.config.toml"]
    assert tomllib.loads(profile)["model"] == odd.model
    assert "edgeinfer/'a'\"'\"'b\"c $(x)'" in only("crush", odd, places(tmp_path))
