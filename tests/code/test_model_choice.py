"""Which of a daemon's models does what."""

from __future__ import annotations

from typing import Any

import pytest

from edgeinfer.code.model_choice import choose_chat, choose_filler, named_model, offered_models
from edgeinfer.errors import ModelNotFound
from edgeinfer.store.catalogue import catalogue


def card(
    name: str, state: str = "unloaded", capability: str = "completion", n_ctx: int = 4096
) -> dict[str, Any]:
    return {"id": name, "status": {"state": state}, "capabilities": [capability], "meta": {"n_ctx": n_ctx}}


def chosen(*cards: dict[str, Any], default: str | None = None) -> tuple[str, str]:
    """The names of the models that answer, and that complete."""
    models = offered_models({"data": list(cards)}, catalogue())
    return choose_chat(models, default).name, choose_filler(models, default).name


def test_the_default_model_answers_and_the_one_made_for_it_completes() -> None:
    """In whatever quantization, loaded or not."""
    r1, coder = card("deepseek-r1-distill-qwen-1.5b:Q4_0", "ready"), card("qwen2.5-coder-1.5b:Q4_K_M")
    assert chosen(r1, coder, default=r1["id"]) == (r1["id"], coder["id"])
    assert chosen(coder, r1, default=r1["id"]) == (r1["id"], coder["id"])


def test_a_model_that_is_called_coder_is_taken_for_one() -> None:
    """As a table of the configuration, or one that the catalogue does not know."""
    assert chosen(card("a"), card("coder"), default="a") == ("a", "coder")
    assert chosen(card("a"), card("DeepSeek-Coder-6.7B"), default="a") == ("a", "DeepSeek-Coder-6.7B")


def test_without_such_a_model_the_same_one_does_both() -> None:
    assert chosen(card("a"), default="a") == ("a", "a")


def test_a_default_that_cannot_write_is_not_asked() -> None:
    """Nor the bundled model, where there is another one; one that is loaded comes first."""
    embed, nano = card("e", "ready", "embedding"), card("edgeinfer-nano")
    assert chosen(embed, nano, card("a"), card("b", "ready"), default="e")[0] == "b"
    assert chosen(embed, nano, default="e")[0] == "edgeinfer-nano"


def test_a_server_without_models_says_what_to_do() -> None:
    with pytest.raises(ModelNotFound, match="no model that writes text"):
        chosen()


def test_other_servers_say_less() -> None:
    """And a name that is not listed is taken as it is."""
    (model,) = offered_models({"data": [{"id": "gpt"}, {}, 3]}, catalogue())
    assert (model.context, model.chats, model.fills) == (4096, True, False)
    assert named_model([model], "other").name == "other"
    assert offered_models([], catalogue()) == []
