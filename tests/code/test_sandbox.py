"""Commands run confined, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest

from edgeinfer.code.command_run import MAX_KEPT, MAX_SHOWN, CommandResult, run_command
from edgeinfer.code.sandbox import Sandbox, command_environment, find_sandbox
from edgeinfer.ipc.confinement.landlock import TCP_VERSION, landlock_version
from tests.support.bubblewrap import bubblewrap
from tests.support.paths import ROOT
from tests.support.project import git, inside, project, write
from tests.support.server import eventually

WITHOUT_NAMESPACES = "Landlock without namespaces"


@pytest.fixture(params=["bubblewrap", "Landlock", WITHOUT_NAMESPACES])
def kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What confines commands, as far as this machine can."""
    wanted: str = request.param
    if wanted == "bubblewrap":
        monkeypatch.setenv("PATH", f"{bubblewrap()}:{os.environ['PATH']}")
        if find_sandbox(tmp_path).kind != wanted:
            pytest.skip("this machine allows no namespaces")
    elif landlock_version() < TCP_VERSION:
        pytest.skip("this kernel has no Landlock, or one that knows no ports")
    return wanted


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "root", {"a.py": "1\n"})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home, with a secret."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True)
    (folder / ".ssh/id").write_text("secret")
    monkeypatch.setenv("HOME", str(folder))
    return folder


def sandbox(kind: str, root: Path) -> Sandbox:
    """Not even looked for where this machine must not have it."""
    found = find_sandbox(root)
    if kind == WITHOUT_NAMESPACES:
        return msgspec.structs.replace(found, kind="Landlock", namespaces=False)
    return msgspec.structs.replace(found, kind=kind, namespaces=kind == "Landlock")


def run(kind: str, root: Path, line: str) -> CommandResult:
    return run_command(line, sandbox(kind, root), lambda _: None)


def test_a_command_works_in_the_project_and_changes_nothing_outside(
    kind: str, root: Path, home: Path
) -> None:
    """Nor does it see the user's home."""
    outside = root.parent / "outside"
    outside.mkdir()
    (root / "src").mkdir()
    result = run(
        kind,
        root,
        f"pwd; cat a.py; echo 2 > src/b.py; mkdir src/c && mv src/b.py src/c; echo 3 > a.py;"
        f"echo x > $TMPDIR/t && cat $TMPDIR/t;"
        f"echo x > {outside}/f; rm -r {outside}; cat {home}/.ssh/id; ls -A {home}/.ssh; exit 3",
    )
    assert result.code == 3
    assert result.output.startswith(f"{root}\n1\nx\n")
    assert "secret" not in result.output
    assert (root / "src/c/b.py").read_text() == "2\n"
    assert (root / "a.py").read_text() == "3\n"
    assert list(outside.iterdir()) == []


def test_a_command_reaches_no_network_and_no_program_outside(kind: str, root: Path, home: Path) -> None:
    """Neither by TCP nor by a unix socket in a folder that it can see."""
    code = (
        "import socket, sys\n"
        "for family, place in ((socket.AF_INET, ('127.0.0.1', int(sys.argv[1]))), (socket.AF_UNIX, sys.argv[2])):\n"
        "    try:\n"
        "        socket.socket(family).connect(place)\n"
        "        print('connected')\n"
        "    except OSError as e:\n"
        "        print('refused')\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        name = f"/var/tmp/edgeinfer-test-{os.getpid()}"
        unix.bind(name)
        unix.listen()
        try:
            (root / "try.py").write_text(code)
            result = run(kind, root, f"{sys.executable} try.py {tcp.getsockname()[1]} {name}")
        finally:
            Path(name).unlink()
    assert result.output == "refused\nrefused\n"


def test_a_command_cannot_plant_a_hook(kind: str, root: Path, home: Path) -> None:
    """Which would run outside of the sandbox, with the next commit."""
    result = run(
        kind, root, "echo x > .git/hooks/pre-commit; git config core.fsmonitor x; git status --short; echo ok"
    )
    assert result.output.endswith("ok\n")
    assert not (root / ".git/hooks/pre-commit").exists()
    assert "fsmonitor" not in (root / ".git/config").read_text()


def test_a_command_cannot_change_what_git_starts_in_any_repository(
    kind: str, root: Path, home: Path, tmp_path: Path
) -> None:
    """Neither in one in a folder, nor where a file leads to one, nor in settings or hooks in the work tree."""
    project(root / "nested", {"b.py": "1\n"})
    git(root, "init", "--quiet", "--bare", "fixtures/bare")
    git(root, "init", "--quiet", "--separate-git-dir", str(root / "data"), "apart")
    write(root, {"settings": "[alias]\nx = y\n", ".husky/pre-commit": "#!/bin/sh\n", "lint.sh": "cat\n"})
    (root / "linked").mkdir()
    (root / "linked/.git").symlink_to("../data")
    git(root, "config", "include.path", "../settings")
    git(root, "config", "core.hooksPath", ".husky")
    git(root / "nested", "config", "filter.x.clean", "../lint.sh -x")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    result = run(
        kind,
        root,
        "for f in nested/.git/config nested/.git/hooks/x fixtures/bare/config apart/.git data/config data/hooks/x"
        " linked/.git/config settings .husky/pre-commit .husky/post-commit lint.sh; do echo x > $f; done;"
        "rm -rf nested/.git apart/.git .git; mv .git away; mv nested/.git away; echo done",
    )
    assert result.output.endswith("done\n")
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_repository_that_a_command_has_made_is_told(root: Path, home: Path) -> None:
    """Its own hooks and settings count as soon as somebody, or an editor, uses git there."""
    (root / "src").mkdir()
    lines = (
        "mkdir -p src/a/.git && echo x > src/a/.git/config",
        "mkdir -p src/b/objects src/b/refs && touch src/b/HEAD src/b/config",
        "mkdir src/c src/d && echo 'gitdir: x' > src/c/.git && ln -s x src/d/.git",
        "echo '* filter=x' > src/.gitattributes",
        "echo x > src/other",
    )
    shown: list[str] = []
    run_command("; ".join(lines), find_sandbox(root), shown.append)
    assert "".join(shown).startswith(
        "\nwarning: the command has changed what tells git which programs to start: src/.gitattributes, src/a/.git,"
        " src/a/.git/config, src/b, src/b/config, src/c/.git, src/d/.git\n"
    )


def test_without_a_sandbox_every_change_of_what_git_starts_is_told(root: Path) -> None:
    """Also if Ctrl-C has ended the command; work that git does anyway is none."""
    project(root / "nested", {"b.py": "1\n"})
    shown: list[str] = []
    run_command("git commit --allow-empty -qm x; git status", sandbox("none", root), shown.append)
    assert "warning" not in "".join(shown)
    line = (
        "git config core.fsmonitor x; echo x > nested/.git/hooks/pre-commit; mkdir 'a\nb'; mkdir 'a\nb/.git'"
    )
    run_command(line, sandbox("none", root), shown.append)
    assert ".git/config, a\\nb/.git, nested/.git/hooks/pre-commit" in "".join(shown)
    shown.clear()

    def stop(text: str) -> None:
        shown.append(text)
        if text == "now\n":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_command("rm .git/config; echo x > .git/config; echo now; sleep 985", sandbox("none", root), stop)
    assert "warning: the command has changed" in shown[-1]


def test_without_namespaces_a_link_in_the_root_opens_nothing(root: Path, tmp_path: Path, home: Path) -> None:
    """Each entry of the root is allowed by itself there, and a link would stand for what it leads to."""
    if landlock_version() < TCP_VERSION:
        pytest.skip("this kernel has no Landlock, or one that knows no ports")
    write(tmp_path, {"outside/f": "1"})
    (root / "out").symlink_to(tmp_path / "outside")
    result = run(WITHOUT_NAMESPACES, root, "echo 2 > out/f; echo 2 > new; ls new")
    assert (tmp_path / "outside/f").read_text() == "1"
    assert not (root / "new").exists()
    assert "Permission denied" in result.output


def test_git_works_in_a_work_tree_beside_its_repository(kind: str, root: Path, home: Path) -> None:
    """Whose data are elsewhere, in the user's home."""
    main = project(home / "main", {"a.py": "1\n"})
    git(main, "worktree", "add", "--quiet", str(root.parent / "beside"))
    result = run(kind, root.parent / "beside", "git log --format=%s")
    assert result.output == "first\n"


@pytest.mark.parametrize("confined", [True, False])
def test_what_a_command_leaves_running_is_ended(confined: bool, kind: str, root: Path, home: Path) -> None:
    """Also a process with a session of its own."""
    result = run(
        kind if confined else "none",
        root,
        "setsid sleep 987 & (setsid sh -c 'sleep 987; true' &) ; sleep 0.1; echo done",
    )
    assert result.output == "done\n"
    assert [] == sleepers("987")


def test_an_endless_command_is_ended_in_time(root: Path) -> None:
    """And says so."""
    result = run_command("echo one; sleep 986", sandbox("none", root), lambda _: None, timeout=1.0)
    assert (result.output, result.timed_out) == ("one\n", True)
    assert "still running" in str(result)
    assert [] == sleepers("986")


def test_ctrl_c_ends_a_command_and_all_that_it_has_started(root: Path) -> None:
    """The same holds if we are killed."""
    code = (
        "from pathlib import Path; from edgeinfer.code.sandbox import find_sandbox;"
        "from edgeinfer.code.command_run import run_command;"
        f"run_command('setsid sleep 98NUMBER & sleep 98NUMBER', find_sandbox(Path({str(root)!r})), print)"
    )
    for number, how in enumerate((signal.SIGINT, signal.SIGKILL)):
        process = subprocess.Popen(
            [sys.executable, "-c", code.replace("NUMBER", str(number))],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
        )
        assert eventually(lambda n=number: len(sleepers(f"98{n}")) == 2, 30)  # type: ignore[misc]
        process.send_signal(how)
        process.wait(20)
        assert eventually(lambda n=number: sleepers(f"98{n}") == [], 20)  # type: ignore[misc]


def test_long_output_is_shown_and_kept_in_part_and_says_so(root: Path) -> None:
    """A program may print without end."""
    shown: list[str] = []
    result = run_command("seq 1 100000; echo the end", sandbox("none", root), shown.append)
    assert len("".join(shown)) < MAX_SHOWN + 100
    assert "more output follows" in shown[-1]
    assert len(result.output) < MAX_KEPT + 100
    assert result.output.startswith("1\n2\n")
    assert "characters left out]" in result.output
    assert result.output.endswith("100000\nthe end\n")


def test_secrets_in_the_environment_are_not_passed_on() -> None:
    """Nor the ways to agents and busses."""
    environ = {"PATH": "/bin", "LANG": "C", "EDGEINFER_API_KEY": "k", "HF_TOKEN": "t", "SSH_AUTH_SOCK": "/s"}
    passed = command_environment("/tmp/x", environ)
    assert {"PATH", "LANG", "TMPDIR"} <= passed.keys()
    assert {"EDGEINFER_API_KEY", "HF_TOKEN", "SSH_AUTH_SOCK"}.isdisjoint(passed)


def test_a_module_of_the_projects_is_not_imported_outside_of_the_sandbox(root: Path, tmp_path: Path) -> None:
    """Python looks in the current folder first, where anybody's files are."""
    for name in ("msgspec", "psutil", "edgeinfer", "runpy"):
        (root / f"{name}.py").write_text(f"open({str(tmp_path / 'caught')!r}, 'w')")
    with inside(root):
        assert run("none", root, "echo fine").output == "fine\n"
    assert not (tmp_path / "caught").exists()


def test_where_nothing_confines_it_says_so() -> None:
    assert "without a sandbox" in str(Sandbox("none", "/x"))
    assert "what git starts" in str(Sandbox("none", "/x"))
    assert "without new files beside it" in str(Sandbox("Landlock", "/x"))
    assert "no network, and it can change only /x, without .git" in str(
        Sandbox("Landlock", "/x", namespaces=True)
    )
    assert "use the network" in str(Sandbox("Landlock for files", "/x"))


def sleepers(seconds: str) -> list[int]:
    """Processes that sleep for so long, and are not just ending."""
    return [process.pid for process in psutil.process_iter() if _is_sleeper(process, seconds)]


def _is_sleeper(process: psutil.Process, seconds: str) -> bool:
    try:
        return process.cmdline() == ["sleep", seconds] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
