"""Commands under the names of other programs, and names of models as they write them."""

from __future__ import annotations

import inspect
import re
import subprocess
from pathlib import Path

import pytest

from edgeinfer.cli.chat import chat
from edgeinfer.cli.foreign_options import NAMES, OPTIONS
from edgeinfer.settings import FIELDS
from tests.support.cli import EDGEINFER, daemon, environment, run, terminal


def serve(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own: it would leave this one's log in a stream that is closed."""
    return subprocess.run(
        [*EDGEINFER, "serve", *arguments], env=environment(home), capture_output=True, text=True, timeout=100
    )


@pytest.mark.parametrize("command", ["list", "ls"])
def test_models_are_listed(command: str, tmp_path: Path) -> None:
    assert run(tmp_path, command).stdout == run(tmp_path, "models", "ls").stdout


def test_ps_is_the_status(tmp_path: Path) -> None:
    done = run(tmp_path, "ps")
    assert (done.returncode, done.stderr) == (1, run(tmp_path, "status").stderr)
    assert "no daemon answers" in done.stderr


def test_stop_with_a_model_unloads_it(tmp_path: Path) -> None:
    with daemon() as server:
        done = run(tmp_path, "stop", "mine", EDGEINFER_PORT=server.port)
    assert done.returncode == 0, done.stderr
    assert server.requests == [{"model": "mine", "path": "/models/unload"}]


@pytest.mark.parametrize("command", [["stop"], ["service", "stop", "--user"]])
def test_stop_says_that_there_is_no_service(command: list[str], tmp_path: Path) -> None:
    """It does not stop a daemon in a terminal, and must not look as if it had."""
    done = run(tmp_path, *command)
    assert done.returncode == 1
    assert "edgeinfer is not installed as a service" in done.stderr
    assert "hint: a daemon in a terminal is stopped with Ctrl-C" in done.stderr


def test_run_asks_a_model_that_is_here(tmp_path: Path) -> None:
    with daemon("Hello") as server:
        done = run(tmp_path, "run", "edgeinfer-nano", "Hi", EDGEINFER_PORT=server.port)
    assert (done.returncode, done.stdout) == (0, "Hello\n")
    assert server.requests[0]["model"] == "edgeinfer-nano"


def test_run_gets_a_model_that_is_not_here(tmp_path: Path) -> None:
    """Here without a network, so that the attempt is seen."""
    done = run(tmp_path, "run", "qwen3:0.6b", "Hi", HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert "the network is off" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        *("start", "stop", "restart", "uninstall", "upgrade", "update", "version"),
        *("rm", "remove", "delete", "show", "load", "unload"),
    ],
)
def test_other_words_are_commands_with_help(command: str, tmp_path: Path) -> None:
    done = run(tmp_path, command, "--help")
    assert done.returncode == 0
    assert f"Usage: edgeinfer {command}" in done.stdout


def test_help_is_a_word_too(tmp_path: Path) -> None:
    assert run(tmp_path, "help").stdout.split() == run(tmp_path, "--help").stdout.split()


def test_help_explains_a_command(tmp_path: Path) -> None:
    for words in (["pull"], ["models", "rm"]):
        asked = run(tmp_path, "help", *words)
        assert asked.returncode == 0
        assert asked.stdout == run(tmp_path, *words, "--help").stdout
    done = run(tmp_path, "help", "nothing")
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such command 'nothing'" in done.stderr


def test_version_is_a_word_too(tmp_path: Path) -> None:
    assert run(tmp_path, "version").stdout == run(tmp_path, "--version").stdout


@pytest.mark.parametrize("command", ["upgrade", "update"])
def test_upgrade_says_how_it_is_done(command: str, tmp_path: Path) -> None:
    """It changes nothing, and must not look as if it had."""
    done = run(tmp_path, command)
    assert (done.returncode, done.stdout) == (1, "")
    assert "git pull && scripts/setup &&" in done.stderr
    assert "edgeinfer pull --update MODEL" in done.stderr


def test_help_lists_each_thing_once(tmp_path: Path) -> None:
    listed = run(tmp_path, "--help").stdout.partition("Commands:")[2]
    names = [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "]
    assert "chat" in names
    assert not {"run", "ps", "uninstall", "upgrade"} & set(names)


def test_serve_takes_the_model_as_an_argument(tmp_path: Path) -> None:
    done = serve(tmp_path, "qwen3:0.6b")
    assert "qwen3-0.6b is not installed" in done.stderr
    assert "hint: edgeinfer pull qwen3-0.6b" in done.stderr
    done = serve(tmp_path, "one", "--model", "two")
    assert done.returncode == 2
    assert "both one and --model two are given" in done.stderr


def test_no_option_is_suggested_that_help_does_not_list(tmp_path: Path) -> None:
    done = serve(tmp_path, "--prt", "1")
    assert done.returncode == 2
    assert "--port" in done.stderr
    assert "--private" not in done.stderr


@pytest.mark.parametrize(
    ("model", "message", "hint"),
    [
        ("Qwen/Qwen3-0.6B", "no such file", "for a repository on the hub: edgeinfer pull Qwen/Qwen3-0.6B"),
        ("a/b-GGUF:Q8_0", "no such file", "for a repository on the hub: edgeinfer pull a/b-GGUF:Q8_0"),
        ("hf.co/a/b:Q8_0", "no such file", "for a repository on the hub: edgeinfer pull hf.co/a/b:Q8_0"),
        ("qwen3-0.6b:Q9_9", "qwen3-0.6b:Q9_9 is not installed", "published: Q4_0, Q8_0, F16"),
        ("qwen3", "no such model: 'qwen3'", "did you mean one of qwen3-0.6b, qwen3-1.7b, "),
        ("qwen9", "no such model: 'qwen9'", "did you mean 'qwen3-8b'?"),
        ("llama3.2:2b", "no such model: 'llama3.2-2b'", "did you mean 'llama-3.2"),
        ("xyz", "no such model: 'xyz'", "for the names: edgeinfer models ls --all"),
    ],
)
def test_a_model_that_is_not_here_is_told_in_two_lines(
    model: str, message: str, hint: str, tmp_path: Path
) -> None:
    for command in ("serve", "chat"):
        words = ("--model", model, "Hi") if command == "chat" else ("--model", model)
        done = serve(tmp_path, *words) if command == "serve" else run(tmp_path, command, *words)
        lines = [line for line in done.stderr.splitlines() if not line.startswith("(")]
        assert len(lines) == 2, done.stderr
        assert message in lines[0]
        assert hint in lines[1]
        assert "wrapped" not in lines[0]


class TestConversation:
    def test_it_begins_with_the_models_name(self, tmp_path: Path) -> None:
        with daemon("Hello") as server:
            server.status = {
                "version": "0",
                "pid": 1,
                "models": [{"name": "mine", "state": "ready", "default": True}],
            }
            with terminal(tmp_path, "chat", EDGEINFER_PORT=server.port) as opened:
                opened.expect("This is mine. Type /help")

    @pytest.mark.parametrize(
        "prompt",
        ["/tmp is full, what now?", "/etc/passwd has what in it?", "/usr and /var: which is larger?"],
    )
    def test_a_question_may_begin_with_a_path(self, prompt: str, tmp_path: Path) -> None:
        with daemon("Hello") as server, terminal(tmp_path, "chat", EDGEINFER_PORT=server.port) as opened:
            opened.expect("> ")
            opened.send(prompt + "\r")
            opened.expect("Hello")
        assert server.requests[0]["messages"][0]["content"] == prompt

    @pytest.mark.parametrize("prompt", ["/foo", "/sytem be brief", "/clera"])
    def test_a_misspelt_command_is_none(self, prompt: str, tmp_path: Path) -> None:
        with daemon("Hello") as server, terminal(tmp_path, "chat", EDGEINFER_PORT=server.port) as opened:
            opened.expect("> ")
            opened.send(prompt + "\r")
            opened.expect("no such command")
        assert server.requests == []


@pytest.mark.parametrize(
    ("limit", "message"),
    [(["--max-tokens", "12"], "as max_tokens allows"), ([], "fills the model's context")],
)
def test_the_limit_that_cut_an_answer_is_named(limit: list[str], message: str, tmp_path: Path) -> None:
    with daemon("Hello") as server:
        server.finish_reason = "length"
        done = run(tmp_path, "chat", "Hi", *limit, EDGEINFER_PORT=server.port)
    assert message in done.stderr


def test_of_a_family_the_model_that_suits_this_machine_is_named(tmp_path: Path) -> None:
    """And all the others, which may be meant."""
    done = run(tmp_path, "pull", "qwen3", HF_HUB_OFFLINE="1")
    assert (done.returncode, done.stdout) == (1, "")
    message, hint = done.stderr.splitlines()
    assert message.startswith("error: the names of several models begin with qwen3: qwen3-0.6b, qwen3-1.7b, ")
    assert re.search(r"hint: the one for this machine: \S*edgeinfer pull qwen3-\d", hint)


@pytest.mark.parametrize("model", ["ollama.com/library/qwen3:0.6b", "https://ollama.com/library/qwen3:0.6b"])
def test_a_page_of_ollama_s_library_is_the_model_of_that_name(model: str, tmp_path: Path) -> None:
    """Here without a network, so that the attempt is seen."""
    done = run(tmp_path, "pull", model, HF_HUB_OFFLINE="1")
    assert "qwen3-0.6b" in done.stderr
    assert "the network is off" in done.stderr


def test_a_model_of_somebody_at_ollama_is_not_on_the_hub(tmp_path: Path) -> None:
    """One that is here can be imported."""
    done = run(tmp_path, "pull", "ollama.com/somebody/model")
    assert done.returncode == 1
    assert "is at Ollama, not on huggingface.co" in done.stderr
    assert "models import" in done.stderr


@pytest.mark.parametrize(
    ("option", "ours"),
    [
        (["-ngl", "99"], "-ngl; here it is --gpu-layers"),
        (["-c", "8192"], "-c; here it is --ctx"),
        (["-m", "x.gguf"], "-m; here it is --model"),
        (["--max-model-len=4096"], "--max-model-len; here it is --ctx"),
        (["--api-key", "x"], "--api-key; edgeinfer key add NAME makes a key"),
    ],
)
def test_an_option_of_another_server_is_told_under_its_name_here(
    option: list[str], ours: str, tmp_path: Path
) -> None:
    """llama-server's, vLLM's and Ollama's."""
    done = run(tmp_path, "serve", *option)
    assert done.returncode == 2
    assert f"No such option: {ours}" in done.stderr


def test_every_option_that_is_told_exists() -> None:
    """And none of other programs is one of ours."""
    own = {f"--{name.replace('_', '-')}" for name in FIELDS}
    of_chat = {f"--{name.replace('_', '-')}" for name in inspect.signature(chat).parameters}
    assert set(OPTIONS) <= own | of_chat
    assert not NAMES & own
