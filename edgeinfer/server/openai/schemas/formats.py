"""The form of an answer: `response_format`, and llama-server's `grammar` and `json_schema`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from edgeinfer.errors import InvalidRequest
from edgeinfer.grammar.source import GrammarSource
from edgeinfer.server.http.request_model import Items, Strict
from edgeinfer.server.openai.schemas.adapt import adapt_format
from edgeinfer.server.openai.schemas.sampling import SamplingFields

ANSWER = "answer"
"""The name of the caller's source in the grammar of an answer."""


MAX_CHOICES = 8192
"""Texts among which an answer may be chosen."""


class TextFormat(Strict):
    type: Literal["text"]


class JsonObjectFormat(Strict):
    """Any JSON object; llama-server's clients may send a schema with it."""

    type: Literal["json_object"]
    schema_: dict[str, Any] | None = Field(None, alias="schema")


class JsonSchema(Strict):
    """The answer is always held to the schema, `strict` or not."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")] = "answer"
    description: str | None = None
    schema_: dict[str, Any] | bool = Field(alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(Strict):
    """Clients of llama-server and of OpenAI's Responses leave out `json_schema`, and write what it holds beside `type`."""

    type: Literal["json_schema"]
    json_schema: JsonSchema | None = None
    name: str | None = None
    description: str | None = None
    schema_: dict[str, Any] | bool | None = Field(None, alias="schema")
    strict: bool | None = None

    @model_validator(mode="after")
    def _one_schema(self) -> JsonSchemaFormat:
        where = "response_format"
        if self.json_schema is None and self.schema_ is None:
            raise InvalidRequest(f"missing parameter: '{where}.json_schema'", param=f"{where}.json_schema")
        if self.json_schema is not None and self.schema_ is not None:
            raise InvalidRequest(
                f"{where} has two schemas: use json_schema or schema", param=f"{where}.schema"
            )
        return self


class RegexFormat(Strict):
    """The whole answer matches the pattern."""

    type: Literal["regex"]
    pattern: str


class ChoiceFormat(Strict):
    """The answer is one of these texts."""

    type: Literal["choice"]
    choices: Items[Annotated[str, Field(min_length=1)]] = Field(min_length=1, max_length=MAX_CHOICES)


class GrammarFormat(Strict):
    """A grammar in llama.cpp's GBNF, or in llguidance's Lark."""

    type: Literal["grammar"]
    grammar: str
    syntax: Literal["gbnf", "lark"] = "gbnf"


ResponseFormat = Annotated[
    TextFormat | JsonObjectFormat | JsonSchemaFormat | RegexFormat | ChoiceFormat | GrammarFormat,
    Field(discriminator="type"),
]


class FormatFields(SamplingFields):
    """`length_policy`: "complete" leads a formatted answer to a valid end within max_tokens instead of cutting it."""

    response_format: ResponseFormat | None = None
    grammar: str | None = None
    json_schema: dict[str, Any] | None = None
    length_policy: Literal["cut", "complete"] = "cut"

    @classmethod
    def adapt(cls, values: dict[str, Any]) -> None:
        super().adapt(values)
        adapt_format(values)

    @property
    def complete(self) -> bool:
        return self.length_policy == "complete"

    def check_format(self, tools: bool = False) -> None:
        """Raises InvalidRequest for fields that contradict the format, or its absence."""
        formatted = tools or self.format_source() is not None
        if self.complete and not formatted:
            raise InvalidRequest("length_policy requires a response_format", param="length_policy")
        if self.ignore_eos and formatted:
            raise InvalidRequest(
                "ignore_eos cannot be used with tools or a response_format", param="ignore_eos"
            )

    def format_source(self) -> GrammarSource | None:
        """The schema or grammar of the answer; None is any text.

        Raises:
            InvalidRequest: there are two of them.
        """
        sources = [
            _from_format(self.response_format),
            _from_gbnf(self.grammar),
            _from_schema(self.json_schema),
        ]
        present = [source for source in sources if source]
        if len(present) > 1:
            first, second = present[0].param.partition(".")[0], present[1].param
            raise InvalidRequest(f"{first} and {second} cannot be combined", param=second)
        return present[0] if present else None


def _from_gbnf(grammar: str | None) -> GrammarSource | None:
    return GrammarSource(ANSWER, "gbnf", grammar, "grammar") if grammar else None


def _from_schema(schema: dict[str, Any] | None) -> GrammarSource | None:
    return None if schema is None else GrammarSource(ANSWER, "json_schema", schema, "json_schema")


def _from_format(form: ResponseFormat | None) -> GrammarSource | None:
    where = "response_format"
    match form:
        case JsonObjectFormat():
            any_object = {"type": "object"}
            return GrammarSource(ANSWER, "json_schema", form.schema_ or any_object, f"{where}.schema")
        case JsonSchemaFormat():
            if form.json_schema is None:
                return GrammarSource(ANSWER, "json_schema", form.schema_, f"{where}.schema")
            schema = form.json_schema.schema_
            return GrammarSource(ANSWER, "json_schema", schema, f"{where}.json_schema.schema")
        case RegexFormat():
            return GrammarSource(ANSWER, "regex", form.pattern, f"{where}.pattern")
        case ChoiceFormat():
            return GrammarSource(ANSWER, "choice", form.choices, f"{where}.choices")
        case GrammarFormat():
            return GrammarSource(ANSWER, form.syntax, form.grammar, f"{where}.grammar")
    return None
