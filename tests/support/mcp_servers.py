"""MCP servers for tests, and files that name them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT

SUPPORT = ROOT / "tests" / "support"
SHOP: dict[str, Any] = {"command": sys.executable, "args": [str(SUPPORT / "mcp_shop.py")]}


def raw(kind: str, **fields: Any) -> dict[str, Any]:
    """The entry of a server in mcp_raw.py."""
    return {"command": sys.executable, "args": [str(SUPPORT / "mcp_raw.py"), kind], **fields}


def config_file(path: Path, **servers: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"mcpServers": servers}))
    return path


@contextmanager
def shop_over_http() -> Iterator[str]:
    """Run the shop; yields its address."""
    port = free_port()
    process = subprocess.Popen(
        [SHOP["command"], *SHOP["args"], str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not _listens(port):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with closing(socket.socket()) as found:
        return found.connect_ex(("127.0.0.1", port)) == 0
