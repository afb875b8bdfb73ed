"""Requests and streams of Anthropic's API, for tests."""

from __future__ import annotations

import json
from typing import Any

import httpx
import msgspec

from edgeinfer.inference.types import Span
from tests.support.server import INFO, Scripted, Served

JSON = dict[str, Any]

CHATML = (
    "{%- if tools %}<tool_call>{{ tools | tojson }}</tool_call>{% endif -%}"
    "{%- for m in messages %}[{{ m.role }}]{{ m.reasoning_content or '' }}{{ m.content }}"
    "{%- for call in m.tool_calls or [] %}{{ call | tojson }}{% endfor %}{{ '\\n' }}{% endfor -%}"
    "{%- if add_generation_prompt %}[assistant]{% endif %}"
)
THINKING = CHATML + (
    "{%- if add_generation_prompt and enable_thinking is defined and enable_thinking %}<think>\n{% endif %}"
    "{# </think> #}"
)
TIME: JSON = {
    "name": "get_time",
    "description": "Says how late it is.",
    "input_schema": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
}
CALL = ('<tool_call>\n{"name": "', 'get_time", "arguments": {"zone"', ': "UTC"}', "}\n</tool_call>")


def scripted(*pieces: str, template: str = CHATML) -> Scripted:
    """An engine for a model that thinks and calls tools in known forms."""
    return Scripted(*pieces, info=msgspec.structs.replace(INFO, chat_templates={"default": template}))


def post(served: Served, content: Any = "Hi", *, path: str = "/v1/messages", **fields: Any) -> httpx.Response:
    """Send what a user says; `messages` sends a whole conversation."""
    body = {"max_tokens": 100, "messages": [{"role": "user", "content": content}], **fields}
    return served.client.post(path, json=body)


def answer(response: httpx.Response) -> JSON:
    """The answer. Fails if the response is an error."""
    assert response.status_code == 200, response.text
    found: JSON = response.json()
    return found


def events(response: httpx.Response) -> list[JSON]:
    """The events of a stream, each of which is named as its data says."""
    assert response.headers["content-type"].startswith("text/event-stream"), response.text
    found: list[JSON] = []
    for text in response.text.removesuffix("\n\n").split("\n\n"):
        name, data = text.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def accumulated(stream: list[JSON]) -> JSON:
    """The message that a stream adds up to, by the rules of the SDK; fails where it would."""
    first, *rest = stream
    assert first["type"] == "message_start"
    message: JSON = first["message"]
    inputs: dict[int, str] = {}
    is_open = False
    for event in rest:
        match event["type"]:
            case "content_block_start":
                assert not is_open
                assert event["index"] == len(message["content"])
                is_open = True
                message["content"].append(event["content_block"])
            case "content_block_delta":
                assert is_open
                assert event["index"] == len(message["content"]) - 1
                _add(message["content"][-1], event["delta"], inputs, event["index"])
            case "content_block_stop":
                assert is_open
                assert event["index"] == len(message["content"]) - 1
                is_open = False
            case "message_delta":
                assert not is_open
                message |= event["delta"]
                message["usage"] |= event["usage"]
    for index, text in inputs.items():
        message["content"][index]["input"] = json.loads(text)
    assert stream[-1] == {"type": "message_stop"}
    return message


def _add(block: JSON, delta: JSON, inputs: dict[int, str], index: int) -> None:
    match block["type"], delta["type"]:
        case "text", "text_delta":
            block["text"] += delta["text"]
        case "thinking", "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "thinking", "signature_delta":
            assert not block["signature"]
            block["signature"] = delta["signature"]
        case "tool_use", "input_json_delta":
            assert block["input"] == {}
            inputs[index] = inputs.get(index, "") + delta["partial_json"]
        case kinds:
            raise AssertionError(kinds)


def prompt(engine: Scripted, number: int = -1) -> str:
    """The prompt of a request."""
    return "".join(span.text for span in engine.requests[number][0] if isinstance(span, Span))
