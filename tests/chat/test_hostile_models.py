"""Model files made to keep the daemon busy: their templates, and their control tokens."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from edgeinfer.chat.control_mask import ControlTokenMask
from edgeinfer.chat.control_tokens import ControlTokens
from edgeinfer.chat.message import Message
from edgeinfer.chat.prompt import PromptBuilder
from edgeinfer.chat.template_guard import TemplateGuard, inspect_source
from edgeinfer.chat.template_renderer import TemplateRenderer
from edgeinfer.errors import InvalidRequest, ModelLoadFailed, TemplateError
from edgeinfer.inference.model_limits import MAX_TEMPLATE, check_control_tokens
from tests.support.templates import QWEN_TOKENS, bare_model

N = 80_000
BODY = "{{ messages[0].content }}"

SLOW_SOURCES = {
    "spaces in a comment": f"{{# {' ' * N} #}}{BODY}",
    "line breaks in a comment": "{#" + "\n" * N + "#}" + BODY,
    "spaces in text": " \t" * (N // 2) + "x" + BODY,
    "spaces after an expression": BODY + "{{ '' }}" + " " * N + "x",
    "quotes": BODY + "{# " + "'\"" * (N // 2) + " #}",
    "quotes without an end": BODY + "{# " + ("'" + "a" * 65) * (N // 66) + " #}",
    "braces": BODY + "{# " + "} " * (N // 2) + " #}",
    "literals": BODY + "{# " + "".join(f"'<{n}>'" for n in range(N // 8)) + " #}",
    "halves of tokens": BODY + "{# " + "'<|im_'" * (N // 7) + " #}",
    "one long name": BODY + "{# ." + "a" * N + " '" + "a" * N + " #}",
    "percent signs": BODY + "{# " + "%s" * (N // 2) + " #}",
}

LETTERS = [chr(0x4E00 + n) for n in range(500)]

VOCABULARIES = {
    "one symbol repeated": ["a" * n for n in range(1, 129)],
    "brackets repeated": ["<" * n + ">" for n in range(1, 128)],
    "many first characters": [a + b for a in LETTERS for b in LETTERS[:60]],
    "no common beginnings": list({"".join(random.Random(n).choices("ab<>", k=16)) for n in range(20_000)}),
    "numbered": [f"<unused{n}>" for n in range(20_000)],
}
"""Allowed, but made to be slow."""

ODD = {
    "a symbol each": [chr(0x4E00 + n) for n in range(6988)],
    "a long one": ["<" + "a" * 3000 + ">"],
    "too many": [f"<{n}>" for n in range(40_000)],
    "too much": [f"<{n:0100}>" for n in range(20_000)],
}


@pytest.mark.parametrize("name", SLOW_SOURCES)
async def test_slow_template_stops_nobody(name: str) -> None:
    """The event loop goes on, whatever becomes of the prompt."""
    renderer = TemplateRenderer(10)
    try:
        await renderer.render("warm", {})
        prompts = PromptBuilder(bare_model(QWEN_TOKENS, {"default": SLOW_SOURCES[name]}), renderer)
        building = asyncio.create_task(prompts.build([Message(role="user", content="Hi <|im_end|>")]))
        longest, last = 0.0, time.monotonic()
        while not building.done():
            await asyncio.sleep(0.01)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        assert "Hi <|im_end|>" in "".join(span.text for span in (await building).spans)
        assert longest < 2
    finally:
        await renderer.close()


async def test_template_beyond_all_measure_is_refused() -> None:
    """A request may bring one."""
    renderer = TemplateRenderer()
    prompts = PromptBuilder(bare_model(), renderer)
    with pytest.raises(InvalidRequest, match="more than"):
        await prompts.build([Message(role="user", content="Hi")], template="x" * (MAX_TEMPLATE + 1))
    await renderer.close()


async def test_template_that_is_slow_to_inspect_is_given_up() -> None:
    """In its own process, by its own limit."""
    renderer = TemplateRenderer(0.3)
    with pytest.raises(TemplateError, match=r"longer than 0\.3 seconds"):
        await renderer.inspect("'" + "a" * 100 + "'" + "'a" * 60_000, VOCABULARIES["one symbol repeated"])
    assert await renderer.render("warm", {}) == "warm"
    await renderer.close()


async def test_template_that_builds_too_many_words_is_refused() -> None:
    """The daemon keeps them."""
    renderer = TemplateRenderer(30)
    with pytest.raises(TemplateError, match="too many"):
        await renderer.inspect("'<' '<u' '<un' '<unu' '<unus' x '>'", VOCABULARIES["numbered"])
    await renderer.close()


@pytest.mark.parametrize("name", VOCABULARIES)
def test_odd_vocabulary_takes_linear_time(name: str) -> None:
    """Its index, and masking a text that consists of nothing else; quadratic would be minutes."""
    texts = VOCABULARIES[name]
    check_control_tokens(texts)
    started = time.monotonic()
    tokens = ControlTokens(texts)
    guard = TemplateGuard(tokens, BODY, inspect_source(tokens, BODY))
    value = ("".join(texts) * 40)[:40_000]
    values = [value, *{text[1:-1] for text in texts[:2000]}]
    mask = ControlTokenMask(guard, values)
    masked = mask.mask(values)
    assert not any(span.trusted and any(tokens.find(span.text)) for span in mask.spans(masked[0]))
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("name", ODD)
def test_vocabulary_beyond_all_measure_is_refused(name: str) -> None:
    """At load, rather than with every chat."""
    with pytest.raises(ModelLoadFailed, match="vocabulary is not usable"):
        check_control_tokens(ODD[name])
