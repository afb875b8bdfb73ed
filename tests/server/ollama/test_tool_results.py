"""Results of tools find their calls, whatever they say about them."""

from __future__ import annotations

from edgeinfer.server.ollama.tool_results import ToolResults


def test_a_name_comes_before_the_order() -> None:
    """Two results may come the other way round; two calls of one tool are answered in their order."""
    results = ToolResults()
    first, second, third = (results.expect(tool, None) for tool in ("time", "light", "time"))
    assert [second, first, third] == [results.match(None, tool) for tool in ("light", "time", "time")]


def test_an_id_comes_before_the_name() -> None:
    results = ToolResults()
    first, second = results.expect("time", "a"), results.expect("time", "b")
    assert second == results.match("b", "time")
    assert first == results.match(None, "time")


def test_a_name_that_nobody_called_leaves_the_order() -> None:
    """And so does an id that no call has. Where no call is left, a result keeps its own."""
    results = ToolResults()
    first, second = results.expect("time", None), results.expect("light", None)
    assert first == results.match(None, "functions.time")
    assert second == results.match("unknown", None)
    assert results.match("late", "time") == "late"
    assert results.match(None, None) is None


def test_many_calls_take_little_time_each() -> None:
    """Every call is looked at a few times, however the results come."""
    results, count = ToolResults(), 20_000
    ids = [results.expect(f"tool-{n}", None) for n in range(count)]
    assert ids[::-1] == [results.match(None, f"tool-{n}") for n in reversed(range(count))]
    assert [None] * count == [results.match(None, "none") for _ in range(count)]
