"""Log-probabilities as Ollama has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from edgeinfer.inference.output import ChosenLogprob, Logprob
from edgeinfer.server.ollama.types import CandidateLogprob, OllamaLogprob
from edgeinfer.server.openai.logprobs import readable


def ollama_logprobs(logprobs: Sequence[ChosenLogprob]) -> list[Any]:
    """As JSON, token by token: the structs of a long answer would take several times as much memory."""
    return [msgspec.Raw(msgspec.json.encode(_token(logprob))) for logprob in logprobs]


def _token(logprob: ChosenLogprob) -> OllamaLogprob:
    token = OllamaLogprob(*_fields(logprob.chosen))
    if logprob.top:
        token.top_logprobs = [CandidateLogprob(*_fields(candidate)) for candidate in logprob.top]
    return token


def _fields(candidate: Logprob) -> tuple[str, float, list[int]]:
    return readable(candidate.piece), candidate.logprob, list(candidate.piece)
