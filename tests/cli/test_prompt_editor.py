"""Prompts typed at a terminal that can do more than one with TERM=dumb."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeinfer.cli.prompt_history import MAX_SIZE, PrivateHistory
from tests.support.cli import ScriptedDaemon, Terminal, daemon, run, terminal

READY = re.escape("\x1b[?2004h")
"""The editor turns bracketed paste on, and then reads."""

UP, TAB, ENTER, ALT_ENTER = "\x1b[A", "\t", "\r", "\x1b\r"


@contextmanager
def conversation(home: Path, server: ScriptedDaemon, *options: str, **env: str) -> Iterator[Terminal]:
    env |= {"EDGEINFER_PORT": server.port, "TERM": "xterm"}
    with terminal(home, "chat", *options, folder=None, **env) as opened:
        opened.expect(READY)
        yield opened
        opened.send("\x04")
        assert opened.wait() == 0


def answered(opened: Terminal, typed: str) -> None:
    opened.send(typed)
    opened.expect("Hello")
    opened.expect(READY)


def asked(server: ScriptedDaemon) -> list[str]:
    return [request["messages"][-1]["content"] for request in server.requests]


def test_a_pasted_text_waits_for_enter(tmp_path: Path) -> None:
    """Also one that ends in a line break, and the text can still be changed."""
    with daemon("Hello") as server, conversation(tmp_path, server) as opened:
        opened.send("\x1b[200~one\r\ntwo\n\x1b[201~")
        opened.settle()
        assert server.requests == []
        answered(opened, f"three{ENTER}")
    assert asked(server) == ["one\ntwo\nthree"]


@pytest.mark.parametrize(
    "typed", [f"one{ALT_ENTER}two{ENTER}", f'"""one{ENTER}two"""{ENTER}', '"""\none\ntwo\n"""\n']
)
def test_several_lines_can_be_typed(typed: str, tmp_path: Path) -> None:
    with daemon("Hello") as server, conversation(tmp_path, server) as opened:
        answered(opened, typed)
    assert asked(server) == ["one\ntwo"]


def test_tab_completes_commands_models_and_paths(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("alpha")
    with daemon("Hello") as server:
        server.models = [{"id": "small"}]
        with conversation(tmp_path, server) as opened:
            opened.send(f"/mo{TAB} sm{TAB}{ENTER}")
            opened.expect("small answers from here on")
            opened.expect(READY)
            opened.send(f"/fi{TAB} {tmp_path}/no{TAB}{ENTER}")
            opened.expect(r"notes\.txt 5 tokens")
            opened.expect(READY)


def test_ctrl_c_empties_the_line_and_a_second_one_leaves(tmp_path: Path) -> None:
    with (
        daemon("Hello") as server,
        terminal(tmp_path, "chat", EDGEINFER_PORT=server.port, TERM="xterm") as opened,
    ):
        opened.expect(READY)
        opened.send("not this\x03")
        opened.expect(r"to leave\)")
        opened.expect(READY)
        opened.send("\x03")
        assert opened.wait() == 130
    assert server.requests == []


class TestHistory:
    def test_prompts_are_there_in_the_next_conversation(self, tmp_path: Path) -> None:
        """Those of several lines too; the file is for this user alone."""
        with daemon("Hello") as server:
            with conversation(tmp_path, server) as opened:
                answered(opened, f"one{ALT_ENTER}two{ENTER}")
                answered(opened, f" a secret{ENTER}")
            with conversation(tmp_path, server) as opened:
                answered(opened, f"{UP}!{ENTER}")
        assert asked(server) == ["one\ntwo", " a secret", "one\ntwo!"]
        file = tmp_path / ".local/state/edgeinfer/chat/history"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert "secret" not in file.read_text()

    @pytest.mark.parametrize(("options", "env"), [(["--no-history"], {}), ([], {"EDGEINFER_HISTORY": "off"})])
    def test_nothing_is_kept_if_nothing_shall_be(
        self, options: list[str], env: dict[str, str], tmp_path: Path
    ) -> None:
        with daemon("Hello") as server, conversation(tmp_path, server, *options, **env) as opened:
            answered(opened, f"one{ENTER}")
        assert not (tmp_path / ".local/state/edgeinfer/chat").exists()

    def test_a_file_that_was_open_to_others_is_closed_to_them(self, tmp_path: Path) -> None:
        file = tmp_path / "history"
        file.touch(mode=0o644)
        PrivateHistory(file).store_string("one")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def test_a_long_one_loses_its_older_half(self, tmp_path: Path) -> None:
        file = tmp_path / "history"
        history = PrivateHistory(file)
        for number in range(3):
            history.store_string(str(number) * (MAX_SIZE // 2))
        assert [text[0] for text in PrivateHistory(file).load_history_strings()] == ["2"]

    def test_one_that_cannot_be_written_is_no_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        history = PrivateHistory(tmp_path / "file/history")
        history.append_string("one")
        assert list(history.load_history_strings()) == []

    def test_a_word_that_is_neither_on_nor_off_is_told(self, tmp_path: Path) -> None:
        done = run(tmp_path, "status", EDGEINFER_HISTORY="off")
        assert "EDGEINFER_HISTORY" not in done.stderr
        with (
            daemon("Hello") as server,
            terminal(tmp_path, "chat", EDGEINFER_PORT=server.port, EDGEINFER_HISTORY="sure") as opened,
        ):
            opened.expect("EDGEINFER_HISTORY: it must be on or off, not 'sure'")
            assert opened.wait() == 1
