"""The commands of a conversation: files, other models, parameters, saved conversations."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.cli.attachments import Attachments
from edgeinfer.cli.chat_parameters import PARAMETERS
from edgeinfer.cli.chat_repl import ChatRepl
from edgeinfer.cli.chat_session import ChatSession
from edgeinfer.cli.prompt_reader import Prompt, unquoted
from edgeinfer.client.http import Target, connect
from edgeinfer.errors import EdgeinferError
from edgeinfer.server.openai.schemas.chat import ChatRequest
from tests.support.cli import ScriptedDaemon, daemon


@pytest.fixture
def server() -> Iterator[ScriptedDaemon]:
    with daemon("Hello") as server:
        server.models = [{"id": "small", "meta": {"n_ctx": 200}}, {"id": "large", "aliases": ["big"]}]
        yield server


@pytest.fixture
def repl(server: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatRepl]:
    monkeypatch.setenv("TERM", "dumb")
    target = Target(f"http://127.0.0.1:{server.port}")
    with connect(target) as client:
        yield ChatRepl(ChatSession(client, target, {"model": "small"}, None), None)


def say(repl: ChatRepl, *prompts: str) -> None:
    for prompt in prompts:
        repl.act(unquoted(prompt))


def contents(server: ScriptedDaemon, number: int = -1) -> list[str]:
    return [message["content"] for message in server.requests[number]["messages"]]


class TestFiles:
    def test_a_file_goes_into_the_next_message_and_no_further(
        self, repl: ChatRepl, server: ScriptedDaemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "a b.txt").write_text("alpha\n```\nbeta\n")
        say(repl, f"/file {tmp_path}/a b.txt")
        assert "a b.txt 15 tokens; 185 of 200 are left" in capsys.readouterr().err
        say(repl, "What is it?", "And now?")
        asked = contents(server)
        assert asked[0] == f"File {tmp_path}/a b.txt:\n````\nalpha\n```\nbeta\n````\n\nWhat is it?"
        assert asked[2] == "And now?"

    def test_a_file_larger_than_the_context_is_refused(self, repl: ChatRepl, tmp_path: Path) -> None:
        (tmp_path / "long").write_text("x" * 200)
        with pytest.raises(EdgeinferError, match="has 200 tokens, and the model's context 200"):
            say(repl, f"/file {tmp_path}/long")
        assert repl.attachments.files == []

    def test_files_that_do_not_fit_together_are_told_and_none_is_cut(
        self, repl: ChatRepl, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in "ab":
            (tmp_path / name).write_text("x" * 150)
        say(repl, f"/file {tmp_path}/a {tmp_path}/b")
        assert "100 more than the context of 200; /drop takes the files out" in capsys.readouterr().err
        assert [len(file.text) for file in repl.attachments.files] == [150, 150]
        say(repl, "/drop")
        assert repl.attachments.files == []

    def test_a_question_that_fails_keeps_its_files(
        self, repl: ChatRepl, server: ScriptedDaemon, tmp_path: Path
    ) -> None:
        (tmp_path / "a").write_text("alpha")
        say(repl, f"/file {tmp_path}/a")
        server.error = (429, {"error": {"message": "full", "type": "t", "code": "queue_full", "param": None}})
        with pytest.raises(EdgeinferError, match="full"):
            say(repl, "What is it?")
        server.error = None
        say(repl, "What is it?")
        assert "alpha" in contents(server)[0]

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("nothing", "No such file"),
            ("", "is a folder"),
            ("binary", "is not a text file"),
            ("null", "is not a file"),
        ],
    )
    def test_what_is_no_text_is_refused(
        self, name: str, problem: str, repl: ChatRepl, tmp_path: Path
    ) -> None:
        (tmp_path / "binary").write_bytes(b"\x7fELF\0")
        (tmp_path / "null").symlink_to("/dev/zero")
        with pytest.raises(EdgeinferError, match=problem):
            say(repl, f"/file {tmp_path}/{name}")

    def test_of_another_server_the_size_is_a_guess(
        self, repl: ChatRepl, server: ScriptedDaemon, tmp_path: Path
    ) -> None:
        server.counts = False
        (tmp_path / "a").write_text("x" * 30)
        files = Attachments(repl.session)
        files.add(tmp_path / "a")
        assert "about 11 tokens" in files.summary()


class TestTurns:
    def test_the_last_question_is_answered_again(self, repl: ChatRepl, server: ScriptedDaemon) -> None:
        say(repl, "one", "two", "/regenerate")
        assert contents(server) == ["one", "Hello", "two"]
        assert [turn["content"] for turn in repl.session.turns] == ["one", "Hello", "two", "Hello"]

    def test_an_answer_is_kept_if_there_is_no_other(self, repl: ChatRepl, server: ScriptedDaemon) -> None:
        say(repl, "one")
        server.error = (429, {"error": {"message": "full", "type": "t", "code": "queue_full", "param": None}})
        with pytest.raises(EdgeinferError, match="full"):
            say(repl, "/regenerate")
        assert [turn["content"] for turn in repl.session.turns] == ["one", "Hello"]

    def test_the_last_question_is_taken_back(self, repl: ChatRepl, server: ScriptedDaemon) -> None:
        say(repl, "one", "two", "/undo", "three")
        assert contents(server) == ["one", "Hello", "three"]

    def test_nothing_can_be_taken_back_from_nothing(self, repl: ChatRepl) -> None:
        with pytest.raises(EdgeinferError, match="nothing has been asked yet"):
            say(repl, "/undo")


class TestModel:
    def test_another_model_answers(self, repl: ChatRepl, server: ScriptedDaemon) -> None:
        say(repl, "/model big", "Hi", "/model large:Q8_0", "Hi")
        assert [request["model"] for request in server.requests] == ["big", "large:Q8_0"]

    def test_a_model_that_is_not_there_is_told_with_the_one_that_was_meant(self, repl: ChatRepl) -> None:
        with pytest.raises(EdgeinferError, match="no model 'lagre'") as caught:
            say(repl, "/model lagre")
        assert caught.value.hint == "did you mean large?"
        assert repl.session.model == "small"

    def test_models_are_listed(self, repl: ChatRepl, capsys: pytest.CaptureFixture[str]) -> None:
        say(repl, "/model")
        assert capsys.readouterr().err == "* small\n  large\n"


class TestParameters:
    def test_a_parameter_is_set_and_given_back_to_the_server(
        self, repl: ChatRepl, server: ScriptedDaemon
    ) -> None:
        say(repl, "/set temperature 0.2", "/set parameter num_predict 5", "Hi")
        say(repl, "/set temperature default", "Hi")
        assert (server.requests[0]["temperature"], server.requests[0]["max_tokens"]) == (0.2, 5)
        assert "temperature" not in server.requests[1]

    @pytest.mark.parametrize(
        ("text", "message", "hint"),
        [
            ("temprature 1", "no such parameter: temprature", "did you mean temperature?"),
            ("temperature hot", "it must be a number, not 'hot'", None),
            ("top_p 2", "it must be at most 1, not '2'", None),
            ("reasoning_effort lots", "it must be one of none, minimal, low", None),
        ],
    )
    def test_a_bad_one_is_told(self, text: str, message: str, hint: str | None, repl: ChatRepl) -> None:
        with pytest.raises(EdgeinferError, match=message) as caught:
            say(repl, f"/set {text}")
        assert caught.value.hint == hint

    def test_all_are_listed(self, repl: ChatRepl, capsys: pytest.CaptureFixture[str]) -> None:
        say(repl, "/set seed 7")
        capsys.readouterr()
        say(repl, "/set")
        first, others = capsys.readouterr().err.splitlines()
        assert first == "seed 7"
        assert others.startswith("left to the server: temperature, max_tokens, top_k")

    def test_every_one_is_a_field_of_the_server(self) -> None:
        assert set(PARAMETERS) <= set(ChatRequest.model_fields)


class TestJson:
    def test_a_schema_may_be_typed_or_be_in_a_file(
        self, repl: ChatRepl, server: ScriptedDaemon, tmp_path: Path
    ) -> None:
        (tmp_path / "schema.json").write_text('{"type": "array"}')
        say(repl, '/json {"type": "object"}', "Hi", f"/json {tmp_path}/schema.json", "Hi")
        say(repl, "/json", "Hi", "/json off", "Hi")
        formats: list[Any] = [request.get("response_format") for request in server.requests]
        assert [f["json_schema"]["schema"] for f in formats[:2]] == [{"type": "object"}, {"type": "array"}]
        assert formats[2:] == [{"type": "json_object"}, None]

    def test_one_that_is_none_is_told(self, repl: ChatRepl) -> None:
        with pytest.raises(EdgeinferError, match="the schema is not JSON"):
            say(repl, "/json {")


class TestSavedConversations:
    def test_one_is_continued_later(self, repl: ChatRepl, server: ScriptedDaemon, tmp_path: Path) -> None:
        file = tmp_path / "talk.json"
        say(repl, "/system Be brief.", "/set seed 7", "one", f"/save {file}", "/clear", "/system")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        say(repl, "/set seed default", f"/load {file}", "two")
        assert contents(server) == ["Be brief.", "one", "Hello", "two"]
        assert server.requests[-1]["seed"] == 7
        say(repl, f"/save {file}")
        assert len(json.loads(file.read_text())["messages"]) == 5

    def test_a_file_that_is_there_is_not_overwritten(self, repl: ChatRepl, tmp_path: Path) -> None:
        file = tmp_path / "mine"
        file.write_text("mine")
        with pytest.raises(EdgeinferError, match="exists"):
            say(repl, f"/save {file}")
        assert file.read_text() == "mine"

    def test_a_list_of_messages_is_one_too(
        self, repl: ChatRepl, server: ScriptedDaemon, tmp_path: Path
    ) -> None:
        file = tmp_path / "list.json"
        file.write_text('[{"role": "user", "content": "one"}, {"role": "assistant", "content": "1"}]')
        say(repl, f"/load {file}", "two")
        assert contents(server) == ["one", "1", "two"]

    @pytest.mark.parametrize("content", ['{"a": 1}', '[{"role": "boss", "content": "x"}]', "{", "[1]"])
    def test_anything_else_is_refused(self, content: str, repl: ChatRepl, tmp_path: Path) -> None:
        file = tmp_path / "x.json"
        file.write_text(content)
        say(repl, "one")
        with pytest.raises(EdgeinferError, match=r"x\.json"):
            say(repl, f"/load {file}")
        assert len(repl.session.turns) == 2


@pytest.mark.parametrize(
    ("typed", "prompt"),
    [
        ('"""/help"""', Prompt("/help", literal=True)),
        ('"""\na\nb\n""" and c', Prompt("a\nb\nand c", literal=True)),
        ('/system """a\nb"""', Prompt("/system a\nb")),
        ('say """x"""', Prompt('say """x"""')),
    ],
)
def test_quotes_around_several_lines_are_taken_off(typed: str, prompt: Prompt) -> None:
    assert unquoted(typed) == prompt


def test_a_quoted_command_is_a_question(repl: ChatRepl, server: ScriptedDaemon) -> None:
    say(repl, '"""/clear"""')
    assert contents(server) == ["/clear"]
