"""The dashboard is what Grafana's own types take: nothing of it is lost when they have read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.debian_programs import find_module
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

DASHBOARD = ROOT / "deploy/grafana/dashboards/edgeinfer.json"

UNTYPED = {"definition", "titleFormat", "textFormat"}
"""What the types leave to the editor of variables, and to Prometheus' annotations."""


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def read(found: dict[str, Any]) -> Any:
    """A dashboard as Grafana's types, with those of its panels and queries."""
    find_module("grafana_foundation_sdk.cog.plugins", "grafana-types").register_default_plugins()
    return find_module("grafana_foundation_sdk.models.dashboard", "grafana-types").Dashboard.from_json(found)


def written(typed: Any) -> Any:
    encoder = find_module("grafana_foundation_sdk.cog.encoder", "grafana-types").JSONEncoder
    return json.loads(json.dumps(typed, cls=encoder))


def lost(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """The places of what is not the same in both; `after` may have more."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            yield from lost(value, after.get(name), f"{place}/{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{place}/{number}")
    elif before != after:
        yield place


def test_grafanas_types_know_all_that_it_says() -> None:
    found = lost(dashboard(), written(read(dashboard())))
    assert {place.rpartition("/")[2] for place in found} <= UNTYPED


def test_every_query_is_one_of_prometheus() -> None:
    typed = read(dashboard())
    queries = [query for panel in typed.panels for query in getattr(panel, "targets", None) or []]
    assert len(queries) > 20
    assert {type(query).__module__.rpartition(".")[2] for query in queries} == {"prometheus"}


@pytest.mark.parametrize(
    ("kind", "part", "name"),
    [("stat", "options", "colour"), ("timeseries", "fieldConfig", "unit"), ("table", "gridPos", "width")],
)
def test_a_name_that_grafana_does_not_know_is_found(kind: str, part: str, name: str) -> None:
    wrong = dashboard()
    panel = next(panel for panel in wrong["panels"] if panel["type"] == kind)
    panel.setdefault(part, {})[name] = "x"
    assert f"{part}/{name}" in {
        "/".join(place.split("/")[-2:]) for place in lost(wrong, written(read(wrong)))
    }
