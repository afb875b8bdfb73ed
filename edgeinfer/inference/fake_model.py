"""The name of the model that needs no file: it answers with a hash of the prompt, for tests and trials."""

from __future__ import annotations

FAKE_MODEL = "fake"


def is_fake_model(model: str) -> bool:
    """Tell whether `model` is "fake", or "fake:MS" for one that takes MS milliseconds a token."""
    return model.partition(":")[0] == FAKE_MODEL


def fake_token_ms(model: str) -> float:
    """Return the milliseconds a token that a fake model's name asks for.

    Raises:
        ValueError: what follows the colon is not a number.
    """
    return float(model.partition(":")[2] or 0)
