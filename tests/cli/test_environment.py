"""Commands under an environment that was made for another user, another tool or another system."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.users import NOBODY, root_may_be_another

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
"""https://man7.org/linux/man-pages/man2/PR_CAPBSET_DROP.2const.html"""


def without_override() -> None:
    """Take root's right to read everything from the program that is started next."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def run(
    command: str,
    cwd: Path,
    environ: dict[str, str],
    stdin: Any = subprocess.DEVNULL,
    before: Callable[[], None] = without_override,
) -> subprocess.CompletedProcess[str]:
    """Run a command with this environment and no other."""
    path = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, "-m", "edgeinfer", *command.split()],
        cwd=cwd,
        env=path | environ,
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=100,
        preexec_fn=before,
    )


@pytest.fixture
def of_another(tmp_path: Path) -> Path:
    """A folder that may not be entered."""
    folder = tmp_path / "other"
    (folder / ".config/edgeinfer").mkdir(parents=True)
    if root_may_be_another():
        os.chown(folder, NOBODY, NOBODY)
        folder.chmod(0o700)
    else:
        folder.chmod(0)
    return folder


@pytest.mark.parametrize(
    ("variables", "commands"),
    [
        ({}, ("models ls", "key ls", "logs")),
        ({"HOME": "{}"}, ("models ls", "doctor", "pull qwen3-0.6b --offline", "install --dry-run --offline")),
        (
            {"XDG_CONFIG_HOME": "{}/.config"},
            ("models ls", "key ls", "doctor", "service status", "logs", "status"),
        ),
        ({"XDG_DATA_HOME": "{}"}, ("models ls", "models ls --all")),
        ({"XDG_CACHE_HOME": "{}"}, ("plan", "pull qwen3-0.6b")),
        ({"EDGEINFER_STORE": "{}/store"}, ("models ls", "doctor", "serve --dry-run")),
        ({"XDG_CONFIG_HOME": "relative"}, ("models ls", "service status")),
    ],
    ids=["no home", "home", "config", "data", "cache", "store", "relative"],
)
def test_folders_that_may_not_be_read_give_no_traceback(
    variables: dict[str, str], commands: tuple[str, ...], tmp_path: Path, of_another: Path
) -> None:
    for command in commands:
        done = run(command, tmp_path, {k: v.format(of_another) for k, v in variables.items()})
        assert "Traceback" not in done.stderr, command
        assert "itself failed" not in done.stdout, command
        assert done.returncode in (0, 1, 2), command
        assert done.stdout or done.stderr, command
    assert not (tmp_path / "relative").exists()


@pytest.mark.parametrize(
    "variables", [{}, {"HOME": ""}, {"HOME": "{}"}], ids=["unset", "empty", "of another"]
)
def test_without_a_usable_home_the_plan_is_made(
    variables: dict[str, str], tmp_path: Path, of_another: Path
) -> None:
    done = run("plan --json", tmp_path, {k: v.format(of_another) for k, v in variables.items()})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"]


@pytest.mark.parametrize(
    "variables",
    [
        {"ALL_PROXY": "socks5://127.0.0.1:1"},
        {"ALL_PROXY": "carrier-pigeon://127.0.0.1:1"},
        {"HTTPS_PROXY": "http://[::1"},
        {"HTTPS_PROXY": "http://user:s3cret@127.0.0.1:port"},
        {"SSL_CERT_FILE": "/nonexistent"},
        {"SSL_CERT_FILE": "/etc/passwd"},
        {"SSLKEYLOGFILE": "/nonexistent/log"},
        {"HF_HUB_ETAG_TIMEOUT": "soon"},
        {"HF_HUB_DOWNLOAD_TIMEOUT": "1e9"},
    ],
    ids=lambda variables: " ".join(f"{k}={v}" for k, v in variables.items()),
)
def test_a_setting_for_connections_that_cannot_be_used_is_an_error_of_a_line(
    variables: dict[str, str], tmp_path: Path
) -> None:
    environ = {"HOME": str(tmp_path), "EDGEINFER_STORE": str(tmp_path / "store"), "HF_TOKEN": "x"}
    done = run("pull qwen3-0.6b:Q4_0", tmp_path, environ | variables)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr
    assert "s3cret" not in done.stderr


def closing(*descriptors: int) -> Callable[[], None]:
    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return close


@pytest.mark.parametrize("closed", [(0,), (0, 1), (0, 1, 2), (2,)], ids=str)
@pytest.mark.parametrize(
    "command", ["plan --json", "models ls", "chat", "chat Hello --url http://127.0.0.1:1"]
)
def test_streams_that_are_closed_are_as_good_as_empty(
    command: str, closed: tuple[int, ...], tmp_path: Path
) -> None:
    """But for output that was asked for and reaches nobody."""
    done = run(command, tmp_path, {"HOME": str(tmp_path)}, before=closing(*closed))
    assert "Traceback" not in done.stderr
    written = 1 if 1 in closed else 0
    expected = {"plan": written, "models": written, "chat": 1 if "Hello" in command else 2}[
        command.split()[0]
    ]
    assert done.returncode == expected
    if written and 2 not in closed and command == "plan --json":
        assert done.stderr == "error: there is no output to write to: it was closed (>&-)\n"
    if 2 not in closed and command == "chat":
        assert "there is no prompt" in done.stderr


def test_output_that_cannot_be_written_is_an_error_of_a_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edgeinfer", "plan"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == ["error: the output: No space left on device"]


@pytest.mark.parametrize("name", ["config.toml", "models.toml", "keys", "schema.json", "tools.json"])
def test_a_byte_order_mark_is_no_content(name: str, tmp_path: Path) -> None:
    """Editors on Windows begin files with one."""
    folder = tmp_path / ".config/edgeinfer"
    folder.mkdir(parents=True)
    content, command, seen = {
        "config.toml": ("ctx = 999\n", "plan --json", ""),
        "models.toml": (
            '[mine]\ndescription = "Mine."\nlicence = "MIT"\ncontext = 2048\nroles = ["chat"]\n'
            'repo = "me/mine"\nfiles.Q4_0 = { file = "mine.gguf" }\n',
            "models show mine",
            "Mine.",
        ),
        "keys": ("a-key-that-somebody-wrote-by-hand\n", "key ls", ""),
        "schema.json": ('{"type": "boolean"}', "chat Hi --schema {} --url http://127.0.0.1:1", ""),
        "tools.json": ("[]", "chat Hi --tools {} --url http://127.0.0.1:1", ""),
    }[name]
    (folder / name).write_bytes(b"\xef\xbb\xbf" + content.encode())
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(folder.parent)}
    if name == "keys":
        environ["EDGEINFER_API_KEY_FILE"] = str(folder / name)
    done = run(command.format(folder / name), tmp_path, environ)
    if "--url" in command:  # read, and on to the server that is not there
        assert done.returncode == 1
        assert "127.0.0.1:1" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert seen in done.stdout


def test_a_file_in_utf_16_is_told_to_be_saved_as_utf_8(tmp_path: Path) -> None:
    folder = tmp_path / ".config/edgeinfer"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_bytes("port = 9399\n".encode("utf-16"))
    done = run("plan", tmp_path, {"HOME": str(tmp_path)})
    assert done.returncode == 1
    assert "config.toml: it is not UTF-8" in done.stderr
    assert "hint: save it as UTF-8" in done.stderr


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_json_in_any_utf_is_read(encoding: str, tmp_path: Path) -> None:
    """Windows saves UTF-16."""
    (tmp_path / "schema.json").write_bytes('{"const": "grün"}'.encode(encoding))
    command = f"chat Hi --schema {tmp_path}/schema.json --url http://127.0.0.1:1"
    done = run(command, tmp_path, {"HOME": str(tmp_path)})
    assert "no daemon answers at http://127.0.0.1:1" in done.stderr


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[" * 100_000, "the JSON is nested too deeply"),
        (b'"gr\xfcn"', "it is not UTF-8"),
        (b"{'a': 1}", "it is not JSON: Expecting property name"),
        (None, "Is a directory"),
    ],
)
def test_a_file_that_is_no_json_is_wrong_usage(content: bytes | None, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "tools.json"
    file.mkdir() if content is None else file.write_bytes(content)
    done = run(f"chat Hi --tools {file} --url http://127.0.0.1:1", tmp_path, {"HOME": str(tmp_path)})
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"Error: Invalid value for --tools: {file}: {problem}")


@pytest.mark.parametrize("key", ["ключ", "k\xe9y", "a\nb", "\udcff"])
def test_a_key_that_is_none_is_an_error_of_two_lines(key: str, tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "EDGEINFER_API_KEY": key}
    done = run("status --url http://127.0.0.1:1", tmp_path, environ)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: the API key has characters that are not allowed in a key",
        "hint: check --api-key and EDGEINFER_API_KEY",
    ]


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("--model \udcff", "'\\udcff' in the request is not valid Unicode"),
        ("--schema half.json", "'\\ud800' in the request is not valid Unicode"),
        ("--temperature inf", "numbers must be finite"),
    ],
)
def test_a_request_that_cannot_be_sent_is_an_error_of_a_line(
    option: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "half.json").write_text('{"const": "\\ud800"}')
    done = run(f"chat Hi --url http://127.0.0.1:1 {option}", tmp_path, {"HOME": str(tmp_path)})
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == f"error: {problem}"


@pytest.mark.parametrize("command", ["serve --model {} --port 0", "models import {}"])
def test_a_model_whose_name_is_not_utf_8_is_refused(command: str, tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"gr\xfcn.gguf")
    file.write_bytes(b"GGUF")
    done = run(command.format(file), tmp_path, {"HOME": str(tmp_path)})
    assert done.returncode in (1, 3)
    assert "gr\\udcfcn.gguf': the name of the file or of a folder is not UTF-8" in done.stderr
    assert "Traceback" not in done.stderr


def test_dev_null_stands_for_no_configuration(tmp_path: Path) -> None:
    done = run("plan --json", tmp_path, {"HOME": str(tmp_path), "EDGEINFER_CONFIG": "/dev/null"})
    assert done.returncode == 0, done.stderr
    done = run("plan", tmp_path, {"HOME": str(tmp_path), "EDGEINFER_CONFIG": str(tmp_path)})
    assert done.stderr.startswith(f"error: not a file: {tmp_path}")
