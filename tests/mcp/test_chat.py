"""MCP servers in `edgeinfer chat`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.cli import run, terminal
from tests.support.coder import call, coding
from tests.support.mcp_servers import SHOP, config_file, raw


def test_a_conversation_uses_the_users_servers(tmp_path: Path) -> None:
    """The result of a call goes to the model; the whole exchange can be saved, and taken back."""
    config_file(tmp_path / ".config" / "edgeinfer" / "mcp.json", shop=SHOP, big=raw("wide"))
    saved = tmp_path / "saved.json"
    with (
        coding(call("shop_price", item="nails", count=2), "They cost six.", "Nothing.", ctx=12_000) as (
            coder,
            env,
        ),
        terminal(tmp_path, "chat", folder=tmp_path, **env) as t,
    ):
        t.expect(r"the MCP server big is left out: its 1 tools have [\d,]+ tokens")
        t.expect("> ")
        t.settle()
        t.send("What do two nails cost?\n")
        assert "calls price of the MCP server shop" in t.expect(r"Call this\?.*: ")
        t.send("y\n")
        t.expect(r"2 nails cost 6 EUR[^>]*They cost six\.")
        for line, reply in (
            (f"/save {saved}", "saved 4 messages"),
            ("/mcp", "shop_price"),
            ("/undo", "taken back"),
        ):
            t.expect("> ")
            t.settle()
            t.send(f"{line}\n")
            t.expect(reply)
        t.expect("> ")
        t.settle()
        t.send("And now?\n")
        t.expect(r"Nothing\.")
        t.expect("> ")
        t.settle()
        t.send("\x04")
        assert t.wait() == 0
    assert "2 nails cost 6 EUR" in coder.prompt(1)
    assert "nails" not in coder.prompt(2)
    messages = json.loads(saved.read_text())["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"]


def test_a_single_question_starts_only_the_servers_that_are_named(tmp_path: Path) -> None:
    """Where nobody can be asked, no call is made."""
    config_file(tmp_path / ".config" / "edgeinfer" / "mcp.json", shop=SHOP)
    file = config_file(tmp_path / "servers.json", old=raw("legacy"))
    with coding(call("old_say", text="x"), "No.") as (coder, env):
        done = run(tmp_path, "chat", "--mcp-config", str(file), stdin="Say x", **env)
        assert (done.returncode, done.stdout) == (0, "No.\n")
        assert "Call this? Nobody can be asked, so the answer is no" in done.stderr
        assert "old_say" in coder.prompt(0)
        assert "the user does not want this call" in coder.prompt(1)
        run(tmp_path, "chat", stdin="Hello", **env)
        assert "shop_price" not in coder.prompt(2)
        both = run(tmp_path, "chat", "--json", "--mcp-config", str(file), stdin="Hello", **env)
        assert both.returncode == 2
        assert "--mcp-config" in both.stderr
        wrong = run(tmp_path, "chat", "--mcp-config", str(tmp_path / "none.json"), stdin="Hello", **env)
        assert wrong.returncode == 1
        assert "none.json: No such file or directory" in wrong.stderr
