"""Finds the items that a request continues or refers to among the stored responses of its sender."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edgeinfer.errors import InvalidRequest, PreviousResponseNotFound
from edgeinfer.server.http.quoting import quoted
from edgeinfer.server.responses.schemas.items import MAX_ITEMS, InputItem, ItemParam, ItemReference
from edgeinfer.server.responses.store import ResponseStore, StoredResponse

RESPONSE_ID = re.compile(r"resp_[0-9a-f]{32}")

ITEM_ID = re.compile(r"[a-z]{1,8}_([0-9a-f]{32})i?[0-9]{2,6}")
"""Ids of items derive from their response's, see `item_id`."""

MAX_TURNS = 1024
MAX_BYTES = 16 * 1024 * 1024
"""Of a stored conversation: it is read whole for each response that continues it."""

MAX_REFERENCED = 256
"""Responses whose items one request may refer to: each is a file to read."""

WHOLE_INPUT = "send the whole conversation as input"

_items: TypeAdapter[list[Any]] = TypeAdapter(list[ItemParam])


class History:
    """The stored responses of one sender. Its methods block: call them in a thread."""

    def __init__(self, store: ResponseStore, owner: str) -> None:
        self._store = store
        self._owner = owner

    def conversation(self, id: str) -> list[InputItem]:
        """The items of the response and of all those that it continues, without their instructions.

        Raises:
            PreviousResponseNotFound: one of them is not there.
            InvalidRequest: there are too many items.
        """
        turns: list[list[dict[str, Any]]] = []
        previous: str | None = id
        size = 0
        while previous:
            stored = self.load(previous)
            if stored is None:
                raise self._not_found(id)
            turns.append([*stored.input, *stored.output])
            size += self._store.size(self._owner, previous)
            if size > MAX_BYTES or len(turns) > MAX_TURNS or sum(map(len, turns)) > MAX_ITEMS:
                raise InvalidRequest(
                    f"the stored conversation is too long: more than {MAX_TURNS} responses, {MAX_ITEMS} items "
                    f"or {MAX_BYTES >> 20} MiB",
                    param="previous_response_id",
                    hint="begin a new one, with what still matters as input",
                )
            previous = stored.previous
        return _checked([item for turn in reversed(turns) for item in turn])

    def resolved(self, items: Sequence[InputItem]) -> list[InputItem]:
        """The items, with stored ones for references.

        Raises:
            InvalidRequest: a reference leads nowhere, or there are too many.
        """
        found = self._referenced(items)
        resolved = []
        for n, entry in enumerate(items):
            item = entry.item
            if isinstance(item, ItemReference):
                if item.id not in found:
                    problem = f"there is no stored item {quoted(item.id)}"
                    raise InvalidRequest(problem, param=f"input[{n}].id", hint="send the item itself")
                entry = found[item.id]
            resolved.append(entry)
        return resolved

    def load(self, id: str) -> StoredResponse | None:
        """The response with this id, None if there is none. An id is looked up only if it looks like ours."""
        return self._store.load(self._owner, id) if RESPONSE_ID.fullmatch(id) else None

    def delete(self, id: str) -> bool:
        """Delete a response; -> whether there was one."""
        return bool(RESPONSE_ID.fullmatch(id)) and self._store.delete(self._owner, id)

    def _referenced(self, items: Sequence[InputItem]) -> dict[str, InputItem]:
        ids: dict[str, set[str]] = {}
        for entry in items:
            if isinstance(entry.item, ItemReference) and (match := ITEM_ID.fullmatch(entry.item.id)):
                ids.setdefault(f"resp_{match[1]}", set()).add(entry.item.id)
        if len(ids) > MAX_REFERENCED:
            problem = f"the input refers to more than {MAX_REFERENCED} responses"
            raise InvalidRequest(problem, param="input", hint=WHOLE_INPUT)
        return {id: item for response, wanted in ids.items() for id, item in self._among(response, wanted)}

    def _among(self, response: str, wanted: set[str]) -> Iterator[tuple[str, InputItem]]:
        stored = self.load(response)
        raw = [*stored.input, *stored.output] if stored else []
        there = [item for item in raw if item.get("id") in wanted]
        yield from zip([item["id"] for item in there], _checked(there), strict=True)

    def _not_found(self, id: str) -> PreviousResponseNotFound:
        hint = WHOLE_INPUT
        if not self._store.enabled:
            hint = f"{hint}: this daemon stores no responses (responses_store_mb is 0)"
        return PreviousResponseNotFound(
            f"there is no stored response {quoted(id)}, or one that it continues is not stored any more",
            param="previous_response_id",
            hint=hint,
        )


def item_id(prefix: str, response: str, number: int) -> str:
    """The id of an item of a request's input; those of the output have no `i`."""
    return f"{prefix}_{response.partition('_')[2]}i{number:02}"


def _checked(raw: list[dict[str, Any]]) -> list[InputItem]:
    try:
        return _items.validate_python(raw)
    except ValidationError:
        # The file is not as it was written, or is of an earlier version.
        raise PreviousResponseNotFound(
            "the stored conversation cannot be read", param="previous_response_id", hint=WHOLE_INPUT
        ) from None
