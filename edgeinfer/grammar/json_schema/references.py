"""Resolves a schema's `$ref` within the schema itself; nothing outside is ever read."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from edgeinfer.grammar.json_schema.keywords import pointer, schema_error

LITERAL_KEYWORDS = ("const", "enum", "default", "examples", "example")
"""Keywords whose values may look like schemas but are data."""


class ReferenceIndex:
    """An index of a schema's resources and anchors by URI."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._resources: dict[str, tuple[str, Any]] = {"": ("", root)}
        self._anchors: dict[str, tuple[str, Any]] = {}
        self._bases: dict[int, str] = {}  # id of a node -> its base URI
        self._index()

    def resolve(self, raw: dict[str, Any], reference: str, path: str) -> tuple[str, Any]:
        """Return the path of the schema that `reference` in `raw` points to, and that schema.

        Raises UnsupportedSchema.
        """
        uri = urljoin(self._bases.get(id(raw), ""), reference)
        if reference.startswith("#"):
            uri = self._bases.get(id(raw), "") + reference
        resource, fragment = urldefrag(uri)
        if uri in self._anchors:
            return self._anchors[uri]
        if resource not in self._resources:
            raise schema_error(
                path, f"{reference!r} points outside the schema", hint="move the definition into $defs"
            )
        if fragment and not fragment.startswith("/"):
            raise schema_error(path, f"{reference!r} refers to an anchor that does not exist")
        return self._walk(*self._resources[resource], unquote(fragment), reference, path)

    def at(self, path: str) -> Any:
        """Return the schema at a path. Raises UnsupportedSchema."""
        return self._walk("", self._root, path, f"#{path}", path)[1]

    def _walk(self, start: str, node: Any, fragment: str, reference: str, path: str) -> tuple[str, Any]:
        steps = [step.replace("~1", "/").replace("~0", "~") for step in fragment.split("/")[1:]]
        if steps == [""] and not (isinstance(node, dict) and "" in node):
            steps = []  # "#/" is often written for "#"
        for step in steps:
            if isinstance(node, list) and step.isdigit() and int(step) < len(node):
                node = node[int(step)]
            elif isinstance(node, dict) and step in node:
                node = node[step]
            else:
                raise schema_error(path, f"{reference!r} does not exist in the schema")
        return pointer(start, *steps), node

    def _index(self) -> None:
        stack = [("", self._root, "")]
        while stack:
            path, node, base = stack.pop()
            if isinstance(node, list):
                stack += [(pointer(path, n), child, base) for n, child in enumerate(node)]
            if not isinstance(node, dict):
                continue
            base = self._add_names(path, node, base)
            self._bases[id(node)] = base
            stack += [
                (pointer(path, key), child, base)
                for key, child in node.items()
                if key not in LITERAL_KEYWORDS
            ]

    def _add_names(self, path: str, node: dict[str, Any], base: str) -> str:
        """Add a node's identifiers and anchors; return its base URI."""
        for keyword in ("$id", "id"):
            name = node.get(keyword)
            if isinstance(name, str) and (keyword == "$id" or "/" in name or name.startswith("#")):
                uri, fragment = urldefrag(urljoin(base, name))
                if fragment:
                    self._anchors.setdefault(f"{uri}#{fragment}", (path, node))
                else:
                    base = uri
                    self._resources.setdefault(uri, (path, node))
        for keyword in ("$anchor", "$dynamicAnchor"):
            if isinstance(node.get(keyword), str):
                self._anchors.setdefault(f"{base}#{node[keyword]}", (path, node))
        return base
