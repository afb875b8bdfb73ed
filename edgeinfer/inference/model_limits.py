"""Limits for what a model file says about itself, far beyond every model there is."""

from __future__ import annotations

from collections.abc import Collection

from edgeinfer.errors import ModelLoadFailed

MAX_TEMPLATE = 1 << 18
"""Characters of a chat template; the longest known has 30,000."""

MAX_CONTROL_TOKENS = 1 << 15
"""Gemma has 6,000; models that speak have a token for each of 28,000 sounds."""

MAX_CONTROL_TOKEN = 128
"""Characters of one; the longest known has 40."""

MAX_CONTROL_TEXT = 1 << 20
"""Characters of all together."""

MAX_CONTROL_CHARACTERS = 512
"""Different characters in all together; each needs one of Unicode's private characters to stand in for it."""

HINT = "no real model has that; get the file from another source"


def check_control_tokens(texts: Collection[str]) -> None:
    """Raise ModelLoadFailed for a set that no real vocabulary has, and that would take long to search for."""
    longest = max(map(len, texts), default=0)
    different = len(set().union(*texts))
    if len(texts) > MAX_CONTROL_TOKENS or sum(map(len, texts)) > MAX_CONTROL_TEXT:
        found = f"it has {len(texts)} control tokens"
    elif longest > MAX_CONTROL_TOKEN:
        found = f"it has a control token of {longest} characters"
    elif different > MAX_CONTROL_CHARACTERS:
        found = f"its control tokens have {different} different characters"
    else:
        return
    raise ModelLoadFailed(f"the model's vocabulary is not usable: {found}", param="model", hint=HINT)


def check_template(source: str) -> None:
    """Raise ModelLoadFailed for a chat template that is too long."""
    if len(source) > MAX_TEMPLATE:
        raise ModelLoadFailed(
            f"the model's chat template is not usable: it has {len(source)} characters",
            param="model",
            hint=HINT,
        )
