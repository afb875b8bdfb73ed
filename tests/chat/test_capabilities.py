"""Finding out what a template can take."""

from __future__ import annotations

import pytest

from edgeinfer.chat.builtin_templates import CHATML, PLAIN
from edgeinfer.chat.capabilities import Capabilities, detect_capabilities, probe_contexts
from edgeinfer.chat.template_process import TemplateEnvironment, answer
from edgeinfer.chat.template_protocol import RenderRequest
from tests.support.templates import SAMPLES

TYPED = "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}"
TWO_WAYS = """\
{%- for m in messages %}{{ m.role }}{{ m.content }}
{%- for c in m.tool_calls or [] %}{% set a = c.function.arguments %}
{%- if a is mapping %}call:{% for key, value in a.items() %}{{ key }}:<|{{ value }}|>{% endfor %}
{%- else %}call:{{ a }}{% endif %}{% endfor %}{% endfor %}
"""
NO_CALL_WITHOUT_TEXT = (
    "{% for m in messages %}{% if m.content %}{{ m.role }}{{ m.content }}{% endif %}{% endfor %}"
)


def capabilities_of(source: str) -> Capabilities:
    contexts = [{**context, "bos_token": "<s>", "eos_token": "</s>"} for context in probe_contexts()]
    return detect_capabilities(answer(TemplateEnvironment(), RenderRequest(source, contexts, 5.0)).renderings)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qwen", Capabilities(tools=True, tool_calls=True, tool_results=True)),
        ("llama3", Capabilities(tool_calls=True, tool_results=True)),
        ("r1", Capabilities(tool_calls=True, tool_results=True, arguments_object=False, null_content=True)),
        ("mistral", Capabilities()),
        ("gemma", Capabilities(system=False)),
        ("zephyr", Capabilities(tool_results=True)),
    ],
)
def test_samples(name: str, expected: Capabilities) -> None:
    """Templates in the wild are seen through."""
    assert capabilities_of(SAMPLES[name][0]) == expected


@pytest.mark.parametrize("source", [CHATML, PLAIN])
def test_built_in_templates(source: str) -> None:
    """They know every role, and leave calls to be written as text."""
    assert capabilities_of(source) == Capabilities(tool_results=True)


def test_typed_content() -> None:
    """A template that goes through parts renders no string."""
    assert capabilities_of(TYPED).typed_content
    assert capabilities_of(TYPED).system


def test_an_object_is_preferred_where_both_forms_are_taken() -> None:
    """The template's own way of writing arguments is what the model was trained on."""
    assert capabilities_of(TWO_WAYS) == Capabilities(
        tool_calls=True, tool_results=True, arguments_object=True
    )


def test_a_template_that_drops_system_messages_without_a_word() -> None:
    """Nothing raises, but the text is missing."""
    source = "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}"
    assert not capabilities_of(source).system


def test_a_template_without_calls() -> None:
    """Neither an error nor a word."""
    assert not capabilities_of(NO_CALL_WITHOUT_TEXT).tool_calls


@pytest.mark.parametrize("source", ["{% if %}", "{{ raise_exception('no') }}", ""])
def test_a_template_that_renders_nothing_is_taken_at_its_best(source: str) -> None:
    """The real rendering will tell what is wrong with it."""
    assert capabilities_of(source) == Capabilities()
