"""`edgeinfer mcp`, asked by the SDK's own client."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import TextContent

from tests.support.cli import EDGEINFER, environment
from tests.support.coder import coding

TOOLS = {"list_models", "chat", "answer_json", "complete_code", "embed"}
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}


@asynccontextmanager
async def connected(home: Path, mode: str, **env: str) -> AsyncIterator[Client]:
    program, *arguments = [*EDGEINFER, "mcp"]
    parameters = StdioServerParameters(command=program, args=arguments, env=environment(home, **env))
    with (home / "stderr").open("w") as errors:
        async with Client(stdio_client(parameters, errlog=errors), mode=mode) as client:
            yield client


async def text(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    (content,) = result.content
    assert isinstance(content, TextContent)
    return f"error: {content.text}" if result.is_error else content.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_other_programs_ask_the_daemons_models(tmp_path: Path, mode: str) -> None:
    """In both generations of the protocol. The greeting is on stderr, which the protocol leaves free."""
    with coding("Hello there.", '{"a": 5}', "x + y") as (coder, env):
        async with connected(tmp_path, mode, **env) as client:
            assert client.protocol_version == {"auto": "2026-07-28", "legacy": "2025-11-25"}[mode]
            assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
            (row,) = json.loads(await text(client, "list_models"))
            assert (row["name"], row["default"]) == ("scripted", True)
            assert await text(client, "chat", prompt="Hi", system="Be kind", max_tokens=50) == "Hello there."
            assert json.loads(await text(client, "answer_json", prompt="Count", schema=SCHEMA)) == {"a": 5}
            assert await text(client, "complete_code", prefix="def add(x, y):\n    return ") == "x + y"
            embedded = json.loads(await text(client, "embed", texts=["a", "b"]))
            assert len(embedded["embeddings"]) == 2
            assert "[system]Be kind" in coder.prompt(0)
            refused = await text(client, "answer_json", prompt="x", schema={"$ref": "https://example.org/x"})
            assert "points outside the schema" in refused
            assert "at least 1" in await text(client, "embed", texts=[])
    assert "edgeinfer mcp: MCP on standard input and output" in (tmp_path / "stderr").read_text()


async def test_without_a_daemon_a_call_says_what_to_do(tmp_path: Path) -> None:
    async with connected(tmp_path, "auto") as client:
        assert "no daemon answers at http://127.0.0.1:1 (hint: start one" in await text(
            client, "chat", prompt="Hi"
        )


def test_the_command_names_the_extra_where_it_is_not_installed(tmp_path: Path) -> None:
    code = "import sys; sys.modules['mcp'] = None; from edgeinfer.cli import main; sys.argv[1:] = ['mcp']; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "MCP needs the extra mcp" in done.stderr
    assert "pip install 'edgeinfer[mcp]'" in done.stderr
    assert done.stdout == ""
