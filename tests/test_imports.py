"""The direction of imports between packages, as docs/structure.md draws it: down, never up."""

from __future__ import annotations

import ast
import functools
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import edgeinfer
from tests.support.heavy_modules import HEAVY

PACKAGE = Path(edgeinfer.__file__).parent
LEAVES = (
    "allocator",
    "value_errors",
    "errors",
    "user_folders",
    "llama_version",
    "model_settings",
    "settings",
    "log",
    "metrics",
    "notify",
    "request_figures",
    "daemon_record",
)
ORDER = (
    *LEAVES,
    "ipc",
    "hardware",
    "gguf",
    "safetensors",
    "inference",
    "store",
    "hub",
    "grammar",
    "engine",
    "backends",
    "plan",
    "bench",
    "install",
    "service",
    "chat",
    "serving",
    "client",
    "connect",
    "code",
    "mcp",
    "server",
    "cluster",
    "backup",
    "doctor",
    "cli",
)
"""Every package, each above those that it may import."""


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name within it: "engine.kv_cache"."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def imports(path: Path, *, at_import: bool = False) -> set[str]:
    """Full names of what a file imports; `at_import`: only what is imported along with it.

    Imports for the type checker alone are none.
    """
    return set(_imports(parsed(path), path, at_import))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _imports(node: ast.AST, path: Path, at_import: bool) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{path} has a relative import"
            assert child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.expr) or _is_for_the_type_checker(child):
            continue
        elif not (at_import and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)):
            yield from _imports(child, path, at_import)


def _is_for_the_type_checker(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


@functools.cache
def ours(path: Path, *, at_import: bool = False) -> set[str]:
    """The modules of ours that a file imports, as `modules` names them."""
    known = modules()
    found = set()
    for name in imports(path, at_import=at_import):
        if name.startswith("edgeinfer."):
            name = name.removeprefix("edgeinfer.")
            while name not in known:
                name = name.rpartition(".")[0]
            found.add(name)
    return found


def package(module: str) -> str:
    return module.partition(".")[0]


def within(*packages: str) -> list[tuple[str, Path]]:
    return [(name, path) for name, path in sorted(modules().items()) if package(name) in packages]


def breaches(packages: tuple[str, ...], allowed: tuple[str, ...]) -> list[str]:
    """What modules of `packages` import beyond themselves and `allowed`, which names packages or modules."""
    return [
        f"{name} imports {other}"
        for name, path in within(*packages)
        for other in sorted(ours(path))
        if package(other) not in (*packages, *allowed) and other not in allowed and other
    ]


def test_leaves_import_nothing_of_ours_but_leaves() -> None:
    """Anybody may import them."""
    assert [] == [b for leaf in LEAVES for b in breaches((leaf,), LEAVES)]


@pytest.mark.parametrize(
    ("packages", "allowed"),
    [
        (("ipc",), LEAVES),
        (("hardware",), (*LEAVES, "ipc")),
        (("gguf",), LEAVES),
        (("safetensors",), LEAVES),
        (("store",), (*LEAVES, "gguf", "safetensors", "inference.fake_model", "ipc")),
        (("hub",), (*LEAVES, "gguf", "safetensors", "store")),
        (("inference",), LEAVES),
        (
            ("plan",),
            (
                *LEAVES,
                "hardware",
                "gguf",
                "safetensors",
                "store",
                "engine.config",
                "backends.llama_cpp.config",
                "backends.vllm.config",
            ),
        ),
        (("grammar",), (*LEAVES, "ipc")),
        (("engine",), (*LEAVES, "grammar.limits", "inference")),
        (
            ("backends",),
            (
                *LEAVES,
                "",
                "engine",
                "gguf.file_identity",
                "hardware.memory",
                "safetensors",
                "inference",
                "ipc",
            ),
        ),
        (("service",), (*LEAVES, "hardware", "plan", "backends.llama_cpp.config")),
        (("bench",), (*LEAVES, "gguf", "store", "hardware", "plan", "engine", "backends", "inference")),
        (("install",), (*LEAVES, "gguf", "safetensors", "hub", "store", "hardware", "plan")),
        (("client",), LEAVES),
        (("connect",), (*LEAVES, "client")),
        (("code",), (*LEAVES, "client", "ipc", "store.catalogue")),
        (
            ("mcp",),
            (
                *LEAVES,
                "",
                "ipc",
                "store.catalogue",
                "grammar",
                "chat.tools.tool",
                "client",
                "code.model_choice",
                "code.visible",
            ),
        ),
        (
            ("backup",),
            (
                *LEAVES,
                "",
                "gguf",
                "safetensors",
                "store",
                "server.auth.key_file",
            ),
        ),
        (
            ("doctor",),
            (
                *LEAVES,
                "",
                "ipc.confinement.confinement",
                "ipc.confinement.probe",
                "hardware",
                "store",
                "plan",
                "service",
                "bench",
                "backends",
                "cluster.node",
                "server.auth.key_file",
                "server.http.sockets",
                "server.http.tls",
                "client",
            ),
        ),
        (("chat",), (*LEAVES, "inference", "grammar.source", "ipc")),
        (
            ("serving",),
            (*LEAVES, "chat", "plan", "grammar", "inference", "backends.llama_cpp.config"),
        ),
        (
            ("server",),
            (
                *LEAVES,
                "hub.reference",
                "",
                "serving",
                "chat",
                "plan",
                "hardware",
                "gguf.file_identity",
                "store",
                "grammar",
                "inference",
                "ipc",
                "mcp",
                "backends",
            ),
        ),
        (
            ("cluster",),
            (
                *LEAVES,
                "",
                "serving",
                "server.auth.key_file",
                "server.auth.keys",
                "server.build",
                "server.engines",
                "server.http.connections",
                "server.http.sockets",
                "server.peers",
                "server.run",
                "server.state",
                "plan",
                "hardware",
                "store",
                "inference",
                "backends",
            ),
        ),
    ],
    ids=lambda v: v[0] if len(v) == 1 else "",
)
def test_a_package_imports_only_what_lies_below(packages: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    """The picture in docs/structure.md, package by package."""
    assert [] == breaches(packages, allowed)


def test_no_import_runs_up() -> None:
    """A package imports those below it in one order, without an exception."""
    place = {name: number for number, name in enumerate(ORDER)}
    upwards = [
        f"{name} imports {other}"
        for name, path in modules().items()
        if name not in ("", "__main__")
        for other in ours(path) - {""}
        if place[package(other)] > place[package(name)]
    ]
    assert [] == upwards


def test_a_class_name_stands_once_in_the_package() -> None:
    """A reader who searches for a name finds one thing."""
    names = Counter(
        node.name
        for path in modules().values()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
    )
    assert [] == [name for name, count in names.items() if count > 1]


def test_no_test_imports_from_another_test_file() -> None:
    """What tests share lies in tests/support."""
    tests = PACKAGE.parent / "tests"
    imported = {
        f"{path.relative_to(tests)} imports {name}"
        for path in tests.rglob("*.py")
        for name in imports(path)
        if any(part.startswith("test_") for part in name.split(".")[1:-1]) and name.startswith("tests.")
    }
    assert set() == imported


def test_only_the_binding_imports_llama_cpp() -> None:
    """One seam."""
    found = {
        name.rpartition(".")[0]
        for name, path in modules().items()
        if any(i.startswith("llama_cpp") for i in imports(path))
    }
    assert {"backends.llama_cpp.binding"} == found


def test_the_engine_runs_without_llama_cpp_http_or_a_clock() -> None:
    """It is given all three."""
    foreign = {i.partition(".")[0] for name, path in within("engine") for i in imports(path)}
    assert set() == foreign & {
        "llama_cpp",
        "fastapi",
        "starlette",
        "httpx",
        "asyncio",
        "socket",
        "time",
        "logging",
    }


def test_only_the_child_process_imports_the_engine_and_llama_cpp() -> None:
    """The daemon never loads either."""
    heavy = ("engine.engine", "engine.scheduler", "engine.sampler", "engine.kv_cache", "engine.backend")
    found = {
        name
        for name, path in modules().items()
        for other in ours(path)
        if (other in heavy or other.startswith("backends.llama_cpp.binding"))
        and package(name) != "engine"
        and not name.startswith("backends.llama_cpp.binding")
    }
    assert all(name.startswith("backends.llama_cpp.worker.") for name in found), found


def test_only_the_grammar_process_imports_the_libraries_of_grammars() -> None:
    """One seam to each: the daemon loads neither."""
    found = {
        (library, name)
        for name, path in within("grammar", "server", "chat")
        for library in {i.partition(".")[0] for i in imports(path)}
        & {"llguidance", "jsonschema", "referencing"}
    }
    assert {
        ("llguidance", "grammar.matcher"),
        ("jsonschema", "grammar.check"),
        ("referencing", "grammar.check"),
    } == found


def test_the_server_imports_nothing_heavy() -> None:
    """Neither numpy nor llama.cpp nor the hub's client."""
    found = {i.partition(".")[0] for name, path in within("server", "chat") for i in imports(path)}
    assert set() == found & set(HEAVY)


def test_modules_do_not_import_in_circles() -> None:
    """Not even where Python would let them."""
    known = modules()
    graph = {name: ours(path) - {name} for name, path in known.items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way, name))
        if name not in done:
            for other in graph[name]:
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_every_module_can_be_imported_first() -> None:
    """None imports, over whatever detour, a module that imports it; a module of a package needs the package."""
    needed = {}
    for name, path in modules().items():
        above = set(with_packages(name))
        needed[name] = {m for other in ours(path, at_import=True) for m in with_packages(other)} - above
    TopologicalSorter(needed).prepare()  # raises CycleError, which names the circle


def with_packages(name: str) -> list[str]:
    """A module and the packages that it is in."""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
