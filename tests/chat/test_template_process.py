"""Rendering as Hugging Face does it."""

from __future__ import annotations

import io
import json
from datetime import datetime
from typing import Any

import msgspec
import pytest

from edgeinfer.chat.template_process import TemplateEnvironment, TemplateRefused, answer, describe
from edgeinfer.chat.template_protocol import MAX_OUTPUT, RenderOutcome, RenderRequest, RenderResponse
from edgeinfer.ipc import framing

VALUE = {"b": "<ü>", "a": [1, None]}


def render(source: str, **context: Any) -> str:
    return TemplateEnvironment().render(source, context)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% if true %}\nx\n{% endif %}\n", "x\n"),
        ("a\n    {% if true %}\nb\n    {% endif %}\n", "a\nb\n"),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("{% for i in range(3) %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "02"),
        ("a{% generation %}b{{ 1 + 1 }}{% endgeneration %}c", "ab2c"),
        ("{% set ns = namespace(n=1) %}{% set ns.n = 2 %}{{ ns.n }}", "2"),
        ("{{ missing }}|{{ missing is defined }}", "|False"),
    ],
)
def test_environment_is_hugging_faces(source: str, expected: str) -> None:
    """Blocks are trimmed, loops can be left, `generation` is transparent."""
    assert render(source) == expected


def test_tojson_escapes_no_html_and_no_unicode() -> None:
    """Models were trained on plain JSON."""
    assert render("{{ v | tojson }}", v=VALUE) == '{"b": "<ü>", "a": [1, null]}'


def test_tojson_takes_what_filters_give() -> None:
    """A generator is a list to a template."""
    assert render("{{ v | map(attribute='a') | list | tojson }}", v=[{"a": 1}]) == "[1]"
    assert render("{{ v | map(attribute='a') | tojson }}", v=[{"a": 1}, {"a": "x"}]) == '[1, "x"]'


def test_tojson_takes_the_arguments_of_json_dumps() -> None:
    """indent, separators, sort_keys and ensure_ascii are passed on."""
    options: dict[str, Any] = {"ensure_ascii": True, "indent": 2, "separators": (",", ":"), "sort_keys": True}
    source = "{{ v | tojson(ensure_ascii=true, indent=2, separators=(',', ':'), sort_keys=true) }}"
    assert render(source, v=VALUE) == json.dumps(VALUE, **options)


def test_strftime_now_is_the_local_date() -> None:
    """Llama 3 states the date."""
    assert render("{{ strftime_now('%Y') }}") in {
        str(datetime.now().astimezone().year + n) for n in (-1, 0, 1)
    }


def test_raise_exception_carries_the_templates_words() -> None:
    """The message is the template's, and nothing else."""
    with pytest.raises(TemplateRefused) as caught:
        render("{{ raise_exception('no ' ~ 'way') }}")
    assert describe(caught.value) == "no way"


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("{% if %}", "not valid Jinja: line 1"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ a.b.c }}", "UndefinedError"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{{ '\\ud800' }}", "UnicodeEncodeError"),
    ],
)
def test_failure_is_described(source: str, part: str) -> None:
    """The error says what went wrong, and names the line of a syntax error."""
    (rendering,) = answer(TemplateEnvironment(), RenderRequest(source, [{"messages": []}], 1.0)).renderings
    assert rendering.text is None
    assert part in rendering.error


def test_error_message_is_cut() -> None:
    """A template cannot answer with a novel."""
    assert len(describe(TemplateRefused("x" * 10_000))) == 500


def test_contexts_fail_one_by_one() -> None:
    """One failing context leaves the others' texts alone."""
    source = "{{ raise_exception('odd') if n % 2 else n }}"
    response = answer(TemplateEnvironment(), RenderRequest(source, [{"n": 0}, {"n": 1}, {"n": 2}], 1.0))
    assert response == RenderResponse([RenderOutcome("0"), RenderOutcome(None, "odd"), RenderOutcome("2")])


def test_output_limit_counts_all_contexts_together() -> None:
    """Several renderings share one limit."""
    context = {"n": MAX_OUTPUT // 2}
    found = answer(TemplateEnvironment(), RenderRequest("{{ 'x' * n }}", [context] * 3, 9.0)).renderings
    assert [rendering.text is None for rendering in found] == [False, False, True]
    assert "more than 8388608 characters" in found[2].error


def test_forgets_old_sources() -> None:
    """The cache is bounded, and a forgotten source is compiled again."""
    templates = TemplateEnvironment(keep=2)
    assert [templates.render(str(n % 4), {}) for n in range(8)] == list("01230123")


REQUESTS = msgspec.msgpack.Decoder(RenderRequest)


def test_frames_round_trip() -> None:
    """What is written is read."""
    request = RenderRequest("s", [{"a": [1, None, "ü"]}], 0.5)
    assert framing.read_blocking(io.BytesIO(framing.encode(request)), REQUESTS) == request
    response = RenderResponse([RenderOutcome("x"), RenderOutcome(None, "e")])
    body = framing.encode(response)[framing.HEADER.size :]
    assert msgspec.msgpack.decode(body, type=RenderResponse) == response


@pytest.mark.parametrize("cut", [0, 2, 4, 7])
def test_cut_frame_is_the_end(cut: int) -> None:
    """A daemon that dies in the middle of a frame ends the process as one that closes the pipe."""
    frame = framing.encode(RenderRequest("s", [], 0.5))
    assert framing.read_blocking(io.BytesIO(frame[:cut]), REQUESTS) is None
