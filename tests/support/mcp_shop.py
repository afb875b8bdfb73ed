"""An MCP server of the official SDK, over stdio, or HTTP with a port as its argument."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from mcp.server.mcpserver import MCPServer

server = MCPServer("shop")


@server.tool()
def price(item: str, count: int) -> str:
    """Tell what some items cost."""
    return f"{count} {item} cost {count * 3} EUR"


@server.tool()
def escape() -> str:
    """Answer with what a terminal would act on."""
    return "\x1b[2J\x1b]0;owned\x07gone \u202etxet"


@server.tool()
def long(lines: int) -> str:
    """Answer with many lines."""
    return "\n".join(f"line {number}" for number in range(lines))


@server.tool()
def wait(seconds: float) -> str:
    """Take a while."""
    time.sleep(seconds)
    return "waited"


@server.tool()
def spawn() -> int:
    """Start a process that would live on; -> its id."""
    return subprocess.Popen(["sleep", "1000"], start_new_session=True).pid


@server.tool()
def environment(name: str) -> str:
    """Tell a variable."""
    return os.environ.get(name, "(not set)")


@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("out of stock")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run()
