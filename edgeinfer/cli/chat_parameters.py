"""The parameters of an answer that `/set` changes: fields of the request, with the values that they take."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, MutableMapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edgeinfer.errors import InvalidRequest
from edgeinfer.value_errors import choices, sentence

UNSET = "default"
"""The value that leaves a parameter to the server."""


class ChatParameters(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Parameters of an answer, by the names of the request's fields."""

    temperature: Annotated[float, Meta(ge=0, le=100)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    typical_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=100)] | None = None
    repeat_last_n: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    stop: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    thinking_budget: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None


PARAMETERS: dict[str, Any] = {field.name: field.type for field in msgspec.structs.fields(ChatParameters)}

OTHER_NAMES = {"num_predict": "max_tokens", "max-tokens": "max_tokens"}


def set_parameter(fields: MutableMapping[str, Any], text: str) -> str:
    """Change a request's fields as `/set TEXT` says, and return what to tell the user.

    Raises:
        InvalidRequest: there is no such parameter, or it does not take this value.
    """
    words = text.removeprefix("parameter ").split(maxsplit=1)  # Ollama's /set parameter NAME VALUE
    if not words:
        return listing(fields)
    name = OTHER_NAMES.get(words[0], words[0])
    if name not in PARAMETERS:
        raise _unknown(name)
    if len(words) == 2:
        if words[1] == UNSET:
            fields.pop(name, None)
        else:
            fields[name] = _value(name, words[1])
    return f"({name}: {fields.get(name, 'left to the server')})"


def parameter_values(typed: str) -> Iterator[str]:
    """Propose what may follow `/set`."""
    name, space, _ = typed.partition(" ")
    if not space:
        yield from (f"{name} " for name in PARAMETERS)
    elif name in PARAMETERS:
        yield from (f"{name} {word}" for word in (*choices(PARAMETERS[name]), UNSET))


def listing(fields: MutableMapping[str, Any]) -> str:
    """Return the parameters that are set, and the names of the others."""
    lines = [f"{name} {fields[name]}" for name in PARAMETERS if name in fields]
    others = ", ".join(name for name in PARAMETERS if name not in fields)
    return "\n".join([*lines, f"left to the server: {others}"])


def _value(name: str, text: str) -> Any:
    try:
        return msgspec.convert(text, PARAMETERS[name], strict=False)
    except msgspec.ValidationError as e:
        problem = sentence(e, PARAMETERS[name])
        raise InvalidRequest(f"{name}: {problem}, not {text[:50]!r}", param=name) from None


def _unknown(name: str) -> InvalidRequest:
    close = difflib.get_close_matches(name, PARAMETERS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(PARAMETERS)}"
    return InvalidRequest(f"no such parameter: {name}", param=name, hint=hint)
