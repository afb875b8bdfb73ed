"""What `edgeinfer mcp` offers to other programs: a daemon's models as tools."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, ParamSpec, TypeVar

import anyio.to_thread
from pydantic import Field

from edgeinfer.client.http import Target, connect, get_json, post_json
from edgeinfer.client.status import get_status
from edgeinfer.client.stream import AnswerStats, stream
from edgeinfer.code.model_choice import OfferedModel, choose_filler, offered_models
from edgeinfer.errors import EdgeinferError
from edgeinfer.store.catalogue import catalogue

P = ParamSpec("P")
T = TypeVar("T")

MAX_TOKENS = 4096
"""Tokens of an answer, unless the caller says otherwise: a program waits for it."""

Prompt = Annotated[str, Field(min_length=1, description="What to ask.")]
System = Annotated[str | None, Field(description="How the model is to behave.")]
Model = Annotated[str | None, Field(description="One of list_models. Default: the one that suits.")]
Limit = Annotated[int, Field(ge=1, description="The most tokens to write.")]


def told(tool: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Let callers of a tool see our errors, with their hints; the SDK hides those that it does not know."""

    @functools.wraps(tool)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        from mcp.server.mcpserver.exceptions import ToolError

        try:
            return await tool(*args, **kwargs)
        except EdgeinferError as e:
            raise ToolError(f"{e.message}{f' (hint: {e.hint})' if e.hint else ''}") from e

    return call


class DaemonTools:
    """The tools, each a method. The docstrings are what other programs' models read about them."""

    def __init__(self, target: Target, model: str | None = None) -> None:
        """`model`: the one that answers where a call names none; None leaves that to the daemon."""
        self._target = target
        self._model = model

    @told
    async def list_models(self) -> str:
        """List the language models of this machine: names, context in tokens, and whether they are loaded."""
        models, default = await anyio.to_thread.run_sync(self._models)
        rows = [
            {
                "name": model.name,
                "context": model.context,
                "answers": model.chats,
                "made_for_completing_code": model.fills,
                "loaded": model.loaded,
                "default": model.name == default,
            }
            for model in models
        ]
        return json.dumps(rows, ensure_ascii=False)

    @told
    async def chat(
        self,
        prompt: Prompt,
        system: System = None,
        model: Model = None,
        max_tokens: Limit = MAX_TOKENS,
        temperature: Annotated[float | None, Field(ge=0, description="0 is the likeliest answer.")] = None,
    ) -> str:
        """Ask a local language model; nothing leaves this machine. It remembers no earlier call."""
        body = self._body(prompt, system, model, max_tokens)
        text, reason = await self._answer(
            body | ({} if temperature is None else {"temperature": temperature})
        )
        return text + (
            "\n[cut off: max_tokens is reached, or the context is full]" if reason == "length" else ""
        )

    @told
    async def answer_json(
        self,
        prompt: Prompt,
        schema: Annotated[dict[str, Any], Field(description="The JSON schema that the answer matches.")],
        system: System = None,
        model: Model = None,
        max_tokens: Limit = MAX_TOKENS,
    ) -> str:
        """Ask a local language model for JSON; the answer is certain to match the schema."""
        body = self._body(prompt, system, model, max_tokens)
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        text, reason = await self._answer(body)
        if reason == "length":
            raise EdgeinferError("the answer has not ended within max_tokens, or within the context")
        return text

    @told
    async def complete_code(
        self,
        prefix: Annotated[str, Field(description="The code before the place.")],
        suffix: Annotated[str, Field(description="The code after it.")] = "",
        model: Model = None,
        max_tokens: Limit = 128,
    ) -> str:
        """Write the code that belongs between two pieces of code, with a local model that was made for it."""

        def fill() -> str:
            name = model or self._model or choose_filler(*self._models()).name
            body = {"model": name, "input_prefix": prefix, "input_suffix": suffix, "n_predict": max_tokens}
            with connect(self._target) as client:
                return str(post_json(client, self._target, "/infill", body)["content"])

        return await anyio.to_thread.run_sync(fill, abandon_on_cancel=True)

    @told
    async def embed(
        self, texts: Annotated[list[str], Field(min_length=1, description="The texts.")], model: Model = None
    ) -> str:
        """Compute an embedding, a list of numbers, of each text, with a local model."""

        def compute() -> str:
            body = {"input": texts, **({"model": name} if (name := model or self._model) else {})}
            with connect(self._target) as client:
                reply = post_json(client, self._target, "/v1/embeddings", body)
            return json.dumps(
                {"model": reply["model"], "embeddings": [row["embedding"] for row in reply["data"]]}
            )

        return await anyio.to_thread.run_sync(compute, abandon_on_cancel=True)

    def _models(self) -> tuple[list[OfferedModel], str | None]:
        """Return the models, and the name of the default one."""
        with connect(self._target) as client:
            models = offered_models(get_json(client, self._target, "/v1/models"), catalogue())
            rows = get_status(client, self._target).models
        default = self._model or next((row.name for row in rows if row.default), None)
        return models, default

    def _body(self, prompt: str, system: str | None, model: str | None, max_tokens: int) -> dict[str, Any]:
        messages = [{"role": "system", "content": system}] if system else []
        body: dict[str, Any] = {"messages": [*messages, {"role": "user", "content": prompt}]}
        if name := model or self._model:
            body["model"] = name
        return {**body, "max_tokens": max_tokens}

    async def _answer(self, body: dict[str, Any]) -> tuple[str, str | None]:
        """Return the text and why it has ended. A caller that has gone ends the answer at its next token."""
        gone = threading.Event()

        def read() -> tuple[str, str | None]:
            stats, parts = AnswerStats(), []
            with connect(self._target) as client:
                chunks = stream(client, self._target, body, stats)
                try:
                    for chunk in chunks:
                        if chunk.kind == "answer":
                            parts.append(chunk.text)
                        if gone.is_set():
                            break
                finally:
                    chunks.close()
            return "".join(parts), stats.finish_reason

        try:
            return await anyio.to_thread.run_sync(read, abandon_on_cancel=True)
        finally:
            gone.set()
