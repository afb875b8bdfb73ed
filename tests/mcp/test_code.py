"""MCP servers in `edgeinfer code`."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.support.cli import Terminal, terminal
from tests.support.coder import call, coding
from tests.support.mcp_servers import SHOP, config_file, raw
from tests.support.processes import children
from tests.support.project import project


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return project(tmp_path / "shop", {"cart.py": "x = 1\n"})


def ask(t: Terminal, question: str) -> None:
    t.expect("> ")
    t.settle()
    t.send(f"{question}\n")


def leave(t: Terminal) -> None:
    t.expect("> ")
    t.settle()
    t.send("\x04")
    assert t.wait() == 0


def test_the_model_calls_a_tool_after_the_user_has_agreed(shop: Path, tmp_path: Path) -> None:
    """Server, tool, arguments and result are shown; "always" holds for that tool, and a result goes to the model."""
    config_file(tmp_path / ".config" / "edgeinfer" / "mcp.json", shop=SHOP)
    with (
        coding(
            call("shop_price", item="nails\x1b[8m", count=2),
            call("shop_price", item="bolts", count=1),
            call("shop_escape"),
            "Six.",
        ) as (coder, env),
        terminal(tmp_path, "code", folder=shop, **env) as t,
    ):
        t.expect(r"starting MCP servers: shop")
        ask(t, "/mcp")
        t.expect(r"shop_price +Tell what some items cost\.")
        ask(t, "What do two nails cost?")
        shown = t.expect(r"Call this\? \[y\]es, \[a\]lways in this conversation, \[n\]o: ")
        assert "calls price of the MCP server shop" in shown
        assert r'"item": "nails\u001b[8m"' in shown
        t.send("a\n")
        t.expect("2 nails")
        t.expect("1 bolts cost 3 EUR")
        t.expect(r"calls escape[^?]*Call this\?.*: ")
        t.send("n\n")
        t.expect(r"Six\.")
        leave(t)
    assert '"name": "shop_price"' in coder.prompt(0)
    assert "1 bolts cost 3 EUR" in coder.prompt(2)
    assert "the user does not want this call" in coder.prompt(3)


def test_a_project_starts_nothing_before_its_file_is_agreed_to(shop: Path, tmp_path: Path) -> None:
    """No means no; what was agreed to is not asked about again."""
    config_file(shop / ".mcp.json", helper=raw("legacy"))
    touched = tmp_path / "touched"
    with coding("Hello.") as (_, env):
        config_file(shop / ".mcp.json", helper={"command": "touch", "args": [str(touched)]})
        with terminal(tmp_path, "code", folder=shop, **env) as t:
            assert f"helper: touch {touched}" in t.expect(r"Use them\? \[y\]es, \[n\]o: ")
            t.send("n\n")
            leave(t)
        assert not touched.exists()
        config_file(shop / ".mcp.json", helper=raw("legacy"))
        for times in range(2):
            with terminal(tmp_path, "code", folder=shop, **env) as t:
                if times == 0:
                    t.expect(r"Use them\?.*: ")
                    t.send("y\n")
                t.expect("starting MCP servers: helper")
                leave(t)


def test_ctrl_c_ends_a_call_and_the_server_ends_with_the_command(shop: Path, tmp_path: Path) -> None:
    """A server that never answers keeps nobody; nor does one that the command is killed above."""
    file = config_file(tmp_path / "servers.json", mute=raw("mute"))
    with (
        coding(call("mute_say", text="x"), "Hello again.") as (_, env),
        terminal(tmp_path, "code", "talk", "--mcp-config", str(file), folder=shop, **env) as t,
    ):
        ask(t, "Say x")
        t.expect(r"Call this\?.*: ")
        t.send("y\n")
        servers = children("mcp_raw.py", t.process.pid, recursive=True)
        assert servers
        t.interrupt()
        t.expect(r"to leave\)\n")
        ask(t, "Hello?")
        t.expect("Hello again.")
        t.process.kill()
        t.process.wait()
        assert not psutil.wait_procs(servers, timeout=30)[1]
