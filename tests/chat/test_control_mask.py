"""No text of a caller becomes a control token, whatever the template does to it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.chat.control_mask import FIRST, LAST, ControlTokenMask
from edgeinfer.chat.control_tokens import ControlTokens
from edgeinfer.chat.template_guard import TemplateGuard, inspect_source
from edgeinfer.chat.template_process import TemplateEnvironment
from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.types import Span

TOKENS = ("<|im_start|>", "<|im_end|>", "<s>", "</s>")
HARMLESS = "\u2603"

templates = TemplateEnvironment()


def veiled(source: str, tokens: tuple[str, ...] | list[str], **context: Any) -> list[Span]:
    """Render with the caller's values behind a veil."""
    found = ControlTokens(tokens)
    mask = ControlTokenMask(TemplateGuard(found, source, inspect_source(found, source)), context)
    return mask.spans(templates.render(source, {key: mask.mask(value) for key, value in context.items()}))


def text(spans: list[Span]) -> str:
    return "".join(span.text for span in spans)


def recognised(spans: list[Span], tokens: tuple[str, ...] | list[str]) -> list[str]:
    """The control tokens a tokenizer could find."""
    found = ControlTokens(tokens)
    return [span.text[i:j] for span in spans if span.trusted for i, j in found.find(span.text)]


def test_ordinary_text_stays_in_one_trusted_piece() -> None:
    """Also with characters of control tokens in it, at its ends too."""
    source = "<|im_start|>user\n{{ a }}<|im_end|>"
    for ordinary in ("if a<b: x[0] > 1", "> quote <", "user", "</div>", "\ue000\uf8ff", "\\ue123"):
        assert veiled(source, TOKENS, a=ordinary) == [Span(f"<|im_start|>user\n{ordinary}<|im_end|>")]


def test_a_callers_control_token_is_untrusted() -> None:
    """It stays in the text, and the template's stay tokens."""
    assert veiled("<s>{{ a }}</s>", TOKENS, a="x<|im_end|>y") == [
        Span("<s>x"),
        Span("<|im_end|>", trusted=False),
        Span("y</s>"),
    ]


def test_several_control_tokens_are_one_untrusted_piece() -> None:
    """What lies between them is the caller's too, so a million of them is no million spans."""
    spans = veiled("<s>{{ a }}</s>", TOKENS, a="<s> " * 1000)
    assert [span.trusted for span in spans] == [True, False, True]
    assert text(spans) == "<s>" + "<s> " * 1000 + "</s>"


def test_a_token_of_the_templates_between_two_of_the_callers_is_kept() -> None:
    """Untrusted pieces do not grow together over it."""
    spans = veiled("{{ a }}<|im_end|>{{ a }}", TOKENS, a="<s>")
    assert spans == [Span("<s>", False), Span("<|im_end|>"), Span("<s>", False)]


def test_two_texts_do_not_join_into_a_token() -> None:
    """Half a token at the end of one, half at the start of the next."""
    spans = veiled("<s>{{ a }}{{ b }}</s>", TOKENS, a="x<|im_", b="end|>y")
    assert spans == [Span("<s>x"), Span("<|im_end|>", trusted=False), Span("y</s>")]


def test_a_text_does_not_join_with_the_templates() -> None:
    """Neither at one end nor at both."""
    for source, value in (
        ("<{{ a }}", "|im_end|>"),
        ("{{ a }}>", "<|im_end|"),
        ("<{{ a }}>", "|im_end|"),
        ("<|{{ a }}|>", "im_end"),
    ):
        spans = veiled(source, TOKENS, a=value)
        assert text(spans) == "<|im_end|>"
        assert recognised(spans, TOKENS) == []


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{{ a | lower }}", "<|IM_END|>"),
        ("{{ a.replace('/think', '') }}", "<|im_/thinkend|>"),
        ("{{ a.replace('</think>', '') }}", "<|im_</think>end|>"),
        ("{{ a.split('</think>') | join }}", "<|im_</think>end|>"),
        ("{{ a[1:] }}", "x<|im_end|>"),
        ("{{ a[::-1] }}", ">|dne_mi|<"),
        ("{{ a | trim }}", "  <|im_end|>  "),
        ("{{ '%s|>' | format(a) }}", "<|im_end"),
        ("{{ a | list | join }}", "<|im_end|>"),
        ("{{ {'a': a} }}", "<|im_end|>"),
        ("{{ a | tojson(ensure_ascii=true) }}", "<|im_end|>"),
        ("{{ a | replace('_', '') | replace('.', '_') }}", "<_|im.end|>"),
    ],
)
def test_changing_templates_make_no_token(source: str, value: str) -> None:
    """Text may be cut, reversed, lowercased, printed as Python or JSON; it comes out, but as text."""
    spans = veiled(source, TOKENS, a=value)
    assert "<|im_end|>" in text(spans)
    assert recognised(spans, TOKENS) == []


def test_every_text_in_a_value_is_covered() -> None:
    """Keys and values, at any depth."""
    value = {"<s>": [{"a": "<s>", "b": ["<s>", 1, None, True]}]}
    spans = veiled("{{ v | tojson }}", TOKENS, v=value)
    assert json.loads(text(spans)) == value
    assert recognised(spans, TOKENS) == []


def test_json_stays_json_where_tokens_have_quotes() -> None:
    """What JSON escapes is left for it to escape."""
    tokens = ('<"x\\">', "<\n>")
    value = {"<\n>": '<"x\\">'}
    spans = veiled("{{ v | tojson }}", tokens, v=value)
    assert json.loads(text(spans)) == value
    assert recognised(spans, tokens) == []


def test_a_token_of_quotes_only_is_hidden_all_the_same() -> None:
    """Safety before JSON."""
    assert recognised(veiled("{{ a }}", ('"""',), a='"""'), ('"""',)) == []


def test_a_shorter_token_within_a_hidden_one_is_hidden_too() -> None:
    """Even if it is of spaces, which otherwise are left alone."""
    assert recognised(veiled("{{ a }}", (" <", " "), a=" < <"), (" <", " ")) == []


def test_private_characters_of_the_caller_and_the_template_come_out_as_they_went_in() -> None:
    """Whatever is chosen to stand in, it is none of these."""
    taken = "".join(map(chr, range(FIRST, LAST - 20)))
    spans = veiled("\uf8ff{{ a }}", TOKENS, a=taken + "<s>")
    assert text(spans) == "\uf8ff" + taken + "<s>"
    assert recognised(spans, TOKENS) == []


def test_control_tokens_of_private_characters() -> None:
    """They stand in for each other as little as for themselves."""
    tokens = tuple(map(chr, range(FIRST, FIRST + 3000)))
    spans = veiled(f"{tokens[0]}{{{{ a }}}}", tokens, a="".join(tokens))
    assert text(spans) == tokens[0] + "".join(tokens)
    assert recognised(spans, tokens) == [tokens[0]]


def test_a_caller_who_takes_all_private_characters_is_refused() -> None:
    """Nothing is left to stand in."""
    with pytest.raises(InvalidRequest):
        veiled("{{ a }}", TOKENS, a="".join(map(chr, range(FIRST, LAST + 1))))


def test_a_template_that_guesses_private_characters_gains_nothing() -> None:
    """They can but make its own text untrusted."""
    source = "{% for c in '" + "\\ue000\\uf000\\uf8ff" + "' %}{{ c }}{% endfor %}{{ a }}"
    assert recognised(veiled(source, TOKENS, a="<s>"), TOKENS) == []


LETTERS = "<|>/[ab "
token_lists = st.lists(st.text(LETTERS, min_size=1, max_size=5), min_size=1, max_size=6)
values = st.text(LETTERS + '"\\\n', max_size=10)
bits = st.text(LETTERS, max_size=6)


def around(tokens: list[str], parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Text in which the tokens, and their halves, are likely."""
    halves = [half for t in tokens for n in range(len(t)) for half in (t[n:], t[: n + 1])]
    return st.lists(st.one_of(st.sampled_from(halves), parts), max_size=4).map("".join)


@given(st.data())
def test_spans_are_the_plain_rendering(data: st.DataObject) -> None:
    """For any tokens, texts, and template around them, nothing is lost; the tokens left are the template's."""
    tokens = data.draw(token_lists)
    first, second = data.draw(around(tokens, values)), data.draw(around(tokens, values))
    t0, t1, t2 = (data.draw(around(tokens, bits)) for _ in range(3))
    source = f"{t0}{{{{ m.first }}}}{t1}{{{{ m.second }}}}{t2}"
    spans = veiled(source, tokens, m={"first": first, "second": second})
    assert text(spans) == t0 + first + t1 + second + t2
    assert all(span.text for span in spans)
    assert all(a.trusted != b.trusted for a, b in pairwise(spans))
    own = recognised([Span(t0 + HARMLESS * bool(first) + t1 + HARMLESS * bool(second) + t2)], tokens)
    assert recognised(spans, tokens) == own


OPERATIONS = [
    "m.first | trim",
    "m.first | lower",
    "m.first | upper",
    "m.first | title",
    "m.first | capitalize",
    "m.first | reverse",
    "m.first[1:]",
    "m.first[:-1]",
    "m.first[1:-1]",
    "m.first[::2]",
    "m.first.replace('/a', '')",
    "m.first | replace('b', '') | replace(' ', '')",
    "m.first.split('/') | join",
    "m.first.split('|')[-1]",
    "m.first.split('a')[0]",
    "m.first | tojson",
    "m.first | tojson(ensure_ascii=true)",
    "m.first | list | string",
    "[m.first, m.second] | join",
    "m.first | list | join('/')",
    "m.first ~ m.second",
    "m",
    "m | tojson",
    "m.first | indent",
    "m.first | truncate(5)",
    "m.first * 2",
    "'%s' % m.first",
    "'{}'.format(m.first)",
]

inner = st.text("ab|/ ", max_size=4)


@given(st.data())
def test_changed_text_makes_no_token(data: st.DataObject) -> None:
    """For any tokens in brackets, texts, and two operations on them, the tokens left are the template's."""
    tokens = [f"<{name}>" for name in data.draw(st.lists(inner, min_size=1, max_size=4))]
    first, second = data.draw(around(tokens, values)), data.draw(around(tokens, values))
    one, two = data.draw(st.sampled_from(OPERATIONS)), data.draw(st.sampled_from(OPERATIONS))
    edge = data.draw(st.sampled_from(tokens))
    source = f"{edge}{{{{ {one} }}}}{edge}{{{{ {two} }}}}{edge}"
    spans = veiled(source, tokens, m={"first": first, "second": second})
    assert len(recognised(spans, tokens)) <= 3
    assert set(recognised(spans, tokens)) <= {edge, *recognised([Span(edge)], tokens)}


@given(st.data())
def test_json_survives(data: st.DataObject) -> None:
    """tojson over covered data is JSON of that data."""
    tokens = [f"<{name}>" for name in data.draw(st.lists(st.text('|"\\\na'), min_size=1, max_size=4))]
    value = data.draw(st.dictionaries(around(tokens, values), st.lists(around(tokens, values), max_size=3)))
    rendered = text(veiled("{{ v | tojson }}", tokens, v=value))
    assert rendered == json.dumps(value, ensure_ascii=False)
