"""For the tests of Ollama's API: requests as its clients send them, and lines of JSON."""

from __future__ import annotations

import json
from typing import Any

import httpx
from msgspec.structs import replace

from tests.support.server import INFO, Scripted, Served

CHATML = (
    "{%- if tools %}<tool_call>{{ tools | tojson }}</tool_call>{% endif -%}"
    "{%- for m in messages %}[{{ m.role }}]{{ m.content }}{{ m.tool_calls or '' }}\n{% endfor -%}"
    "{%- if add_generation_prompt %}[assistant]{% endif %}"
)
THINKING = CHATML + "{%- if add_generation_prompt %}<think>\n{% endif %}{# </think> #}"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "The time.",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
    },
}
CALL = ('<tool_call>\n{"name": "', 'get_time", "arguments": {"zone"', ': "UTC"}', "}\n</tool_call>")
HI = [{"role": "user", "content": "Hi"}]


def scripted(*pieces: str, template: str = CHATML, **info: Any) -> Scripted:
    return Scripted(*pieces, info=replace(INFO, chat_templates={"default": template}, **info))


def send(served: Served, path: str, *, method: str = "POST", **fields: Any) -> httpx.Response:
    """Without a Content-Type, as curl's examples in Ollama's documentation and some clients do."""
    body = json.dumps({"model": "scripted", **fields}).encode()
    return served.client.request(method, path, content=body)


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    """The objects of a stream."""
    assert (200, "application/x-ndjson") == (response.status_code, response.headers["content-type"])
    return [json.loads(line) for line in response.text.splitlines()]
