"""What a process has loaded once it is ready: memory and start are worth something on a small board."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection

import pytest

from tests.support.heavy_modules import HEAVY


def loaded(imports: str, suspects: Collection[str]) -> list[str]:
    """Those of the suspects that are there in a fresh interpreter after `import imports`."""
    code = f"import sys, {imports}; print(*sorted({set(suspects)} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    "names",
    [
        "edgeinfer.server.build, edgeinfer.cli, edgeinfer.cli.app",
        "edgeinfer.server.run, edgeinfer.server.build, edgeinfer.plan",
    ],
)
def test_the_daemon_and_the_command_line_load_nothing_heavy(names: str) -> None:
    assert loaded(names, HEAVY) == []


def test_the_model_begins_to_load_before_the_daemon_knows_its_routes() -> None:
    """FastAPI and what it needs take as long to import as all else; the worker loads meanwhile."""
    assert loaded("edgeinfer.server.run", {"fastapi", "pydantic", "edgeinfer.server.build"}) == []


def test_the_daemon_loads_no_http_client_before_it_asks_somebody() -> None:
    """Only other boards and vLLM are asked, which few have."""
    assert (
        loaded(
            "edgeinfer.server.run, edgeinfer.server.build",
            {"httpx", "rich", "edgeinfer.backends.vllm.client"},
        )
        == []
    )


@pytest.mark.parametrize(
    "name",
    [
        "edgeinfer.grammar.process",
        "edgeinfer.chat.template_process",
        "edgeinfer.backends.llama_cpp.worker.process",
    ],
)
def test_children_load_no_event_loop(name: str) -> None:
    """Each answers one request after the other, and there are three of them at least."""
    assert loaded(name, {"asyncio", "ssl", "subprocess"}) == []


def test_binding_imports_of_llama_cpp_only_its_functions() -> None:
    suspects = {"jinja2", "diskcache", "llama_cpp.llama", "llama_cpp.llama_cpp"}
    assert loaded("edgeinfer.backends.llama_cpp.binding.context", suspects) == ["llama_cpp.llama_cpp"]


def test_a_worker_asks_no_library_for_the_version_of_llama_cpp() -> None:
    """Importing that delays the first token, and a worker has no other use for it."""
    parts = ("worker.process", "worker.early_model", "binding.context", "binding.build")
    names = ", ".join(f"edgeinfer.backends.llama_cpp.{part}" for part in parts)
    assert loaded(names, {"importlib.metadata"}) == []
