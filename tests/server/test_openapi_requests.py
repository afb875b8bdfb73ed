"""Schemathesis: thousands of requests made from /openapi.json, good and bad, the same each time."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from edgeinfer.server.build import FAMILIES
from edgeinfer.server.http.family import Family, Route
from tests.support.cli import EDGEINFER, environment
from tests.support.server import eventually

CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "501"]
[checks.negative_data_rejection]
expected-statuses = ["400", "404", "405", "413", "429", "501"]
[checks.positive_data_acceptance]
enabled = false
"""
"""What keeps to the document may be refused for what no schema says, and what breaks it for its mere size."""

NOT_FOR_THIS_MODEL = {"/api/delete", "/rerank"}
"""Their examples are refused: the bundled model cannot be deleted, and is no reranker."""


def distinct(family: Family) -> list[Route]:
    """The documented routes, less those that are another one by another path."""
    known: dict[tuple[object, ...], Route] = {}
    for route in family.routes:
        if route.is_documented:
            known.setdefault((route.handler, route.body, route.methods), route)
    return list(known.values())


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A real one, with the bundled model and little context, so that no answer is long; and its log."""
    log = tmp_path / "log"
    options = ("--port", "0", "--ctx", "96", "--parallel", "2", "--queue", "8")
    with log.open("w") as file:
        process = subprocess.Popen(
            [*EDGEINFER, "serve", *options], stderr=file, env=environment(tmp_path, EDGEINFER_MODEL="")
        )
    try:
        assert eventually(lambda: "listening on" in log.read_text(), 30)
        url = re.findall(r"listening on (\S+)", log.read_text())[0]
        assert eventually(lambda: httpx.get(f"{url}/ready").status_code == 200, 30)
        yield url, log
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "family", [made for family in FAMILIES if distinct(made := family())], ids=lambda family: family.name
)
def test_no_request_brings_a_server_error_or_an_undocumented_answer(
    daemon: tuple[str, Path], tmp_path: Path, family: Family
) -> None:
    url, log = daemon
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    routes = distinct(family)
    paths = [f"--include-path={path}" for path in {route.documented_path: None for route in routes}]
    options = ("--phases", "examples,coverage,fuzzing", "--max-examples", "3", "--generation-deterministic")
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", *options, *paths],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert httpx.get(f"{url}/ready").status_code == 200
    answers = Counter(re.findall(r"edgeinfer\.access: [A-Z]+ (\S+) (\d+) ", log.read_text()))
    assert not [answer for answer in answers if answer[1].startswith("5") and answer[1] != "501"]
    examples = {route.path for route in routes if route.example} - NOT_FOR_THIS_MODEL
    assert {path for path, status in answers if status == "200"} >= examples
