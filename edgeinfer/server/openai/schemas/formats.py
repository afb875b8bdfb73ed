"""What form an answer must have: `response_format`, and llama-server's `grammar` and `json_schema`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from edgeinfer.errors import InvalidRequest
from edgeinfer.grammar.source import GrammarSource
from edgeinfer.server.http.request_model import Strict
from edgeinfer.server.openai.schemas.sampling import SamplingFields

ANSWER = "answer"
"""Name of the part that the caller's form becomes."""


class TextFormat(Strict):
    type: Literal["text"]


class JsonObjectFormat(Strict):
    """Any JSON object; llama-server's clients may give a schema with it."""

    type: Literal["json_object"]
    schema_: dict[str, Any] | None = Field(None, alias="schema")


class JsonSchema(Strict):
    """The answer is always held to the schema, `strict` or not."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")] = "answer"
    description: str | None = None
    schema_: dict[str, Any] | bool = Field(alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(Strict):
    type: Literal["json_schema"]
    json_schema: JsonSchema


class RegexFormat(Strict):
    """The whole answer matches the pattern."""

    type: Literal["regex"]
    pattern: str


class ChoiceFormat(Strict):
    """The answer is one of these texts."""

    type: Literal["choice"]
    choices: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)


class GrammarFormat(Strict):
    """A grammar in llama.cpp's GBNF, or in llguidance's Lark."""

    type: Literal["grammar"]
    grammar: str
    syntax: Literal["gbnf", "lark"] = "gbnf"


ResponseFormat = Annotated[
    TextFormat | JsonObjectFormat | JsonSchemaFormat | RegexFormat | ChoiceFormat | GrammarFormat,
    Field(discriminator="type"),
]


class FormFields(SamplingFields):
    """`length_policy`: "complete" leads a formed answer to a valid end within max_tokens instead of cutting it."""

    response_format: ResponseFormat | None = None
    grammar: str | None = None
    json_schema: dict[str, Any] | None = None
    length_policy: Literal["cut", "complete"] = "cut"

    def check_form(self, tools: bool = False) -> None:
        """Raises InvalidRequest for what would have to be ignored."""
        formed = tools or self.form() is not None
        if self.completes() and not formed:
            raise InvalidRequest("length_policy needs a response_format to keep to", param="length_policy")
        if self.ignore_eos and formed:
            raise InvalidRequest("an answer with a form ends where the form does", param="ignore_eos")

    def completes(self) -> bool:
        return self.length_policy == "complete"

    def form(self) -> GrammarSource | None:
        """What the answer is held to; None is any text.

        Raises:
            InvalidRequest: two forms at once.
        """
        forms = [_part(self.response_format), _grammar(self.grammar), _schema(self.json_schema)]
        given = [form for form in forms if form]
        if len(given) > 1:
            first, second = given[0].param.partition(".")[0], given[1].param
            raise InvalidRequest(f"{first} and {second} cannot both be given", param=second)
        return given[0] if given else None


def _grammar(source: str | None) -> GrammarSource | None:
    return GrammarSource(ANSWER, "gbnf", source, "grammar") if source else None


def _schema(source: dict[str, Any] | None) -> GrammarSource | None:
    return None if source is None else GrammarSource(ANSWER, "json_schema", source, "json_schema")


def _part(asked: ResponseFormat | None) -> GrammarSource | None:
    where = "response_format"
    match asked:
        case JsonObjectFormat():
            return GrammarSource(
                ANSWER, "json_schema", asked.schema_ or {"type": "object"}, f"{where}.schema"
            )
        case JsonSchemaFormat():
            return GrammarSource(
                ANSWER, "json_schema", asked.json_schema.schema_, f"{where}.json_schema.schema"
            )
        case RegexFormat():
            return GrammarSource(ANSWER, "regex", asked.pattern, f"{where}.pattern")
        case ChoiceFormat():
            return GrammarSource(ANSWER, "choice", asked.choices, f"{where}.choices")
        case GrammarFormat():
            return GrammarSource(ANSWER, asked.syntax, asked.grammar, f"{where}.grammar")
    return None
