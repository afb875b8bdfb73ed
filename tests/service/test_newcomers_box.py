"""What newcomers copy from the pages, as it stands there, on a machine that boots and reaches no other.

An app developer's programs, a developer's day on a plane, the way here from Ollama, llama-server and LM Studio, and
the first board of a fleet.
The owner of a board and an administrator are in test_pages_box.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients import client_python
from tests.support.node import node_modules
from tests.support.pages import blocks, commands
from tests.support.paths import BUNDLED

if sys.platform != "linux":
    pytest.skip("no systemd but on Linux", allow_module_level=True)
if os.geteuid() != 0:
    pytest.skip("only root can boot a box", allow_module_level=True)

from tests.support.systemd_box import Box, type_in

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(600)]

OPENAI = "openai@7.59.0"

ANSWERS = ('"content":', '"output":', '"response":')
"""One of them is in each answer that a page asks for with curl."""

OLLAMA = Path("/usr/share/ollama/.ollama/models")

RUN_BLOCKS = """
import json, sys
for name, block in json.load(open("/tmp/programs.json")):
    print("==", name, flush=True)
    exec(compile(block, name, "exec"), {"__name__": "__main__"})
"""

PROJECT = {
    "settings.py": 'import json\n\n\ndef load(path):\n    """Settings of a file."""\n    return json.load(open(path))\n',
    "cart.py": "def total(prices):\n    return sum(prices)\n",
}


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    """A machine whose user ada has edgeinfer as a service, with the bundled model."""
    modules = node_modules(OPENAI)
    box = Box()
    try:
        box.start()
        for folder in (Path(sys.base_prefix), *Path(sys.base_prefix).parents, client_python(), modules):
            box.run(
                "chmod", "a+rx", *map(str, (folder, *folder.parents))
            )  # these may be in a home of their own
        box.run("useradd", "--create-home", "--shell", "/bin/bash", "ada")
        type_in(
            box, "ada", f"{sys.prefix}/bin/edgeinfer install --offline --no-calibrate --model edgeinfer-nano"
        )
        yield box
    finally:
        box.close()


@pytest.mark.parametrize("page", ["docs/api.md", "docs/from-ollama.md"])
def test_every_curl_on_the_page_is_answered(box: Box, page: str) -> None:
    """By the model; the service listens where the page says."""
    asked = [block for block in blocks(page, "sh") if block.startswith("curl")]
    assert asked
    for block in asked:
        told = type_in(box, "ada", block.replace("curl ", "curl --fail ", 1))
        assert any(word in told for word in ANSWERS), f"{block}\n{told}"


def test_the_programs_in_python_run_with_every_library(box: Box) -> None:
    """In the versions that the tests of the clients have."""
    programs = [
        (f"{page} {number}", block)
        for page in ("docs/clients.md", "docs/anthropic.md")
        for number, block in enumerate(blocks(page, "python"))
    ]
    assert len(programs) >= 8
    box.write("/tmp/programs.json", json.dumps(programs))
    box.write("/tmp/programs.py", RUN_BLOCKS)
    told = type_in(
        box, "ada", f"LITELLM_LOCAL_MODEL_COST_MAP=True {client_python()} -W ignore /tmp/programs.py"
    )
    parts = told.split("== ")[1:]
    assert len(parts) == len(programs)
    assert all(part.split("\n", 1)[1].strip() for part in parts), told
    assert told.count("room='") == 3, "two objects of the class, and a call"
    assert "set_light room='" in told


def test_the_programs_in_javascript_run(box: Box) -> None:
    """With OpenAI's library, and with what node and browsers have."""
    for number, program in enumerate(blocks("docs/clients.md", "js")):
        box.write(f"/home/ada/app/{number}.mjs", program)
        told = type_in(
            box,
            "ada",
            f"cd app; ln -sfn {node_modules(OPENAI)} /tmp/node_modules; cp {number}.mjs /tmp; node /tmp/{number}.mjs",
        )
        assert told.strip()


def test_a_day_on_a_plane(box: Box) -> None:
    """The code assistant in a repository, and another assistant that is told of the daemon and forgets it again."""
    for name, text in PROJECT.items():
        box.write(f"/home/ada/my-project/{name}", text)
    box.run("chown", "-R", "ada:ada", "/home/ada/my-project")
    first = "git init -q\ngit config user.name Ada\ngit config user.email ada@localhost\ngit add .\ngit commit -qm First\n"
    type_in(box, "ada", f"cd my-project\n{first}echo '# The end' >>cart.py")
    install, *day = blocks("docs/code.md", "sh")[0].splitlines()
    assert install.startswith("edgeinfer install")
    told = type_in(box, "ada", "\n".join(day))
    assert "context" in told, "what fits is said"

    at_a_terminal = blocks("docs/chat.md", "sh")[0].splitlines()
    typed = [
        line for line in at_a_terminal if not line.startswith("edgeinfer chat  ")
    ]  # that one is a conversation
    assert typed
    assert type_in(box, "ada", "\n".join(["cd my-project", *typed])).strip()

    look, connect, undo = blocks("docs/clients.md", "sh", after="edgeinfer connect")[0].splitlines()
    assert "aider" in type_in(box, "ada", look)
    told = type_in(
        box, "ada", f"""echo y | script -qec {json.dumps(connect.partition("#")[0].strip())} /dev/null"""
    )
    assert ".aider.edgeinfer.yml" in told
    assert "11435" in box.run("cat", "/home/ada/.aider.edgeinfer.yml")
    type_in(box, "ada", f"""echo y | script -qec {json.dumps(undo.partition("#")[0].strip())} /dev/null""")
    assert box.attempt("ls", "/home/ada/.aider.edgeinfer.yml").returncode != 0


def put_model(box: Box, path: str | Path) -> None:
    box.run("mkdir", "-p", str(Path(path).parent))
    box.copy(BUNDLED, str(path))


def test_the_models_of_ollama_are_used_where_they_are(box: Box) -> None:
    """Its service's store, as Ollama lays it out."""
    digest = hashlib.sha256(BUNDLED.read_bytes()).hexdigest()
    put_model(box, OLLAMA / f"blobs/sha256-{digest}")
    layer = {
        "mediaType": "application/vnd.ollama.image.model",
        "digest": f"sha256:{digest}",
        "size": BUNDLED.stat().st_size,
    }
    manifest = OLLAMA / "manifests/registry.ollama.ai/library/qwen3/0.6b"
    box.write(str(manifest), json.dumps({"schemaVersion": 2, "layers": [layer]}))
    told = type_in(box, "ada", commands("docs/from-ollama.md", "Your models"))
    assert "qwen3-0.6b" in told
    assert type_in(box, "ada", 'edgeinfer run qwen3:0.6b "Hello"').strip()
    size = int(box.run("du", "-s", "--bytes", "/home/ada/.local/share/edgeinfer").split()[0])
    assert size < BUNDLED.stat().st_size, "nothing is copied"


def test_the_models_of_lm_studio_are_used_where_they_are(box: Box) -> None:
    put_model(box, "/home/ada/.lmstudio/models/lmstudio-community/Tiny-GGUF/Tiny-Q4_0.gguf")
    told = type_in(box, "ada", commands("docs/from-lm-studio.md", "Your models"))
    assert "tiny" in told.lower()


def test_the_files_of_llama_server_are_used_where_they_are(box: Box) -> None:
    put_model(box, "/home/ada/models/qwen3-0.6b-q4_0.gguf")
    told = type_in(box, "ada", commands("docs/from-llama-server.md", "Your models"))
    assert "/home/ada/models/qwen3-0.6b-q4_0.gguf" in told


@pytest.mark.heavy
def test_a_fleet_begins_with_one_board(box: Box) -> None:
    """It takes the place of the service, and is at an address of the network; one model stands for another."""
    (up,) = [block for block in blocks("docs/fleet.md", "sh") if block.startswith("edgeinfer cluster up")]
    box.run("ip", "address", "add", "192.0.2.10/32", "dev", "lo")
    type_in(box, "ada", "systemctl --user stop edgeinfer")
    type_in(box, "ada", up.replace("qwen3-0.6b", "edgeinfer-nano"))
    try:
        assert "192.0.2.10" in type_in(box, "ada", "edgeinfer cluster status")
        assert "edgeinfer" in type_in(box, "ada", 'edgeinfer run edgeinfer-nano "What can you do?"')
        assert box.run("cat", "/home/ada/.local/state/edgeinfer/cluster/token").strip()
    finally:
        type_in(box, "ada", "edgeinfer cluster down")
        type_in(box, "ada", "systemctl --user start edgeinfer")
