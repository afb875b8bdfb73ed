"""LangChain's chat models, one for each protocol."""

from __future__ import annotations

from typing import Any, Literal

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class Device(BaseModel):
    """A device in a house."""

    kind: Literal["light", "fan", "blind"]
    level: int


def set_light(room: str, on: bool) -> str:
    """Switch a light on or off."""
    return f"{room} {on}"


def model(url: str, protocol: str) -> Any:
    if protocol == "openai":
        return ChatOpenAI(model="default", base_url=f"{url}/v1", api_key="none", temperature=0, max_retries=0)
    if protocol == "responses":
        return ChatOpenAI(
            model="default",
            base_url=f"{url}/v1",
            api_key="none",
            temperature=0,
            max_retries=0,
            use_responses_api=True,
        )
    if protocol == "ollama":
        return ChatOllama(model="default", base_url=url, temperature=0)
    return ChatAnthropic(
        model="default", base_url=url, api_key="none", temperature=0, max_retries=0, max_tokens=200
    )


def invoke(url: str, protocol: str, text: str) -> str:
    return str(model(url, protocol).invoke(text).text)


def stream(url: str, protocol: str, text: str) -> list[str]:
    return [str(chunk.text) for chunk in model(url, protocol).stream(text)]


async def stream_async(url: str, protocol: str, text: str) -> list[str]:
    return [str(chunk.text) async for chunk in model(url, protocol).astream(text)]


def usage(url: str, protocol: str, text: str) -> list[int]:
    found = model(url, protocol).invoke(text).usage_metadata
    return [found["input_tokens"], found["output_tokens"]]


def call(url: str, protocol: str, text: str) -> dict[str, Any]:
    """A call of a tool, and the answer to its result."""
    lights = model(url, protocol).bind_tools([set_light])
    said: list[Any] = [HumanMessage(text)]
    asked = lights.invoke(said)
    said.append(asked)
    said += [ToolMessage(set_light(**c["args"]), tool_call_id=c["id"]) for c in asked.tool_calls]
    return {
        "calls": [[c["name"], c["args"]] for c in asked.tool_calls],
        "answer": str(lights.invoke(said).text),
    }


def streamed_call(url: str, protocol: str, text: str) -> list[Any]:
    total: AIMessageChunk | None = None
    for chunk in model(url, protocol).bind_tools([set_light]).stream(text):
        total = chunk if total is None else total + chunk
    assert total
    return [[c["name"], c["args"]] for c in total.tool_calls]


def structured(url: str, protocol: str, method: str, text: str) -> dict[str, Any]:
    found = model(url, protocol).with_structured_output(Device, method=method).invoke(text)
    assert isinstance(found, Device)
    return found.model_dump()


def embeddings(url: str, protocol: str) -> list[int]:
    if protocol == "openai":
        found = OpenAIEmbeddings(
            model="default", base_url=f"{url}/v1", api_key="none", check_embedding_ctx_length=False
        )
    else:
        found = OllamaEmbeddings(model="default", base_url=url)
    return [len(vector) for vector in found.embed_documents(["a", "b"])]
