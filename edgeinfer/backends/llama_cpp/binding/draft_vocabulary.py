"""Checks that a draft model writes the tokens of the model for which it guesses."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.backends.llama_cpp.binding.model import LlamaModel
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.errors import ModelLoadFailed

MAX_PADDING = 256
"""Tokens that one of two equal vocabularies may have more: rows of the output layer are padded to round numbers."""

HINT = "name a smaller model of the same family, or leave draft_model out"


def check_draft_vocabulary(target: LlamaModel, draft: LlamaModel, config: LlamaConfig) -> None:
    """Check the draft model that `config` names.

    Raises:
        ModelLoadFailed: its vocabulary is another one, or it cannot guess at all.
    """
    name, other = config.name, Path(config.draft_model or "").name
    if not draft.has_decoder or not draft.removes_tails:
        why = "takes no guesses back" if draft.has_decoder else "generates no text"
        raise ModelLoadFailed(
            f"{other} cannot be the draft model of {name}: it {why}", param="draft_model", hint=HINT
        )
    ours, theirs = target.vocab, draft.vocab
    problem = None
    if abs(ours.size - theirs.size) > MAX_PADDING:
        problem = f"it has {theirs.size} tokens, not {ours.size}"
    else:
        common = range(min(ours.size, theirs.size))
        if (token := next((t for t in common if ours.text(t) != theirs.text(t)), None)) is not None:
            problem = f"token {token} is {theirs.text(token)!r}, not {ours.text(token)!r}"
    if problem:
        raise ModelLoadFailed(
            f"{other} has another vocabulary than {name}: {problem}", param="draft_model", hint=HINT
        )
