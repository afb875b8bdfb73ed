"""The models in Anthropic's form."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.support.server import Scripted, Served, serving

HEADER = {"anthropic-version": "2023-06-01"}
TABLES = {"scripted": {"aliases": ["claude-small", "claude-large"]}}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Scripted("Hi"), models=TABLES) as served:
        yield served


def page(served: Served, query: str = "") -> Any:
    return served.client.get(f"/v1/models{query}", headers=HEADER).json()


def test_models_and_aliases_are_entries(served: Served) -> None:
    """Claude Code offers the names that begin with claude."""
    found = page(served)
    assert [entry["id"] for entry in found["data"]] == ["scripted", "claude-small", "claude-large"]
    assert (found["has_more"], found["first_id"], found["last_id"]) == (False, "scripted", "claude-large")
    entry = found["data"][0]
    assert datetime.fromisoformat(entry["created_at"].replace("Z", "+00:00")).tzinfo
    assert (entry["type"], entry["display_name"], entry["max_input_tokens"]) == ("model", "scripted", 4096)


@pytest.mark.parametrize(
    ("query", "ids", "more"),
    [
        ("?limit=1000", ["scripted", "claude-small", "claude-large"], False),
        ("?limit=2", ["scripted", "claude-small"], True),
        ("?limit=1&after_id=scripted", ["claude-small"], True),
        ("?after_id=claude-large", [], False),
        ("?limit=1&before_id=claude-large", ["claude-small"], True),
        ("?before_id=scripted", [], False),
    ],
)
def test_the_list_comes_in_pages(served: Served, query: str, ids: list[str], more: bool) -> None:
    found = page(served, query)
    assert ([entry["id"] for entry in found["data"]], found["has_more"]) == (ids, more)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?limit=x", "limit"),
        ("?after_id=nothing", "after_id"),
        ("?before_id=scripted&after_id=scripted", "before_id"),
    ],
)
def test_a_wrong_page_is_refused(served: Served, query: str, param: str) -> None:
    error = page(served, query)
    assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error")
    assert param in error["error"]["message"]


def test_one_model_is_found_by_its_names(served: Served) -> None:
    for name in ("scripted", "default", "claude-small"):
        assert served.client.get(f"/v1/models/{name}", headers=HEADER).json()["id"] == "scripted"
    missing = served.client.get("/v1/models/nothing", headers=HEADER)
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")


def test_without_the_header_the_list_is_openai_s(served: Served) -> None:
    assert served.client.get("/v1/models").json()["object"] == "list"
