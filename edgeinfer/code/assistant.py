"""Asks the model: for text, for data that matches a schema, for calls of tools, for code in a gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import httpx
import msgspec

from edgeinfer.client.http import Target, get_json, post_json
from edgeinfer.client.status import get_status
from edgeinfer.client.stream import AnswerStats, stream
from edgeinfer.client.token_counter import TokenCounter
from edgeinfer.code.budget import ContextBudget
from edgeinfer.code.model_choice import (
    OfferedModel,
    choose_chat,
    choose_filler,
    named_model,
    offered_models,
)
from edgeinfer.code.screen import Screen
from edgeinfer.errors import EdgeinferError
from edgeinfer.store.catalogue import catalogue

T = TypeVar("T")

MIN_ANSWER = 256

Message = dict[str, Any]


class ModelCall(msgspec.Struct):
    """A call that the model has made."""

    name: str
    arguments: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What the model has answered."""

    text: str
    calls: list[ModelCall]
    finish_reason: str | None


class Assistant:
    """Speaks with one daemon, as one of its models."""

    def __init__(
        self, client: httpx.Client, target: Target, screen: Screen, *, model: str | None, fills: bool = False
    ) -> None:
        self.screen = screen
        self._client = client
        self._target = target
        models = offered_models(get_json(client, target, "/v1/models"), catalogue())
        default = self._default_model()
        self.is_edgeinfer = default is not None
        choose = choose_filler if fills else choose_chat
        self.model: OfferedModel = named_model(models, model) if model else choose(models, default)
        self._counter = TokenCounter(client, target)
        if self.is_edgeinfer and not self.model.loaded:
            screen.say(f"(loading {self.model.name})")
            self.count("x")  # which loads it; how much context there is, is known then
            models = offered_models(get_json(client, target, "/v1/models"), catalogue())
            self.model = named_model(models, self.model.name)

    def budget(self, answer: int | None = None) -> ContextBudget:
        """Return the empty context; a quarter of it, or `answer` tokens, are kept for the answer."""
        size = self.model.context
        return ContextBudget(size, min(answer or size // 4, max(size // 2, MIN_ANSWER)), self.count)

    def count(self, text: str) -> int:
        """Return the number of tokens of a text."""
        return self._counter.count(text, self.model.name)

    def say(self, messages: Sequence[Message], budget: ContextBudget, **fields: Any) -> Answer:
        """Ask for text, or calls of the tools in `fields`, and show it as it comes."""
        return self._ask(messages, budget, fields, text=True)

    def fill_in(
        self,
        messages: Sequence[Message],
        budget: ContextBudget,
        schema: Mapping[str, Any],
        form: type[T],
        *,
        prediction: str | None = None,
    ) -> T:
        """Ask for JSON that matches a schema, and return it decoded.

        Args:
            form: what such JSON is decoded into. It is checked again, as the server may be anybody's.
            prediction: much of what the answer will repeat.

        Raises:
            EdgeinferError: it did not fit into the context, as half an answer is none, or does not match.
        """
        fields: dict[str, Any] = {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": schema},
            }
        }
        if prediction:
            fields["prediction"] = {"type": "content", "content": prediction}
        answer = self._ask(messages, budget, fields, text=False)
        if answer.finish_reason == "length":
            raise EdgeinferError(
                "the answer did not fit into the context: nothing is changed",
                hint="name fewer or smaller files, or serve with a larger context: edgeinfer serve --ctx 8192",
            )
        try:
            return msgspec.json.decode(answer.text, type=form)
        except (msgspec.MsgspecError, RecursionError) as e:
            raise EdgeinferError(
                f"the server did not keep to the schema: {e}", hint="edgeinfer status"
            ) from e

    def infill(self, prefix: str, suffix: str, files: Sequence[tuple[str, str]], max_tokens: int) -> str:
        """Return the code between two texts; the daemon takes as much of them as fits."""
        body = {
            "model": self.model.name,
            "input_prefix": prefix,
            "input_suffix": suffix,
            "input_extra": [{"filename": name, "text": text} for name, text in files],
            "n_predict": max_tokens,
            "temperature": 0,
        }
        answer = post_json(self._client, self._target, "/infill", body)
        content = answer.get("content") if isinstance(answer, dict) else None
        if not isinstance(content, str):
            raise EdgeinferError(f"{self._target}/infill did not answer with text")
        return content

    def _ask(
        self, messages: Sequence[Message], budget: ContextBudget, fields: dict[str, Any], *, text: bool
    ) -> Answer:
        room = budget.answer + max(budget.left, 0)
        body = {"model": self.model.name, "messages": list(messages), "max_tokens": room, **fields}
        if self.is_edgeinfer:
            body["thinking_budget"] = room // 2  # or a model that thinks might do nothing else
        stats = AnswerStats()
        calls: list[ModelCall] = []
        parts: list[str] = []
        chunks = stream(self._client, self._target, body, stats)
        try:
            for chunk in chunks:
                if chunk.kind == "call" and chunk.begins:
                    calls.append(ModelCall(chunk.text))
                elif chunk.kind == "call":
                    calls[-1].arguments += chunk.text
                elif chunk.kind == "answer":
                    parts.append(chunk.text)
                self.screen.chunk(chunk, text=text)
        finally:
            chunks.close()  # which tells the daemon to stop computing
            self.screen.end_answer()
        return Answer("".join(parts), calls, stats.finish_reason)

    def _default_model(self) -> str | None:
        """Return the name of the daemon's default model; None for another program's server."""
        try:
            models = get_status(self._client, self._target).models
        except EdgeinferError:
            return None
        return next((model.name for model in models if model.default), "")
