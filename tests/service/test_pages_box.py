"""The commands of README.md, docs/administration.md and a board's page, as they stand there, on a machine that boots.

A person copies them into a login shell, logs out, and restarts the machine. Only what needs the world is left out:
cloning the repository, and building llama.cpp from sources. Models come from a mirror on the machine itself.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import blocks, commands
from tests.support.paths import ROOT

if sys.platform != "linux":
    pytest.skip("no systemd but on Linux", allow_module_level=True)
if os.geteuid() != 0:
    pytest.skip("only root can boot a box", allow_module_level=True)

from tests.support.systemd_box import Box, type_in

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.timeout(3600),
]  # on a busy machine, measuring it takes long

NEEDS_THE_WORLD = ("git clone", "git pull", "scripts/", "sudo git", "sudo scripts/", "sudo apt")
INTERACTIVE = ("edgeinfer chat  ",)

STOP_DELAY = 12.0
"""Seconds; after ten, logind ends the services of a user who has logged out and does not linger."""

USERS = ["ada", pytest.param("root", marks=pytest.mark.heavy)]

MIRROR = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from edgeinfer.store.store import Store
from tests.support.mirror import add
from tests.support.paths import BUNDLED
for quant in ("Q4_0", "Q8_0"):
    data = BUNDLED.read_bytes()
    add(Store(Path("/srv/mirror")), data, name="tiny", quant=quant, repo="owner/tiny", file=f"tiny-{{quant}}.gguf")
"""

CATALOGUE = "".join(
    f"""
[{name}]
description = "As small as the bundled one, in the place of a real model"
licence = "Apache-2.0"
context = 2048
roles = ["chat"]
repo = "owner/tiny"
files.Q4_0 = {{ file = "tiny-Q4_0.gguf" }}
files.Q8_0 = {{ file = "tiny-Q8_0.gguf" }}
shape = {{ arch = "qwen2", layers = 6, embedding = 256, heads = 4, kv_heads = 2, head_size = 64, \
feed_forward = 512, vocabulary = 2048, tied = true }}
"""
    for name in ('"deepseek-r1-distill-qwen-1.5b"', '"qwen3-0.6b"')
)
"""The names that the pages use."""


@pytest.fixture
def box() -> Iterator[Box]:
    """A machine with a mirror, and a user called ada who may become root."""
    box = Box()
    try:
        box.start()
        for folder in (Path(sys.base_prefix), *Path(sys.base_prefix).parents):
            box.run("chmod", "a+rx", str(folder))  # this machine's Python may be in a home of its own
        box.install_packages("sudo")
        box.run("useradd", "--create-home", "--shell", "/bin/bash", "ada")
        box.write("/etc/sudoers.d/ada", 'ada ALL=(ALL) NOPASSWD: ALL\nDefaults env_keep += "HF_ENDPOINT"\n')
        box.run(sys.executable, "-c", MIRROR)
        box.run(
            *("systemd-run", "--unit=mirror", "--setenv=EDGEINFER_STORE=/srv/mirror"),
            *(f"{sys.prefix}/bin/edgeinfer", "mirror"),
        )
        box.write("/etc/environment", "HF_ENDPOINT=http://127.0.0.1:11436\n")
        box.write("/etc/edgeinfer/models.toml", CATALOGUE)
        yield box
    finally:
        box.close()


def checkout(box: Box, user: str) -> str:
    """Make a checkout that `scripts/setup` has run in; the command that goes there."""
    type_in(
        box,
        user,
        f"""
git init --quiet edgeinfer
cd edgeinfer
cp -r {ROOT}/docs {ROOT}/README.md .
ln -s {sys.prefix} .venv
git add README.md docs
git -c user.name=x -c user.email=x@example.org commit --quiet --message First
""",
    )
    return "cd edgeinfer\n"


def models(box: Box) -> list[str]:
    return [model["id"] for model in json.loads(box.fetch("/v1/models")[1])["data"]]


def wait_until_it_answers(box: Box, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while box.fetch("/ready")[0] != 200:
        assert time.monotonic() < deadline, box.run("journalctl", "--lines=60", "--no-pager")
        time.sleep(0.5)


@pytest.mark.parametrize("user", USERS)
def test_the_readme_works_to_its_end_and_after_a_logout_and_a_reboot(box: Box, user: str) -> None:
    """A user gets a service of the user's own, root that of the machine; both outlive the login."""
    go = checkout(box, user)
    told = type_in(
        box, user, go + commands("README.md", "On a board").partition("edgeinfer install --model")[0]
    )
    assert "edgeinfer is running" in told
    assert f"a service of {'this machine' if user == 'root' else 'the user ada'} (systemd)" in told
    assert "starts again after a reboot" in told
    activate = go + "source .venv/bin/activate\n"
    calls = commands("README.md", "First calls", without=INTERACTIVE)
    told = type_in(box, user, activate + calls)
    assert '"choices"' in told
    assert "set_" in told, "the call that a tool got"
    box.write("/tmp/first.py", blocks("README.md", "python", after="First calls")[0])
    type_in(box, user, activate + "python /tmp/first.py")

    time.sleep(STOP_DELAY)
    assert box.fetch("/ready")[0] == 200, "after the logout"
    box.stop()
    box.start()
    wait_until_it_answers(box)
    assert models(box)[0] == "deepseek-r1-distill-qwen-1.5b"
    told = type_in(box, user, 'edgeinfer status\nedgeinfer service status\nedgeinfer chat "Hello"')
    assert "edgeinfer is running" in told, "the command is on the path of a new login"


@pytest.mark.heavy
@pytest.mark.parametrize("user", USERS)
def test_what_the_readme_says_for_later_works(box: Box, user: str) -> None:
    """Another model, an upgrade that keeps it, and the end."""
    go = checkout(box, user) + "source .venv/bin/activate\n"
    type_in(box, user, go + "edgeinfer install --no-calibrate --model edgeinfer-nano")
    later = commands("README.md", "On a board", without=NEEDS_THE_WORLD)
    first, upgrade, *end = later[later.index("edgeinfer install --model") :].splitlines()
    type_in(box, user, go + first)
    assert models(box)[0] == "qwen3-0.6b"
    told = type_in(box, user, go + upgrade)
    assert "keeping the configured model, qwen3-0.6b:Q8_0" in told
    assert models(box)[0] == "qwen3-0.6b"
    type_in(box, user, go + "\n".join(end))
    assert box.fetch("/health")[0] == 0
    assert box.attempt("find", "/usr/local/bin", "/home/ada/.local/bin", "-name", "edgeinfer").stdout == ""


def test_a_board_that_was_set_up_by_its_page_answers_another_computer_with_a_key(box: Box) -> None:
    """The page of the Raspberry Pi 5; the board has its name, and ada's browser would find it there."""
    page = "docs/boards/raspberry-pi-5.md"
    box.write("/etc/hosts", "127.0.0.1 localhost raspberrypi.local\n")
    setup, network, other = blocks(page, "sh", after="Install")
    skipped = (*NEEDS_THE_WORLD, "cd edgeinfer")
    lines = [line for line in setup.splitlines() if not line.startswith(skipped)]
    told = type_in(box, "ada", checkout(box, "ada") + "\n".join(lines))
    assert told.startswith("64\n")
    told = type_in(box, "ada", network.replace("laptop", "laptop | tee key", 1))
    key = box.run("cat", "/home/ada/key").strip()
    assert key in told
    assert '"choices"' in type_in(box, "ada", other.replace("PASTE-THE-KEY-HERE", key))
    assert "invalid_api_key" in type_in(box, "ada", other)
    assert box.fetch("/v1/models")[0] == 401


@pytest.mark.heavy
def test_the_page_for_administrators_works_to_its_end(box: Box) -> None:
    """As a user who may use sudo: keys, nginx with TLS in front, another model, an upgrade, the removal."""
    page = "docs/administration.md"

    def section(name: str) -> str:
        return commands(page, name, without=NEEDS_THE_WORLD)

    box.run("mkdir", "/opt/edgeinfer")
    box.run("ln", "-s", sys.prefix, "/opt/edgeinfer/.venv")
    told = type_in(box, "ada", section("Install"))
    assert "edgeinfer is running · systemd, system" in told
    assert box.run("/usr/local/bin/edgeinfer", "--version").startswith("edgeinfer ")

    keys = section("Keys")
    told = type_in(box, "ada", keys + "\necho $KEY >key")
    assert "qwen" in told or "deepseek" in told
    assert box.fetch("/v1/models")[0] == 401
    key = box.run("cat", "/home/ada/key").strip()

    put_nginx_in_front(box, page)
    go = "KEY=$(cat key)\nexport CURL_CA_BUNDLE=/etc/ssl/ai.example.pem\n"
    told = type_in(box, "ada", go + section("Behind nginx"))
    assert '"data"' in told
    check_nginx(box, go)

    type_in(box, "ada", section("Another model"))
    assert "qwen3-0.6b" in type_in(box, "ada", "sudo edgeinfer status")
    told = type_in(box, "ada", go + "export EDGEINFER_API_KEY=$KEY\n" + section("Upgrade"))
    assert "keeping the configured model, qwen3-0.6b:Q8_0" in told
    assert key not in box.run("journalctl", "--no-pager")

    box.run("cp", "/etc/edgeinfer/models.toml", "/srv")
    type_in(box, "ada", section("Remove"))
    assert box.fetch("/health")[0] == 0
    remains = [
        "find",
        "/etc",
        "/usr/local",
        "/var/lib",
        "/var/log",
        "/var/cache",
        "/opt",
        "-name",
        "*edgeinfer*",
    ]
    left = [path for path in box.run(*remains).split() if "nginx" not in path and "journal" not in path]
    assert left == []
    assert box.attempt("id", "edgeinfer").returncode != 0


def put_nginx_in_front(box: Box, page: str) -> None:
    """Do what the page says of files: nginx's own, the certificate, and the name in the settings."""
    box.install_packages("nginx-common", "nginx")
    for config in blocks(page, "nginx"):
        box.write("/etc/nginx/conf.d/edgeinfer.conf", config)
    box.run(
        *(
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=ai.example",
        ),
        *("-addext", "subjectAltName=DNS:ai.example"),
        *("-keyout", "/etc/ssl/ai.example.key", "-out", "/etc/ssl/ai.example.pem"),
    )
    box.run("systemctl", "start", "nginx")
    box.write("/etc/hosts", "127.0.0.1 localhost ai.example other.example\n")
    (name, *_) = blocks(page, "toml", after="Behind nginx")
    config = "/etc/edgeinfer/config.toml"
    box.write(config, name + box.run("cat", config))


def check_nginx(box: Box, go: str) -> None:
    """Long bodies, streams, and connections that were idle for a while pass; other names do not."""
    chat = "https://ai.example/v1/chat/completions"
    auth = '-H "Authorization: Bearer $KEY" -H "Content-Type: application/json"'

    def post(body: dict[str, Any], options: str = "") -> str:
        box.write("/tmp/body", json.dumps(body))
        return type_in(box, "ada", f"{go}curl -s {options} {chat} {auth} -d @/tmp/body")

    question = [{"role": "user", "content": "Hello"}]
    assert '"error"' in post({"messages": [{"role": "user", "content": "word " * 400_000}]})
    told = post({"messages": question, "stream": True, "max_tokens": 20}, "-N -D -")
    assert "data: [DONE]" in told
    for pause in (0, 6, 6):
        time.sleep(pause)
        assert '"choices"' in post({"messages": question, "max_tokens": 1})
    told = type_in(
        box, "ada", f"{go}curl -sk --resolve other.example:443:127.0.0.1 https://other.example/ {auth}"
    )
    assert "allowed_hosts" in told
