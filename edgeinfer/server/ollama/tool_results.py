"""Matches the results of tools with the calls that they answer."""

from __future__ import annotations

from collections import defaultdict, deque


class ToolResults:
    """Gives every call of a conversation an id, and finds the one that each result is of.

    A result says whose it is by the id of the call, by the name of the tool, or by nothing but its place: then it is
    of the first call that has no result yet.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._pending: set[str] = set()
        self._in_order: deque[str] = deque()
        self._by_tool: defaultdict[str, deque[str]] = defaultdict(deque)

    def expect(self, tool: str, id: str | None) -> str:
        """Note a call; -> its id, which is made up if it has none."""
        self._calls += 1
        id = id or f"call_{self._calls}"
        self._pending.add(id)
        self._in_order.append(id)
        self._by_tool[tool].append(id)
        return id

    def match(self, id: str | None, tool: str | None) -> str | None:
        """The id of the call that a result answers; its own if that is none's, None if no call is left."""
        if id not in self._pending:
            id = self._first(self._by_tool.get(tool or "", deque())) or self._first(self._in_order) or id
        self._pending.discard(id or "")
        return id

    def _first(self, calls: deque[str]) -> str | None:
        """The first of these calls without a result."""
        while calls and calls[0] not in self._pending:
            calls.popleft()
        return calls[0] if calls else None
