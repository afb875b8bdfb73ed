"""Renders conversations exactly as a server will: with the model's own template."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

PATH = Path(__file__).with_name("chat_template.jinja")


def template_source() -> str:
    return PATH.read_text().rstrip("\n")


@cache
def _template() -> Template:
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    env.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return env.from_string(template_source())


def render(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, generate: bool) -> str:
    """The prompt as text; with `generate` it ends where the model is to go on."""
    return _template().render(messages=messages, tools=tools, add_generation_prompt=generate)
