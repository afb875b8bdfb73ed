"""The sample templates are valid, so that the other tests can rely on them."""

from __future__ import annotations

import pytest

from edgeinfer.chat.template_process import TemplateEnvironment
from tests.support.templates import SAMPLES


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_renders_a_question(name: str) -> None:
    """Every sample is valid and puts the user's text into the prompt."""
    source, _, bos, eos = SAMPLES[name]
    context = {"messages": [{"role": "user", "content": "Why?"}], "bos_token": bos, "eos_token": eos}
    assert "Why?" in TemplateEnvironment().render(source, {**context, "add_generation_prompt": True})
