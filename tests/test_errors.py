from __future__ import annotations

import re

import pytest

from edgeinfer import errors
from edgeinfer.errors import (
    EdgeinferError,
    ErrorData,
    InvalidRequest,
    all_errors,
    context_exceeded,
    revive,
    revive_public,
)


def tree() -> list[type[EdgeinferError]]:
    """Every class there is, found by walking the subclasses."""
    found, todo = [], [EdgeinferError]
    while todo:
        found.append(todo.pop())
        todo += found[-1].__subclasses__()
    return found


every = pytest.mark.parametrize("cls", tree(), ids=lambda cls: cls.__name__)


def test_each_class_has_a_code_of_its_own() -> None:
    """It is what a client may match on."""
    codes = [cls.code for cls in tree()]
    assert len(codes) == len(set(codes))
    assert {cls.code: cls for cls in tree()} == all_errors()


def test_the_docstring_draws_the_tree() -> None:
    """Every class with its status and code, and no class that is not there."""
    drawn = re.findall(r"^[ │├└─]+(\w+) +(\d{3}) +(\w+)$", errors.__doc__ or "", re.MULTILINE)
    assert sorted((cls.__name__, str(cls.status), cls.code) for cls in tree()) == sorted(drawn)


def test_the_docstring_draws_each_class_below_its_parent() -> None:
    """The lines of the tree are true, too."""
    lines = re.findall(r"^    ([ │├└─]*)(\w+) +\d{3}", errors.__doc__ or "", re.MULTILINE)
    above, parents = {}, {}
    for indent, name in lines:
        above[depth := len(indent) // 4] = name
        parents[name] = above.get(depth - 1)
    bases = {cls.__name__: cls.__mro__[1].__name__ for cls in tree()}
    assert bases | {"EdgeinferError": None} == parents


@every
def test_an_error_crosses_the_process_border_as_the_class_it_was(cls: type[EdgeinferError]) -> None:
    """With all its data."""
    error = cls("what", param="p", hint="do this", retry_after=7)
    revived = revive(error.data())
    assert cls is type(revived)
    assert error.data() == revived.data()
    assert ErrorData(cls.code, "what", "p", "do this", 7) == revived.data()


@every
def test_an_error_says_what_happened(cls: type[EdgeinferError]) -> None:
    """As exceptions do, and nothing is made up that was not given."""
    error = cls("what")
    assert ("what", "what", None, None, None) == (
        str(error),
        error.message,
        error.param,
        error.hint,
        error.retry_after,
    )


@every
def test_a_status_is_one_of_an_error(cls: type[EdgeinferError]) -> None:
    """And the type that OpenAI's clients see says whose fault it is."""
    assert 400 <= cls.status < 600
    assert (cls.status >= 500) == (cls.type in ("server_error", "service_unavailable_error"))


def test_a_code_that_nobody_knows_becomes_the_base_class() -> None:
    """The other process may be newer."""
    revived = revive(ErrorData("from_the_future", "what"))
    assert EdgeinferError is type(revived)
    assert "what" == revived.message


def test_what_clients_are_sent_is_short_and_has_the_hint_in_the_message() -> None:
    """Most clients show nothing else; a template may have written a megabyte."""
    told = EdgeinferError("m" * 10**6, param="p" * 10**6, hint="do this").public()
    assert told.message.endswith("… (hint: do this)")
    assert told.hint == "do this"
    assert len(told.message) < 2100
    assert len(told.param or "") <= 400
    assert len(EdgeinferError("x", hint="h" * 10**6).public().message) < 2100


def test_our_own_client_shows_the_hint_once() -> None:
    """The command line has a line of its own for it."""
    for error in (InvalidRequest("what", param="p", hint="do this"), InvalidRequest("what")):
        revived = revive_public(error.public())
        assert (type(revived), str(revived), revived.hint) == (InvalidRequest, "what", error.hint)


CONTEXT_PHRASES = ("context_length_exceeded", "This model's maximum context length is ")
"""What LangChain looks for in an error's text; what LiteLLM, and with it aider, does."""


def test_an_overflow_is_told_as_openai_tells_it() -> None:
    """So that clients which shorten a conversation by themselves notice."""
    message = context_exceeded(2048, "the prompt has 5000 tokens").public().message
    assert message.startswith(
        "This model's maximum context length is 2048 tokens. However, the prompt has 5000"
    )
    assert all(phrase in message for phrase in CONTEXT_PHRASES)
    assert "ctx = 4096" in message


@pytest.mark.parametrize(
    ("ctx", "tokens", "trained", "named"),
    [
        (2048, 3000, 2048, "take another model: this one was trained for no more"),
        (2048, 3000, 3500, "ctx = 3500"),
        (2048, 5000, 4096, "another model"),
        (2048, 5000, 32_768, "ctx = 8192"),
        (2048, 0, 0, "ctx = 4096"),
    ],
)
def test_no_hint_names_a_context_beyond_what_the_model_was_trained_for(
    ctx: int, tokens: int, trained: int, named: str
) -> None:
    """It would not understand a longer text."""
    hint = context_exceeded(ctx, "the prompt is too long", tokens=tokens, trained=trained).hint or ""
    assert named in hint
    assert ("ctx = " in hint) is named.startswith("ctx")


@pytest.mark.parametrize(
    ("ctx", "tokens", "larger"),
    [(4096, 0, 8192), (4096, 6540, 8192), (4096, 17_455, 32_768), (4096, 8192, 16_384)],
)
def test_the_context_that_a_hint_names_has_room_for_the_prompt(ctx: int, tokens: int, larger: int) -> None:
    """A client that sends forty tools would be refused again with twice the context."""
    hint = context_exceeded(ctx, "the prompt is too long", tokens=tokens).hint
    assert f"ctx = {larger} in the configuration file" in (hint or "")
