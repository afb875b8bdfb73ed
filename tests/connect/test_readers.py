"""Code of the apps themselves reads what is written for them; whole apps are in test_real_apps.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgeinfer.connect.app import AppEndpoint, Places
from edgeinfer.connect.catalogue import APPS
from edgeinfer.connect.changes import planned
from tests.support.debian_programs import find_program, libraries
from tests.support.node import node_modules

pytestmark = pytest.mark.slow

CONTINUE = "@continuedev/config-yaml@1.42.0"

READ_BLOCKS = """
import { parseBlock } from "@continuedev/config-yaml";
import { readFileSync } from "node:fs";
const blocks = process.argv.slice(2).map((file) => parseBlock(readFileSync(file, "utf8")));
console.log(JSON.stringify(blocks.flatMap((block) => block.models)));
"""

ODD = 'it\'s a: "b" # {c}'

ENDPOINTS = [
    AppEndpoint("http://127.0.0.1:11435", context=16384, fill_model="coder"),
    AppEndpoint("http://127.0.0.1:11435", model=ODD, context=16384, fill_model=ODD, key_needed=True),
]


def write(app: str, endpoint: AppEndpoint, home: Path) -> list[Path]:
    """Write the files of an app, and return them."""
    changes = planned(app, APPS[app].setup(endpoint, Places({"HOME": str(home)}, "linux")).edits)
    for change in changes:
        change.file.path.parent.mkdir(parents=True, exist_ok=True)
        change.file.path.write_bytes(change.new)
    return [change.file.path for change in changes]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=["plain", "odd names and a key"])
def test_continue_reads_its_models(endpoint: AppEndpoint, tmp_path: Path) -> None:
    files = write("continue", endpoint, tmp_path)
    (tmp_path / "node_modules").symlink_to(node_modules(CONTINUE))
    program = tmp_path / "read.mjs"
    program.write_text(READ_BLOCKS)
    done = subprocess.run(
        ["node", str(program), *map(str, files)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    chat, filler = json.loads(done.stdout)
    assert (chat["provider"], chat["model"], chat["roles"]) == (
        "openai",
        endpoint.model,
        ["chat", "edit", "apply"],
    )
    assert chat["defaultCompletionOptions"] == {"contextLength": 16384}
    assert (filler["provider"], filler["model"], filler["roles"]) == (
        "ollama",
        endpoint.fill_model,
        ["autocomplete"],
    )


@pytest.mark.skipif(sys.platform != "linux", reason="Vim is one of Debian's packages")
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=["plain", "odd names and a key"])
def test_vim_keeps_what_the_user_has_set(endpoint: AppEndpoint, tmp_path: Path) -> None:
    (plugin,) = write("llama.vim", endpoint, tmp_path)
    commands = [
        "let g:llama_config = {'n_prefix': 7}",
        f"source {plugin}",
        f"call writefile([json_encode(g:llama_config)], '{tmp_path}/seen')",
    ]
    script = tmp_path / "script.vim"
    script.write_text("\n".join(commands))
    done = subprocess.run(
        [find_program("vim.basic"), "-u", "NONE", "-i", "NONE", "-es", "-S", script, "-c", "qa!"],
        env=libraries("vim.basic") | {"EDGEINFER_API_KEY": "secret", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads((tmp_path / "seen").read_text())
    assert seen == {
        "n_prefix": 7,
        "endpoint_fim": "http://127.0.0.1:11435/infill",
        "endpoint_inst": "http://127.0.0.1:11435/v1/chat/completions",
        "model_fim": endpoint.fill_model,
        "model_inst": endpoint.model,
        **({"api_key": "secret"} if endpoint.key_needed else {}),
    }
