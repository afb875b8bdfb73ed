"""The service under a really booted systemd: installed, started, killed, hung, asked for, switched off.

Needs root, namespaces and overlays; where root has not got those, that is a failure rather than a skip.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.ipc.confinement.landlock import landlock_version
from tests.support.paths import BUNDLED, ROOT

if sys.platform != "linux":
    pytest.skip("no systemd but on Linux", allow_module_level=True)
if os.geteuid() != 0:
    pytest.skip("only root can boot a box", allow_module_level=True)

from tests.support.systemd_box import Box

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(600)]

CHAT = {"messages": [{"role": "user", "content": "Turn on the light in the kitchen"}], "max_tokens": 32}
TOOLS = json.loads((ROOT / "docs/examples/tools.json").read_text())
WATCHDOG = "[Service]\nWatchdogSec=4\n"
CONFIG = "/etc/edgeinfer/config.toml"
HOMES = ("/home", "/root")
"""It may see empty ones of its own in their place."""


@pytest.fixture(scope="module")
def booted() -> Iterator[Box]:
    """A machine that has just booted, without edgeinfer."""
    box = Box()
    try:
        box.start()
        for folder in (Path(sys.base_prefix), *Path(sys.base_prefix).parents):
            box.run("chmod", "a+rx", str(folder))  # this machine's Python may be in a home of its own
        yield box
    finally:
        box.close()


@pytest.fixture
def box(booted: Box) -> Box:
    """A booted machine with edgeinfer running as a service."""
    if booted.show("ActiveState") != "active":
        booted.edgeinfer("service", "install")
    return booted


def wait_for(box: Box, question: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait for the answer of a request."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        if time.monotonic() > deadline:
            journal = box.run("journalctl", "--unit=edgeinfer", "--lines=40", "--no-pager")
            raise AssertionError(f"it did not come to that within {seconds:g} s:\n{journal}")
        time.sleep(0.2)
    return answer


def is_ready(box: Box) -> bool:
    return box.fetch("/ready")[0] == 200


def daemon(box: Box) -> str:
    return box.show("MainPID")


def status(box: Box) -> dict[str, Any]:
    return json.loads(box.fetch("/status")[1])  # type: ignore[no-any-return]


def processes(box: Box) -> list[str]:
    """The processes of the service's user."""
    return box.attempt("pgrep", "--uid", "edgeinfer").stdout.split()


def test_an_installation_ends_with_a_service_that_answers(booted: Box) -> None:
    """It is enabled, runs as its own user, and its children work in the sandbox; a second one changes nothing."""
    proposal = json.loads(booted.edgeinfer("service", "install", "--json"))
    assert (proposal["manager"], proposal["scope"], proposal["status"]["state"]) == (
        "systemd",
        "system",
        "running",
    )
    assert all(file["new"] for file in proposal["files"])
    assert booted.run("systemctl", "is-active", "edgeinfer").strip() == "active"
    assert booted.run("systemctl", "is-enabled", "edgeinfer").strip() == "enabled"
    code, body = booted.fetch("/v1/chat/completions", {**CHAT, "tools": TOOLS, "tool_choice": "required"})
    assert code == 200, body
    (call,) = json.loads(body)["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] in {tool["function"]["name"] for tool in TOOLS}
    owner = booted.run("stat", "--format=%U", f"/proc/{daemon(booted)}").strip()
    assert owner == "edgeinfer"
    again = json.loads(booted.edgeinfer("service", "install", "--dry-run", "--json"))
    assert not any(file["new"] for file in again["files"])
    assert again["removed"] == []


def test_systemd_finds_nothing_wrong_with_it(box: Box) -> None:
    """The drop-ins for this machine are included."""
    done = box.attempt("systemd-analyze", "verify", "--man=no", "edgeinfer.service")
    assert (done.returncode, done.stderr) == (0, "")
    box.run("systemd-analyze", "security", "--threshold=20", "--no-pager", "edgeinfer.service")


def test_it_may_write_nothing_but_what_is_its_own(box: Box) -> None:
    """With its own rights, it cannot write models, settings, its program, or homes."""
    box.run("mkdir", "-p", "/home/somebody")
    box.write("/home/somebody/secret", "x")
    its = {"/var/cache/edgeinfer", "/var/lib/edgeinfer/daemon", "/var/log/edgeinfer", "/run/edgeinfer"}
    folders = ("/var/lib/edgeinfer", "/etc/edgeinfer", sys.prefix, *HOMES, *its)
    look = f"""
for folder in {" ".join(folders)}; do touch "$folder/trial" 2>/dev/null && echo "$folder"; done
cat /home/somebody/secret /etc/shadow 2>/dev/null
true
"""
    me = f"--reuid=edgeinfer --regid=edgeinfer --clear-groups sh -c '{look}'"
    inside = f"nsenter --target={daemon(box)} --mount setpriv {me}"
    assert set(box.run("sh", "-c", inside).split()) - set(HOMES) == its
    assert [home for home in HOMES if box.attempt("test", "-e", f"{home}/trial").returncode == 0] == []


def test_its_children_are_confined_within_the_sandbox(box: Box) -> None:
    """The unit allows the system calls for that; namespaces it forbids, as seccomp holds the network."""
    assert box.fetch("/v1/chat/completions", {**CHAT, "response_format": {"type": "json_object"}})[0] == 200
    confinement = status(box)["confinement"]
    assert set(confinement) == {"worker", "template", "grammar"}
    for layers in confinement.values():
        assert layers.startswith(f"Landlock {landlock_version()}, seccomp;"), confinement
        assert "no network namespace" in layers


def test_it_is_active_only_once_it_answers(box: Box) -> None:
    """Other units can wait for it."""
    box.run("systemctl", "stop", "edgeinfer")
    box.run("systemctl", "start", "--no-block", "edgeinfer")
    seen = []

    def is_active() -> bool:
        seen.append(box.show("ActiveState"))
        if seen[-1] == "active":
            assert is_ready(box)
        return seen[-1] == "active"

    wait_for(box, is_active)
    assert "activating" in seen
    assert "serving" in box.show("StatusText")


def test_a_stop_leaves_nothing_running(box: Box) -> None:
    """It does not count as a failure."""
    assert len(processes(box)) > 1
    box.run("systemctl", "stop", "edgeinfer")
    assert box.attempt("systemctl", "is-active", "edgeinfer").stdout.strip() == "inactive"
    assert box.show("Result") == "success"
    assert box.fetch("/health")[0] == 0
    assert processes(box) == []
    box.edgeinfer("service", "start")
    assert is_ready(box)


def test_a_restart_is_another_daemon_and_a_reload_the_same(box: Box) -> None:
    """Both return when they are done."""
    first = daemon(box)
    box.edgeinfer("service", "restart")
    second = daemon(box)
    assert second != first
    assert is_ready(box)
    box.edgeinfer("service", "reload")
    wait_for(box, lambda: is_ready(box))
    assert daemon(box) == second


def test_a_reload_that_fails_is_a_job_that_fails(box: Box) -> None:
    """The daemon goes on, and the reason is told."""
    before = daemon(box)
    box.write(CONFIG, 'model = "/no/such.gguf"\nport = 11437\n')
    try:
        assert box.attempt("systemctl", "reload", "edgeinfer").returncode != 0
        done = box.attempt(f"{sys.prefix}/bin/edgeinfer", "service", "reload")
        assert done.returncode == 1
        assert "/no/such.gguf" in done.stderr
        assert (daemon(box), is_ready(box)) == (before, True)
        box.write(CONFIG, "port = 11437\n")
        box.run("systemctl", "reload", "edgeinfer")
        assert "port takes effect after a restart" in box.run("journalctl", "--unit=edgeinfer", "--lines=9")
    finally:
        box.run("rm", CONFIG)
    box.run("systemctl", "reload", "edgeinfer")


def test_root_needs_no_key_and_others_do(box: Box) -> None:
    """The daemon asks for keys once it is started again, which `key add` says."""
    box.run("useradd", "--create-home", "eve")
    done = box.attempt(f"{sys.prefix}/bin/edgeinfer", "key", "add", "laptop")
    assert "edgeinfer service restart" in done.stderr
    try:
        assert box.fetch("/v1/models")[0] == 200
        box.edgeinfer("service", "restart")
        assert box.fetch("/v1/models")[0] == 401
        assert "edgeinfer-nano" in box.edgeinfer("status")
        assert box.edgeinfer("chat", "Hello")
        box.run("systemctl", "reload", "edgeinfer")
        eve = box.attempt(f"{sys.prefix}/bin/edgeinfer", "status", user="eve")
        assert (eve.returncode, "API key" in eve.stderr) == (1, True)
        for command in (["add", "hers"], ["ls"]):
            eve = box.attempt(f"{sys.prefix}/bin/edgeinfer", "key", *command, user="eve")
            assert (eve.returncode, eve.stdout) == (1, "")
            assert f"sudo edgeinfer key {' '.join(command)}" in eve.stderr
    finally:
        box.run("rm", "/var/lib/edgeinfer/keys")
        box.edgeinfer("service", "restart")


def test_it_can_be_kept_from_starting_at_boot(box: Box) -> None:
    """It can be enabled again."""
    box.edgeinfer("service", "disable")
    assert json.loads(box.edgeinfer("service", "status", "--json"))["enabled"] is False
    box.edgeinfer("service", "enable")
    assert json.loads(box.edgeinfer("service", "status", "--json"))["enabled"] is True


def test_threads_make_room_for_others_in_the_sandbox(box: Box) -> None:
    """A worker may see there what others use. The bundled model's plan has one thread, which makes no room."""
    loops = "for i in $(seq $(nproc)); do while :; do :; done & done; wait"

    def answered_with(threads: int) -> bool:
        assert box.fetch("/v1/chat/completions", CHAT)[0] == 200
        return bool(status(box)["stats"]["threads"] == threads)

    box.write(CONFIG, "threads = 2\n")
    try:
        box.run("systemctl", "reload", "edgeinfer")
        wait_for(box, lambda: is_ready(box))
        assert status(box)["plan"]["config"]["threads"] == 2
        box.run("systemd-run", "--unit=busy", "sh", "-c", loops)
        wait_for(box, lambda: answered_with(1))
    finally:
        box.attempt("systemctl", "stop", "busy")
        box.run("rm", CONFIG)
    box.run("systemctl", "reload", "edgeinfer")


def test_a_killed_worker_is_the_daemons_to_replace(box: Box) -> None:
    """systemd does not notice."""
    before, worker = daemon(box), status(box)["worker_pid"]
    box.run("kill", "-KILL", str(worker))
    wait_for(box, lambda: status(box).get("worker_pid") not in (None, worker))
    assert box.fetch("/v1/chat/completions", CHAT)[0] == 200
    assert daemon(box) == before


def test_a_worker_that_hangs_is_replaced_too(box: Box) -> None:
    """The daemon replaces it while it still responds to systemd, which would otherwise end both."""
    box.write(CONFIG, "hang_timeout = 3\n")
    try:
        box.run("systemctl", "restart", "edgeinfer")
        before, worker = daemon(box), status(box)["worker_pid"]
        box.run("kill", "-STOP", str(worker))
        wait_for(box, lambda: status(box).get("worker_pid") not in (None, worker))
        assert box.fetch("/v1/chat/completions", CHAT)[0] == 200
        assert daemon(box) == before
    finally:
        box.run("rm", CONFIG)
    box.run("systemctl", "restart", "edgeinfer")


def test_a_killed_daemon_is_back_soon_with_a_new_worker(box: Box) -> None:
    """The old worker is gone."""
    box.run("systemctl", "reset-failed", "edgeinfer")
    before, worker = daemon(box), status(box)["worker_pid"]
    box.run("kill", "-KILL", before)
    wait_for(box, lambda: daemon(box) not in ("0", before) and is_ready(box))
    assert box.show("NRestarts") == "1"
    assert box.attempt("test", "-d", f"/proc/{worker}").returncode != 0


def test_a_daemon_that_hangs_is_ended_by_the_watchdog(box: Box) -> None:
    """The journal says where it hung, and another one takes its place."""
    box.write("/etc/systemd/system/edgeinfer.service.d/20-trial.conf", WATCHDOG)
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", "edgeinfer")
    before = daemon(box)
    time.sleep(6)
    assert daemon(box) == before  # alive it is left alone
    box.run("kill", "-STOP", before)
    wait_for(box, lambda: daemon(box) not in ("0", before) and is_ready(box))
    journal = box.run("journalctl", "--unit=edgeinfer", "--lines=300", "--no-pager", "--output=cat")
    assert "Watchdog timeout" in journal
    assert "Fatal Python error: Aborted" in journal


def test_the_journal_is_shown(box: Box) -> None:
    """Its levels are kept."""
    lines = box.edgeinfer("logs", "-n", "500").splitlines()
    assert any("listening on http://127.0.0.1:11435" in line for line in lines)
    worst = box.run("journalctl", "--unit=edgeinfer", "--priority=err", "--no-pager", "--output=cat")
    assert "the worker died" in worst
    assert "listening" not in worst


@pytest.mark.parametrize(
    ("config", "status", "words"),
    [("prot = 1\n", "2", "did you mean 'port'"), ('model = "/no/such.gguf"\n', "3", "/no/such.gguf")],
)
def test_what_would_fail_again_is_not_tried_again(box: Box, config: str, status: str, words: str) -> None:
    """systemd gives up at once on wrong settings or a missing model, and the reason is shown."""
    box.write(CONFIG, config)
    try:
        done = box.attempt(f"{sys.prefix}/bin/edgeinfer", "service", "restart")
        assert done.returncode == 1
        assert words in done.stderr
        time.sleep(3)
        assert box.show("ActiveState") == "failed"
        assert box.show("ExecMainStatus") == status
        assert box.show("NRestarts") == "0"
    finally:
        box.run("rm", CONFIG)
    box.run("systemctl", "start", "edgeinfer")


def test_an_installation_that_fails_leaves_the_service_that_was_there(box: Box) -> None:
    """The old service was stopped for the attempt, and runs again."""
    folder = "/etc/systemd/system/edgeinfer.service.d"
    before = box.run("cat", f"{folder}/10-edgeinfer.conf")
    once = '/bin/sh -c "test ! -e /hindrance || { rm /hindrance; exit 1; }"'
    box.write(f"{folder}/20-trial.conf", f"[Service]\nExecStartPre=+{once}\n")
    box.write("/hindrance", "")
    box.write(CONFIG, 'store = "/srv/models"\n')
    try:
        done = box.attempt(f"{sys.prefix}/bin/edgeinfer", "service", "install")
        assert done.returncode == 1
        assert "did not start" in done.stderr
        assert box.run("cat", f"{folder}/10-edgeinfer.conf") == before
        wait_for(box, lambda: is_ready(box))
        assert box.run("systemctl", "is-enabled", "edgeinfer").strip() == "enabled"
    finally:
        box.run("rm", "-f", CONFIG, f"{folder}/20-trial.conf", "/hindrance")
        box.run("systemctl", "daemon-reload")


def test_the_first_request_starts_it(box: Box) -> None:
    """It is answered, and so is a request after a stop."""
    proposal = json.loads(box.edgeinfer("service", "install", "--on-demand", "--json"))
    assert proposal["status"]["state"] == "waiting"
    assert box.show("ActiveState") == "inactive"
    assert box.fetch("/v1/chat/completions", CHAT)[0] == 200
    assert box.show("ActiveState") == "active"
    box.run("systemctl", "stop", "edgeinfer.service")
    assert box.fetch("/v1/chat/completions", CHAT)[0] == 200
    back = json.loads(box.edgeinfer("service", "install", "--json"))
    assert any(path.endswith("edgeinfer.socket") for path in back["removed"])
    assert (back["status"]["state"], back["status"]["on_demand"]) == ("running", False)


def test_a_model_in_a_home_is_granted_and_nothing_else_in_there(box: Box) -> None:
    """The path may have special characters."""
    model = "/home/some one/50%:it's.gguf"
    box.run("mkdir", "-p", "/home/some one")
    box.run("cp", str(BUNDLED), model)
    box.write("/home/some one/secret", "x")
    box.write(CONFIG, f'model = "{model}"\n')
    try:
        box.edgeinfer("service", "install")
        assert status(box)["model"]["path"] == model
        inside = ["nsenter", f"--target={daemon(box)}", "--mount", "ls", "/home", "/home/some one"]
        assert box.run(*inside).split("\n")[:2] == ["/home:", "some one"]
        assert "secret" not in box.run(*inside)
    finally:
        box.run("rm", CONFIG)
        box.edgeinfer("service", "install")


def test_it_comes_back_after_a_reboot(box: Box) -> None:
    """An installed service is enabled; the journal continues."""
    box.stop()
    box.start()
    wait_for(box, lambda: is_ready(box))
    assert box.show("ActiveState") == "active"
    assert box.run("journalctl", "--unit=edgeinfer", "--boot=-1", "--no-pager", "--lines=5").count("\n") == 5


def test_a_user_has_a_service_without_root(box: Box) -> None:
    """The user lingers, so that no login is needed; the system's service runs on another port."""
    box.run("useradd", "--create-home", "ada")
    runtime = {"XDG_RUNTIME_DIR": f"/run/user/{box.run('id', '-u', 'ada').strip()}"}
    done = box.attempt(f"{sys.prefix}/bin/edgeinfer", "service", "install", user="ada")
    assert done.returncode == 1
    assert "whole machine already" in done.stderr
    assert "sudo edgeinfer service install" in done.stderr
    done = box.attempt(f"{sys.prefix}/bin/edgeinfer", "service", "install", "--user", user="ada")
    assert done.returncode == 1
    assert "enable-linger" in done.stderr
    box.run("loginctl", "enable-linger", "ada")
    wait_for(box, lambda: box.attempt("test", "-e", f"{runtime['XDG_RUNTIME_DIR']}/bus").returncode == 0)
    box.write("/home/ada/elsewhere/edgeinfer/config.toml", "port = 11436\n")
    shell = {"XDG_CONFIG_HOME": "/home/ada/elsewhere"}  # which the manager does not know
    box.run("chown", "-R", "ada:", "/home/ada")
    proposal = json.loads(box.edgeinfer("service", "install", "--user", "--json", user="ada", **shell))
    assert (proposal["scope"], proposal["notes"], proposal["status"]["state"]) == ("user", [], "running")
    assert box.fetch("/v1/chat/completions", CHAT, port=11436)[0] == 200
    owner = box.run("stat", "--format=%U", f"/proc/{proposal['status']['pid']}").strip()
    assert owner == "ada"
    assert "outlives a logout" in box.edgeinfer("service", "status", user="ada")
    assert box.run("/home/ada/.local/bin/edgeinfer", "--version", user="ada").startswith("edgeinfer ")
    box.edgeinfer("service", "uninstall", user="ada")
    assert box.fetch("/health", port=11436)[0] == 0
    assert is_ready(box)


def test_what_is_uninstalled_is_gone_but_models_and_keys(box: Box) -> None:
    """No file is left in systemd's folders."""
    box.write("/var/lib/edgeinfer/models/precious.gguf", "x")
    box.edgeinfer("service", "uninstall")
    assert box.fetch("/health")[0] == 0
    remaining = box.run("find", "/etc/systemd", "/etc/sysusers.d", "/etc/tmpfiles.d", "-name", "*edgeinfer*")
    assert remaining == ""
    assert box.run("cat", "/var/lib/edgeinfer/models/precious.gguf") == "x"
    assert box.attempt("systemctl", "status", "edgeinfer").returncode == 4
