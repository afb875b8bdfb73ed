"""The pages in docs/routes/: every route of each API family with its fields, as /openapi.json has them.

scripts/docs writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeinfer.server.build import FAMILIES
from edgeinfer.server.http.family import Families
from edgeinfer.server.openapi import ANSWER, REF, DocumentedApp

Schema = dict[str, Any]

ROUTES = Path("docs/routes")

FAMILY_PAGES = {
    "openai": ("OpenAI", "chat completions, completions, embeddings, models", "api.md"),
    "responses": ("Responses", "OpenAI's newer protocol, which Codex speaks", "api.md#responses"),
    "anthropic": ("Anthropic", "messages, and counting tokens", "anthropic.md"),
    "ollama": ("Ollama", "everything below `/api/`", "api.md#ollamas-api"),
    "llama_server": (
        "llama-server",
        "completions, infill, reranking, tokens, loading and downloading models",
        "llama-server.md",
    ),
    "admin": ("edgeinfer", "health, state, metrics", "api.md"),
}
"""A family's name in /openapi.json -> its title, what it has, and the page that explains it."""

NO_LIMIT = 2**31 - 1
"""A bound that large, or larger, is no limit that anybody meets."""

NO_EFFECT = "Has no effect."

KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def route_pages(note: str) -> dict[Path, str]:
    """Return path -> text of every page, each of which begins with `note`."""
    document = openapi()
    pages = {ROUTES / "README.md": "\n".join(index(note))}
    for family in families(document):
        pages[page_of(family)] = "\n".join(FamilyPage(document, family).lines(note))
    return {path: text.rstrip("\n") + "\n" for path, text in pages.items()}


def openapi() -> Schema:
    """Return what a daemon without keys serves at /openapi.json."""
    found = Families([family() for family in FAMILIES])
    app = DocumentedApp(found, wants_key=False, title="edgeinfer", version="0", docs_url=None, redoc_url=None)
    for family in found.all:
        app.include_router(family.router())
    return app.openapi()


def families(document: Schema) -> list[str]:
    """Return the names of the families that have routes; each needs a title above."""
    tags = dict.fromkeys(
        operation["tags"][0] for methods in document["paths"].values() for operation in methods.values()
    )
    return list(tags)


def page_of(family: str) -> Path:
    title, _, _ = FAMILY_PAGES[family]
    return ROUTES / f"{title.lower()}.md"


def index(note: str) -> Iterator[str]:
    yield f"{note}\n\n# Every route\n"
    yield "Each route with its fields, written from what checks them. The running daemon has the same at `/docs`, with"
    yield "forms to try them, and at `/openapi.json`. What the fields mean is on [the HTTP API](../api.md).\n"
    yield "| | | explained on |\n|---|---|---|"
    for family, (title, words, page) in FAMILY_PAGES.items():
        name = page.partition("#")[0]
        yield f"| [{title}]({page_of(family).name}) | {words} | [{name}](../{page}) |"


class FamilyPage:
    """The routes of one family, and the objects in what they take and answer."""

    def __init__(self, document: Schema, family: str) -> None:
        self._schemas: Schema = document["components"]["schemas"]
        self._paths: Schema = document["paths"]
        self._family = family
        self._objects: list[str] = []

    def lines(self, note: str) -> Iterator[str]:
        title, words, page = FAMILY_PAGES[self._family]
        yield f"{note}\n\n# {title}: every route\n"
        yield f"{words[:1].upper()}{words[1:]}. [This page](../{page}) explains them; here are all fields. A **bold** one is"
        yield "required; where no default is named, a field may be left out or be null.\n"
        yield from self._routes()
        yield from self._errors()
        if self._objects:
            yield "## Objects\n"
        for name in self._objects:  # grows while it is read
            yield f"### {plain(name)}\n"
            yield from self._table("field", self._schemas[name])

    def _operations(self) -> dict[str, list[tuple[str, Schema]]]:
        """Return the routes, those with the same handler together."""
        same: dict[str, list[tuple[str, Schema]]] = {}
        for path, methods in self._paths.items():
            for method, operation in methods.items():
                if operation["tags"][0] == self._family:
                    key = f"{method} {operation['summary']} {operation.get('description')}"
                    same.setdefault(key, []).append((f"{method.upper()} {path}", operation))
        return same

    def _routes(self) -> Iterator[str]:
        for (route, operation), *others in self._operations().values():
            yield f"## `{route}`\n"
            if others:
                yield "Also " + ", ".join(f"`{other.split()[1]}`" for other, _ in others) + ".\n"
            if description := operation.get("description"):
                yield " ".join(description.split("\n\n")[0].split()) + "\n"
            yield from self._parameters(operation)
            if "requestBody" in operation:
                (content,) = operation["requestBody"]["content"].values()
                body = content["schema"]
                yield from self._table("field of the request", self._resolved(body))
                if example := content.get("examples", {}).get("simple"):
                    yield f"```json\n{json.dumps(example['value'], ensure_ascii=False)}\n```\n"
            yield from self._answer(operation)

    def _parameters(self, operation: Schema) -> Iterator[str]:
        found = operation.get("parameters", [])
        if not found:
            return
        yield "| in the address | value |\n|---|---|"
        for one in found:
            name = f"`{one['name']}`"
            yield f"| {f'**{name}**' if one['required'] else name} | {self._words(one['schema'])} |"
        yield ""

    def _answer(self, operation: Schema) -> Iterator[str]:
        answers = operation["responses"].get("200", {}).get("content", {})
        if not answers:
            yield "It is always refused, with status 501.\n"
            return
        parts = []
        for kind, content in answers.items():
            schema = content.get("schema")
            words = self._words(schema) if schema else "events"
            parts.append(
                words
                if kind == "application/json"
                else f"a stream of `{kind}`"
                if not schema
                else f"`{kind}`"
            )
        yield f"Answer: {', or '.join(parts)}.\n"

    def _errors(self) -> Iterator[str]:
        statuses: dict[str, str] = {}
        shapes: dict[str, None] = {}
        for operations in self._operations().values():
            for _, operation in operations:
                for status, answer in operation["responses"].items():
                    if status != "200":
                        statuses[status] = answer["description"]
                        shapes[self._words(answer["content"]["application/json"]["schema"])] = None
        yield "## Errors\n"
        words = ", ".join(f"{status} {statuses[status]}" for status in sorted(statuses))
        yield f"Statuses: {words}. The body is {' or '.join(shapes)}. [Errors](../api.md#errors) has the codes.\n"

    def _table(self, title: str, schema: Schema) -> Iterator[str]:
        required = schema.get("required", ())
        fields = schema.get("properties", {})
        if not fields:
            yield f"Value: {self._words(schema)}.\n"
            return
        yield f"| {title} | value | |\n|---|---|---|"
        for name, field in fields.items():
            if field.get("description") != NO_EFFECT:
                shown = f"**`{name}`**" if name in required else f"`{name}`"
                yield f"| {shown} | {self._words(field)} | {cell(notes(field))} |"
        yield ""
        if without := sorted(name for name, field in fields.items() if field.get("description") == NO_EFFECT):
            yield "Accepted, without effect: " + ", ".join(f"`{name}`" for name in without) + ".\n"

    def _resolved(self, schema: Schema) -> Schema:
        if "$ref" in schema:
            found: Schema = self._schemas[schema["$ref"].removeprefix(REF)]
            return found
        return schema

    def _words(self, schema: Schema) -> str:
        """Return what a value may be."""
        if "$ref" in schema:
            name = schema["$ref"].removeprefix(REF)
            if name not in self._objects:
                self._objects.append(name)
            return f"[{plain(name)}](#{plain(name).lower()})"
        if "const" in schema or "enum" in schema:
            values = [schema["const"]] if "const" in schema else schema["enum"]
            return ", ".join(f"`{json.dumps(value).strip(chr(34))}`" for value in values if value is not None)
        if branches := schema.get("anyOf") or schema.get("oneOf"):
            words = dict.fromkeys(self._words(one) for one in branches if one.get("type") != "null")
            return " or ".join(words)
        kind: Any = schema.get("type")
        if isinstance(kind, list):
            return " or ".join(
                dict.fromkeys(self._words({**schema, "type": one}) for one in kind if one != "null")
            )
        if kind == "array":
            return f"list of {self._words(schema.get('items') or {})}{size(schema, 'Items')}"
        if kind == "object" or "properties" in schema:
            values = schema.get("additionalProperties")
            return f"object of {self._words(values)}" if isinstance(values, dict) and values else "object"
        if kind is None:
            return "anything"
        return KINDS.get(kind, "null") + bounds(schema) + size(schema, "Length", " characters")


def plain(name: str) -> str:
    """Return the name of an object without what tells requests, answers and generic types apart."""
    return name.removeprefix(ANSWER).rstrip("_").replace("_", "-")


def bounds(schema: Schema) -> str:
    """Return the limits of a number."""
    low, above, high = (schema.get(name) for name in ("minimum", "exclusiveMinimum", "maximum"))
    words = []
    if above is not None:
        words.append(f"more than {above}")
    if low is not None and low > -NO_LIMIT:
        words.append(f"at least {low}")
    if high is not None and high < NO_LIMIT:
        words.append(f"at most {high}")
    if len(words) == 2 and above is None:
        words = [f"{low} to {high}"]
    return "".join(f", {word}" for word in words)


def size(schema: Schema, what: str, unit: str = "") -> str:
    """Return the limits of a list's or a text's length; one that may not be empty is not worth a word."""
    low, high = schema.get(f"min{what}", 0), schema.get(f"max{what}")
    if high is None:
        return f" (at least {low}{unit})" if low > 1 else ""
    return f" ({low} to {high}{unit})" if low > 1 else f" (up to {high}{unit})"


def notes(field: Schema) -> str:
    """Return a field's description, and its default where that says something."""
    words = [" ".join(field.get("description", "").split())]
    default = field.get("default")
    if default not in (None, "", [], {}) and "const" not in field:
        words.append(f"Default: `{json.dumps(default).strip(chr(34))}`.")
    return " ".join(filter(None, words))


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
