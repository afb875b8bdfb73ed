"""The template process: renders untrusted Jinja sources for the daemon that started it.

Chat templates come with the GGUF file, so they may be an attacker's programs. Jinja's sandbox keeps them from
Python's internals; this process keeps them from the daemon's memory, time and secrets. It ends when its standard
input ends, and so with the daemon.

Only this module imports jinja2, and the daemon never imports this module.
"""

from __future__ import annotations

import codecs
import importlib
import json
import pkgutil
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime
from types import GeneratorType
from typing import Any, NoReturn

import jinja2
from jinja2 import Template, nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from edgeinfer.chat.control_tokens import ControlTokens
from edgeinfer.chat.template_guard import inspect_source
from edgeinfer.chat.template_protocol import MAX_OUTPUT, MEMORY, RenderOutcome, RenderRequest, RenderResponse
from edgeinfer.ipc.child_main import limit_resources, serve

MAX_ERROR = 500
"""Characters of an error message that are kept: templates write their own."""


class TemplateRefused(Exception):
    """The template called raise_exception; the message is its own."""


class GenerationTag(Extension):
    """Renders the body of `{% generation %}`, which marks the assistant's part for training."""

    tags = {"generation"}  # noqa: RUF012  Jinja declares it as an instance attribute

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Callable[[], str]) -> str:
        return caller()


def tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON as models were trained to read it; Jinja's own filter escapes HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
        default=_listed,
    )


def _listed(value: object) -> list[Any]:
    if isinstance(value, GeneratorType):
        return list(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def raise_exception(message: object) -> NoReturn:
    raise TemplateRefused(message)


def strftime_now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


class TemplateEnvironment:
    """Renders sources, and keeps the compiled form of the most recent ones."""

    def __init__(self, keep: int = 16) -> None:
        self._keep = keep
        self._compiled: OrderedDict[str, Template] = OrderedDict()
        self._environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
        )
        self._environment.filters["tojson"] = tojson
        self._environment.globals.update(raise_exception=raise_exception, strftime_now=strftime_now)

    def render(self, source: str, context: dict[str, Any], limit: int = MAX_OUTPUT) -> str:
        """Raises any exception, TemplateRefused among them: the source is a program."""
        pieces: list[str] = []
        for piece in self._template(source).generate(context):
            limit -= len(piece)
            if limit < 0:
                raise TemplateRefused(f"the chat template produced more than {MAX_OUTPUT} characters")
            pieces.append(piece)
        return "".join(pieces)

    def _template(self, source: str) -> Template:
        template = self._compiled.get(source)
        if template is None:
            template = self._compiled[source] = self._environment.from_string(source)
            if len(self._compiled) > self._keep:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(source)
        return template


def answer(templates: TemplateEnvironment, request: RenderRequest) -> RenderResponse:
    """The outcome of every context; an error in one does not affect the others."""
    if request.control_tokens is not None:
        return inspect(request.source, request.control_tokens)
    left = MAX_OUTPUT
    renderings = []
    for context in request.contexts:
        rendering = attempt(templates, request.source, context, left)
        left -= len(rendering.text or "")
        renderings.append(rendering)
    return RenderResponse(renderings)


def inspect(source: str, control_tokens: Iterable[str]) -> RenderResponse:
    try:
        return RenderResponse([], inspect_source(ControlTokens(control_tokens), source))
    except Exception as e:
        return RenderResponse([RenderOutcome(None, describe(e))])


def attempt(
    templates: TemplateEnvironment, source: str, context: dict[str, Any], limit: int
) -> RenderOutcome:
    try:
        text = templates.render(source, context, limit)
        text.encode()  # a lone surrogate could not be sent
        return RenderOutcome(text)
    except Exception as e:
        return RenderOutcome(None, describe(e))


def describe(error: Exception) -> str:
    """The error in words that a user can act on; it may be a MemoryError or a RecursionError too."""
    if isinstance(error, TemplateRefused):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = f"the chat template needs more than {MEMORY >> 20} MiB of memory"
    elif isinstance(error, TemplateSyntaxError):
        text = f"the chat template is not valid Jinja: line {error.lineno}: {error}"
    else:
        text = f"the chat template failed: {type(error).__name__}: {error}"
    return text[:MAX_ERROR].encode(errors="replace").decode()


def preload() -> None:
    """Load all that templates can make Python load later, when this process may open no files."""
    for module in pkgutil.iter_modules(jinja2.__path__, "jinja2."):
        importlib.import_module(module.name)
    for name in ("pprint", "textwrap", "unicodedata"):
        importlib.import_module(name)
    for encoding in ("ascii", "latin-1", "utf-8", "utf-16", "utf-32", "unicode_escape", "idna", "punycode"):
        codecs.lookup(encoding)
    strftime_now("%c")  # the time zone


def main() -> None:
    limit_resources(MEMORY)
    templates = TemplateEnvironment()
    preload()
    serve(RenderRequest, lambda request: answer(templates, request))


if __name__ == "__main__":
    main()
