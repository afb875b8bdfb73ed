"""Finding out what a template can take."""

from __future__ import annotations

import pytest

from edgeinfer.chat.builtin_templates import CHATML, PLAIN
from edgeinfer.chat.capabilities import Capabilities
from edgeinfer.chat.tools.detect import detect_tool_format
from edgeinfer.chat.tools.tool_formats import HERMES
from tests.support.templates import SAMPLES, detect

TYPED = "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}"
TWO_WAYS = """\
{%- for m in messages %}{{ m.role }}{{ m.content }}
{%- for c in m.tool_calls or [] %}{% set a = c.function.arguments %}
{%- if a is mapping %}{{ c.function.name }}:{% for key, value in a.items() %}{{ key }}:<|{{ value }}|>{% endfor %}
{%- else %}{{ c.function.name }}:{{ a }}{% endif %}{% endfor %}{% endfor %}
"""
NO_CALL_WITHOUT_TEXT = (
    "{% for m in messages %}{% if m.content %}{{ m.role }}{{ m.content }}{% endif %}{% endfor %}"
)


def capabilities_of(source: str) -> Capabilities:
    return detect(source, detect_tool_format(source))


NO_TOOLS = Capabilities()
FULL = Capabilities(tools=True, tool_calls=True, tool_results=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qwen", FULL),
        (
            "llama3",
            Capabilities(
                tool_calls=True, tool_results=True, text_beside_calls="apart", parallel_calls="apart"
            ),
        ),
        (
            "r1",
            Capabilities(
                later_system=False,
                tool_calls=True,
                tool_results=True,
                arguments_object=False,
                null_content=True,
                text_beside_calls="written",
            ),
        ),
        (
            "mistral",
            Capabilities(later_system=False, userless=False, repeats=False, assistant_first=False),
        ),
        ("gemma", Capabilities(system=False, repeats=False, assistant_first=False)),
        ("gemma3", Capabilities(later_system=False, userless=False, repeats=False, assistant_first=False)),
        ("zephyr", NO_TOOLS),
    ],
)
def test_samples(name: str, expected: Capabilities) -> None:
    """Templates in the wild are seen through."""
    assert capabilities_of(SAMPLES[name][0]) == expected


@pytest.mark.parametrize("source", [CHATML, PLAIN])
def test_built_in_templates(source: str) -> None:
    """They know every role in any order, and leave calls to be written as text."""
    assert capabilities_of(source) == NO_TOOLS
    assert detect(source, HERMES).tool_results


def test_typed_content() -> None:
    """A template that goes through parts renders no string."""
    assert capabilities_of(TYPED).typed_content
    assert capabilities_of(TYPED).system


def test_an_object_is_preferred_where_both_forms_are_taken() -> None:
    """The template's own way of writing arguments is what the model was trained on."""
    assert detect(TWO_WAYS, HERMES) == Capabilities(tool_calls=True, tool_results=True, arguments_object=True)


def test_a_call_without_its_name_is_not_rendered() -> None:
    """Then the whole call is written as text."""
    nameless = TWO_WAYS.replace("{{ c.function.name }}", "call")
    assert not detect(nameless, HERMES).tool_calls


OBJECTS_ONLY = TWO_WAYS.replace("a is mapping", "true")


def test_cut_arguments() -> None:
    """Text where the template takes it, an object where it goes through the arguments."""
    assert detect(TWO_WAYS, HERMES).cut_arguments
    assert not detect(OBJECTS_ONLY, HERMES).cut_arguments


STRICT_CALLS = """\
{%- set ns = namespace(last="assistant", called=false) %}
{%- for m in messages %}
{%- if m.role == "tool" and not ns.called %}{{ raise_exception("no call") }}{% endif %}
{%- if m.role == "assistant" and not m.content and not m.tool_calls %}{{ raise_exception("empty") }}{% endif %}
{%- if m.role != "tool" %}
{%- if m.role == ns.last %}{{ raise_exception("roles must alternate") }}{% endif %}
{%- set ns.last = m.role %}{% set ns.called = m.tool_calls is defined %}
{%- endif %}
{{- m.role }}{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.name ~ c.function.arguments }}{% endfor %}
{%- endfor %}
"""


def test_a_strict_template() -> None:
    """Calls count as turns, results belong to calls, and every turn has a text."""
    assert detect(STRICT_CALLS, HERMES) == Capabilities(
        empty_turns=False,
        repeats=False,
        assistant_first=False,
        calls_alternate=True,
        tool_calls=True,
        tool_results=True,
        stray_results=False,
        arguments_object=False,
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
