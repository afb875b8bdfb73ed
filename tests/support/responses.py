"""For the tests of the Responses API: models that think and call, the real client, and the events of a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from openai import OpenAI

from tests.support.server import INFO, Scripted, Served, application, serving

THINKING_TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]"
    "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}\n"
    "{% endfor %}{% if add_generation_prompt %}[assistant]<think>{% endif %}"
)
THINKING = replace(INFO, chat_templates={"default": THINKING_TEMPLATE})

CALLING_TEMPLATE = (
    "{% if tools %}<tools>{{ tools | tojson }}</tools>\n{% endif %}"
    "{% for m in messages %}[{{ m.role }}]"
    "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}{{ "\\n" }}'
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
CALLING = replace(INFO, chat_templates={"default": CALLING_TEMPLATE})

THINKING_AND_CALLING = replace(
    INFO,
    chat_templates={
        "default": CALLING_TEMPLATE.replace("[assistant]{% endif %}", "[assistant]<think>{% endif %}")
    },
)

WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a place",
    "parameters": {
        "type": "object",
        "properties": {"place": {"type": "string"}},
        "required": ["place"],
        "additionalProperties": False,
    },
    "strict": True,
}


class ResponsesWorld:
    """A daemon with a model that follows a script, and a store of its own. `engine` is as new in every test."""

    def __init__(self, served: Served, engine: Scripted, store: Path) -> None:
        self.served = served
        self.engine = engine
        self.store = store

    def reset(self) -> None:
        engine = self.engine
        engine.pieces, engine.model = ("Hel", "lo"), INFO
        engine.hold_first = engine.hold_each = 0.0
        engine.before_first = engine.before_last = lambda: None
        engine.requests.clear()

    def post(self, **fields: Any) -> httpx.Response:
        return self.served.client.post("/v1/responses", json={"input": "Hi", **fields})

    def stream(self, **fields: Any) -> list[dict[str, Any]]:
        return events(self.post(stream=True, **fields))

    def prompt(self, index: int = -1) -> str:
        """The prompt of a request."""
        return "".join(getattr(part, "text", "") for part in self.engine.requests[index][0])


@contextmanager
def responding(folder: Path, **settings: Any) -> Iterator[ResponsesWorld]:
    """A daemon that stores responses below `folder`."""
    engine = Scripted("Hel", "lo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        app = application(engine, **settings)
    with serving(engine, app) as served:
        yield ResponsesWorld(served, engine, folder / "edgeinfer/responses")


def openai_client(served: Served, key: str = "none") -> OpenAI:
    return OpenAI(base_url=f"{served.url}/v1", api_key=key, max_retries=0)


def call(name: str, arguments: dict[str, Any]) -> str:
    """A call as the model of `CALLING` writes it."""
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream, each of which says the same type twice."""
    found = []
    for block in response.text.strip().split("\n\n"):
        kind, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert kind == f"event: {event['type']}"
        found.append(event)
    return found
