"""Where a schema's `$ref` leads: within the schema itself, and nowhere else."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from edgeinfer.grammar.json_schema.keywords import invalid, pointer

LITERAL = ("const", "enum", "default", "examples", "example")
"""Keywords whose values look like schemas but are none."""


class References:
    """An index of all places of a schema by their URI."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._resources: dict[str, tuple[str, Any]] = {"": ("", root)}
        self._anchors: dict[str, tuple[str, Any]] = {}
        self._bases: dict[int, str] = {}
        self._index()

    def resolve(self, raw: dict[str, Any], reference: str, at: str) -> tuple[str, Any]:
        """The pointer of the schema that `reference` in `raw` means, and that schema. Raises UnsupportedSchema."""
        uri = urljoin(self._bases.get(id(raw), ""), reference)
        if reference.startswith("#"):
            uri = self._bases.get(id(raw), "") + reference
        resource, fragment = urldefrag(uri)
        if uri in self._anchors:
            return self._anchors[uri]
        if resource not in self._resources:
            raise invalid(at, f"{reference!r} is outside of the schema", hint="put the definition into $defs")
        if fragment and not fragment.startswith("/"):
            raise invalid(at, f"{reference!r} names an anchor that does not exist")
        return self._walk(*self._resources[resource], unquote(fragment), reference, at)

    def at(self, at: str) -> Any:
        """What stands at a pointer. Raises UnsupportedSchema."""
        return self._walk("", self._root, at, f"#{at}", at)[1]

    def _walk(self, start: str, node: Any, fragment: str, reference: str, at: str) -> tuple[str, Any]:
        steps = [step.replace("~1", "/").replace("~0", "~") for step in fragment.split("/")[1:]]
        if steps == [""] and not (isinstance(node, dict) and "" in node):
            steps = []  # "#/" is often written for "#"
        for step in steps:
            if isinstance(node, list) and step.isdigit() and int(step) < len(node):
                node = node[int(step)]
            elif isinstance(node, dict) and step in node:
                node = node[step]
            else:
                raise invalid(at, f"{reference!r} leads nowhere")
        return pointer(start, *steps), node

    def _index(self) -> None:
        todo = [("", self._root, "")]
        while todo:
            at, node, base = todo.pop()
            if isinstance(node, list):
                todo += [(pointer(at, n), child, base) for n, child in enumerate(node)]
            if not isinstance(node, dict):
                continue
            base = self._named(at, node, base)
            self._bases[id(node)] = base
            todo += [(pointer(at, k), child, base) for k, child in node.items() if k not in LITERAL]

    def _named(self, at: str, node: dict[str, Any], base: str) -> str:
        """Note the names of a node; its base URI."""
        for keyword in ("$id", "id"):
            name = node.get(keyword)
            if isinstance(name, str) and (keyword == "$id" or "/" in name or name.startswith("#")):
                uri, fragment = urldefrag(urljoin(base, name))
                if fragment:
                    self._anchors.setdefault(f"{uri}#{fragment}", (at, node))
                else:
                    base = uri
                    self._resources.setdefault(uri, (at, node))
        for keyword in ("$anchor", "$dynamicAnchor"):
            if isinstance(node.get(keyword), str):
                self._anchors.setdefault(f"{base}#{node[keyword]}", (at, node))
        return base
