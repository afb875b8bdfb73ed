"""`serving` stands below the API families."""

from __future__ import annotations

import subprocess
import sys


def test_calls_need_no_http() -> None:
    """Another family, or a replica without any, loads nothing of the server's."""
    modules = ", ".join(f"edgeinfer.serving.{name}" for name in ("chat", "completion", "embedding", "infill"))
    heads = ("edgeinfer.server", "fastapi", "pydantic", "starlette", "uvicorn")
    code = f"import sys, {modules}; print(*[name for name in sys.modules if name.startswith({heads!r})])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "" == done.stdout.strip()
