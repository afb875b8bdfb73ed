"""`edgeinfer chat` against a daemon that follows a script."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.cli import EDGEINFER, daemon, environment, run, terminal


def test_a_prompt_is_answered_once_on_stdout(tmp_path: Path) -> None:
    """One answer and its newline; not a word on stderr where nobody watches."""
    with daemon("Hello", " there") as server:
        done = run(tmp_path, "chat", "Hi", EDGEINFER_PORT=server.port)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hello there\n", "")
    assert server.requests[0]["messages"] == [{"role": "user", "content": "Hi"}]


def test_an_answer_without_a_word_is_told(tmp_path: Path) -> None:
    """On stderr, so that a pipe gets what the model wrote: nothing."""
    with daemon("") as server:
        done = run(tmp_path, "chat", "Hi", EDGEINFER_PORT=server.port)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "(the model answered with nothing)\n")


def test_a_pipe_is_added_to_the_prompt(tmp_path: Path) -> None:
    """`git diff | edgeinfer chat "Review this"`."""
    with daemon("fine\n") as server:
        done = run(tmp_path, "chat", "Review this", stdin="+ a line", EDGEINFER_PORT=server.port)
        assert done.stdout == "fine\n"
        run(tmp_path, "chat", stdin=b"only \xff piped", EDGEINFER_PORT=server.port)
    assert server.requests[0]["messages"][0]["content"] == "Review this\n\n+ a line"
    assert server.requests[1]["messages"][0]["content"] == "only � piped"


def test_piped_text_may_be_utf_16(tmp_path: Path) -> None:
    """As Windows saves it."""
    with daemon("x") as server:
        run(tmp_path, "chat", stdin="Grüße".encode("utf-16"), EDGEINFER_PORT=server.port)
    assert server.requests[-1]["messages"] == [{"role": "user", "content": "Grüße"}]


def test_nothing_to_ask_is_wrong_usage(tmp_path: Path) -> None:
    """No prompt, an empty pipe: no conversation with nobody."""
    done = run(tmp_path, "chat")
    assert done.returncode == 2
    assert "there is no prompt, and standard input is empty" in done.stderr


def test_options_reach_the_request_and_only_those_given(tmp_path: Path) -> None:
    """What was not typed is left to the server."""
    options = [
        "--system",
        "Be brief.",
        "--model",
        "m",
        "--temperature",
        "0",
        "--max-tokens",
        "5",
        "--seed",
        "7",
    ]
    with daemon("x") as server:
        run(tmp_path, "chat", *options, "Hi", EDGEINFER_PORT=server.port)
        run(tmp_path, "chat", "Hi", EDGEINFER_PORT=server.port)
    assert server.requests[0] == {
        "model": "m",
        "temperature": 0.0,
        "max_tokens": 5,
        "seed": 7,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert set(server.requests[1]) == {"messages", "stream", "stream_options"}


def test_tools_are_offered_and_their_calls_printed_a_line_each(tmp_path: Path) -> None:
    """The text before them has a line of its own."""
    tools = [{"type": "function", "function": {"name": "light"}}]
    (tmp_path / "tools.json").write_text(json.dumps(tools))
    calls = [
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "light", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"on": '}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "true}"}}]},
        {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "light", "arguments": "{}"}}]},
    ]
    with daemon("Sure.", *calls) as server:
        done = run(
            tmp_path, "chat", "--tools", str(tmp_path / "tools.json"), "On", EDGEINFER_PORT=server.port
        )
    assert done.stdout == 'Sure.\nlight {"on": true}\nlight {}\n'
    assert server.requests[0]["tools"] == tools


def test_a_schema_becomes_the_answer_s_format(tmp_path: Path) -> None:
    """The daemon sees to it; a file that is none is wrong usage."""
    file = tmp_path / "schema.json"
    file.write_text('{"type": "object"}')
    with daemon("{}") as server:
        run(tmp_path, "chat", "--schema", str(file), "x", EDGEINFER_PORT=server.port)
        file.write_text("{")
        broken = run(tmp_path, "chat", "--schema", str(file), "x", EDGEINFER_PORT=server.port)
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}
    assert server.requests[0]["response_format"] == form
    assert broken.returncode == 2
    assert "--schema" in broken.stderr


def test_json_prints_the_whole_answer_object(tmp_path: Path) -> None:
    """What the server sent, for a script."""
    with daemon("Hello") as server:
        done = run(tmp_path, "chat", "--json", "Hi", EDGEINFER_PORT=server.port)
    assert done.stdout == '{"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}\n'
    assert "stream" not in server.requests[0]


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_url_names_another_server_with_or_without_v1(suffix: str, tmp_path: Path) -> None:
    """People paste the address their OpenAI client has."""
    with daemon("x") as server:
        url = f"http://127.0.0.1:{server.port}{suffix}"
        done = run(
            tmp_path,
            "chat",
            "--url",
            url,
            "Hi",
            http_proxy="http://127.0.0.1:9",
            HTTP_PROXY="http://127.0.0.1:9",
        )
    assert done.stdout == "x\n"


def test_the_key_comes_from_option_environment_or_the_daemons_own_file(tmp_path: Path) -> None:
    """In this order; the file's only for the daemon of this machine's settings."""
    keys = tmp_path / "keys"
    keys.write_text("# mine\n\nfrom-file\n")
    with daemon("x") as server:
        port = {"EDGEINFER_PORT": server.port, "EDGEINFER_API_KEY_FILE": str(keys)}
        run(tmp_path, "chat", "--api-key", "typed", "Hi", EDGEINFER_API_KEY="env", **port)
        run(tmp_path, "chat", "Hi", EDGEINFER_API_KEY="env", **port)
        run(tmp_path, "chat", "Hi", **port)
        run(tmp_path, "chat", "--url", f"127.0.0.1:{server.port}", "Hi", **port)
    assert server.keys == ["Bearer typed", "Bearer env", "Bearer from-file", None]


def test_an_error_of_the_server_ends_in_its_message_and_hint(tmp_path: Path) -> None:
    """Exit code 1, nothing on stdout, and control characters spelt."""
    error = {
        "message": "no such model: 'x\x1b'",
        "type": "t",
        "code": "model_not_found",
        "param": "model",
        "hint": "try y",
    }
    with daemon() as server:
        server.error = (404, {"error": error})
        done = run(tmp_path, "chat", "Hi", EDGEINFER_PORT=server.port)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: no such model: 'x\\x1b'\nhint: try y\n"


def test_a_missing_key_is_answered_with_how_to_give_it(tmp_path: Path) -> None:
    """The server's own hint speaks of HTTP headers."""
    error = {"message": "no API key given", "type": "t", "code": "invalid_api_key", "param": None}
    with daemon() as server:
        server.error = (401, {"error": error})
        done = run(tmp_path, "chat", "Hi", EDGEINFER_PORT=server.port)
    assert "hint: pass a key with --api-key or in EDGEINFER_API_KEY\n" in done.stderr


def test_an_error_inside_of_the_stream_is_an_error(tmp_path: Path) -> None:
    """What came before it is kept, the exit code tells."""
    error = {"message": "the worker died", "type": "t", "code": "worker_died", "param": None}
    with daemon("Hel", {"error": error}) as server:
        done = run(tmp_path, "chat", "Hi", EDGEINFER_PORT=server.port)
    assert (done.returncode, done.stdout, done.stderr) == (1, "Hel\n", "error: the worker died\n")


def test_a_server_that_is_no_daemon_is_said_to_be_none(tmp_path: Path) -> None:
    """Not a traceback."""
    with daemon() as server:
        server.error = (500, {"oops": 1})
        done = run(tmp_path, "chat", "Hi", EDGEINFER_PORT=server.port)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: http://127.0.0.1:{server.port} answered 500: ")


def test_a_named_server_that_does_not_answer_is_not_replaced(tmp_path: Path) -> None:
    """Who names a server wants that one."""
    done = run(tmp_path, "chat", "--url", "http://127.0.0.1:1", "Hi")
    assert done.returncode == 1
    assert done.stderr.startswith("error: no daemon answers at http://127.0.0.1:1\nhint: ")


def test_an_answer_that_was_cut_says_so(tmp_path: Path) -> None:
    """Nobody should take half an answer for a whole one."""
    with daemon("and then") as server:
        server.finish_reason = "length"
        done = run(tmp_path, "chat", "Hi", EDGEINFER_PORT=server.port)
    assert done.returncode == 0
    assert "(cut off: " in done.stderr


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    """`edgeinfer chat ... | head -1`: quiet, and the stream is closed."""
    with daemon("one\n", endless=True) as server:
        process = subprocess.Popen(
            [*EDGEINFER, "chat", "Hi"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(tmp_path, EDGEINFER_PORT=server.port),
        )
        assert process.stdout
        assert process.stdout.readline() == b"one\n"
        process.stdout.close()
        assert server.client_gone.wait(20)
        assert process.stderr
        assert process.stderr.read() == b""
        process.stderr.close()
        process.wait(20)


def test_ctrl_c_stops_the_answer_and_closes_its_stream(tmp_path: Path) -> None:
    """130, what came is on stdout, and the daemon need not compute for nobody."""
    with daemon("one\n", endless=True) as server:
        process = subprocess.Popen(
            [*EDGEINFER, "chat", "Hi"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(tmp_path, EDGEINFER_PORT=server.port),
        )
        assert process.stdout
        assert process.stdout.readline() == b"one\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert server.client_gone.wait(20)
    assert (process.returncode, out.strip(b".\n"), err) == (130, b"", b"")


def test_on_a_terminal_control_characters_are_spelt(tmp_path: Path) -> None:
    """A model cannot clear the screen, set the title or hide what it wrote."""
    with (
        daemon("a\x1b[2Jb\x9b1A\tc\rd\x07\n") as server,
        terminal(tmp_path, "chat", "Hi", EDGEINFER_PORT=server.port) as t,
    ):
        t.expect(r"a\\x1b\[2Jb\\x9b1A\tc\\x0dd\\x07\n")
        t.expect("12 tokens, 43.2 tok/s")
        assert t.wait() == 0


def test_characters_that_reorder_or_hide_text_are_spelt_on_a_terminal(tmp_path: Path) -> None:
    """But not those that a language or an emoji needs."""
    answer = "a\u202eb\u2066c\u200bd\u2028e\ufefff\U000e0041g \u0645\u06cc\u200c\u062e \U0001f469\u200d\U0001f4bb\n"
    with (
        daemon(answer) as server,
        terminal(tmp_path, "chat", "Hi", EDGEINFER_PORT=server.port, PYTHONIOENCODING="utf-8") as t,
    ):
        seen = t.expect("\U0001f4bb")
    assert r"a\u202eb\u2066c\u200bd\u2028e\ufefff\U000e0041g" in seen
    assert "\u0645\u06cc\u200c\u062e \U0001f469\u200d\U0001f4bb" in seen


def test_into_a_pipe_the_answer_goes_as_it_is(tmp_path: Path) -> None:
    """Bytes for a program are not touched."""
    with daemon("a\x1b[2J\u2028b\x85\n") as server:
        done = run(tmp_path, "chat", "Hi", EDGEINFER_PORT=server.port)
    assert done.stdout == "a\x1b[2J\u2028b\x85\n"


def test_on_a_terminal_thinking_is_shown_apart_from_the_answer(tmp_path: Path) -> None:
    """It goes to stderr, so that stdout has the answer alone."""
    deltas = ({"reasoning_content": "hmm"}, "yes")
    with daemon(*deltas) as server:
        done = run(tmp_path, "chat", "Hi", EDGEINFER_PORT=server.port)
        assert (done.stdout, done.stderr) == ("yes\n", "")
        with terminal(tmp_path, "chat", "Hi", EDGEINFER_PORT=server.port) as t:
            t.expect(r"\[thinking\]\nhmm\n\[answer\]\nyes\n")
            t.wait()


def test_a_conversation_remembers_clears_and_leaves(tmp_path: Path) -> None:
    """Each prompt comes with what was said before, until /clear."""
    with daemon("Hello") as server, terminal(tmp_path, "chat", EDGEINFER_PORT=server.port) as t:
        t.expect("> ")
        t.send("one\n")
        t.expect("Hello\n12 tokens, 43.2 tok/s\n> ")
        t.send("two\n")
        t.expect("Hello\n12 tokens, 43.2 tok/s\n> ")
        t.send("/clear\n")
        t.expect(r"\(conversation cleared\)\n> ")
        t.send("/system Be kind.\n")
        t.expect(r"\(system prompt set\)\n> ")
        t.send("three\n")
        t.expect("Hello\n12 tokens, 43.2 tok/s\n> ")
        t.send("/help\n")
        t.expect("/clear .*\n(.*\n)*> ")
        t.send("/nonsense\n")
        t.expect("no such command: /nonsense")
        t.send("/exit\n")
        assert t.wait() == 0
    contents = [[m["content"] for m in request["messages"]] for request in server.requests]
    assert contents == [["one"], ["one", "Hello", "two"], ["Be kind.", "three"]]


def test_ctrl_d_leaves_the_conversation(tmp_path: Path) -> None:
    """As in any shell."""
    with daemon("Hello") as server, terminal(tmp_path, "chat", EDGEINFER_PORT=server.port) as t:
        t.expect("> ")
        t.send("\x04")
        assert t.wait() == 0


def test_ctrl_c_stops_the_answer_and_a_second_one_leaves(tmp_path: Path) -> None:
    """The stream is closed at once; what there was of the answer is remembered."""
    with daemon("So", endless=True) as server, terminal(tmp_path, "chat", EDGEINFER_PORT=server.port) as t:
        t.expect("> ")
        t.send("talk\n")
        t.expect("So[.]{3}")
        t.interrupt()
        t.expect(r"to leave\)\n> ")
        assert server.client_gone.wait(10)
        server.endless = False
        t.send("go on\n")
        t.expect("So\n12 tokens.*\n> ")
        assert server.requests[1]["messages"][1]["content"].startswith("So...")
        t.interrupt()
        t.expect(r"to leave\)\n> ")
        t.interrupt()
        assert t.wait() == 130


def test_an_error_does_not_end_the_conversation(tmp_path: Path) -> None:
    """The next prompt may fare better."""
    error = {"message": "the queue is full", "type": "t", "code": "queue_full", "param": None}
    with daemon("Hello") as server, terminal(tmp_path, "chat", EDGEINFER_PORT=server.port) as t:
        server.error = (429, {"error": error})
        t.expect("> ")
        t.send("one\n")
        t.expect("error: the queue is full\n> ")
        server.error = None
        t.send("two\n")
        t.expect("Hello\n")
    assert [m["content"] for m in server.requests[1]["messages"]] == ["two"]
