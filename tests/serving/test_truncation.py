"""A conversation that is longer than the context loses its beginning."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edgeinfer.chat.message import Message, Role
from edgeinfer.errors import context_exceeded
from edgeinfer.serving.truncation import longest_fitting, prompt_room


def conversation(roles: str) -> list[Message]:
    """A message for each letter: system, user, assistant, tool. Its content is its place."""
    names: dict[str, Role] = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [Message(role=names[letter], content=str(n)) for n, letter in enumerate(roles)]


async def kept(roles: str, room: int, uncountable: int = 1000) -> tuple[list[int], int]:
    """The places of the messages that are kept where `room` fit, and the attempts that took."""
    attempts = 0

    async def attempt(messages: Sequence[Message]) -> tuple[list[int], bool]:
        nonlocal attempts
        attempts += 1
        if len(messages) > uncountable:
            raise context_exceeded(1, "far more")
        return [int(message.content) for message in messages], len(messages) <= room

    return await longest_fitting(conversation(roles), attempt), attempts


@pytest.mark.parametrize(
    ("roles", "room", "expected"),
    [
        ("uau", 3, [0, 1, 2]),
        ("uauau", 3, [2, 3, 4]),
        ("uauau", 4, [2, 3, 4]),  # an end begins with the user
        ("suauau", 4, [0, 3, 4, 5]),
        ("uatau", 2, [4]),  # no result without its call
        ("suatatau", 3, [0, 7]),
        ("uausau", 4, [2, 3, 4, 5]),
        ("uau", 0, [2]),  # too long even so: the engine says it
        ("u", 0, [0]),
        ("aaa", 1, [0, 1, 2]),
    ],
)
async def test_the_longest_end_is_kept_that_fits(roles: str, room: int, expected: list[int]) -> None:
    """With all system messages."""
    assert expected == (await kept(roles, room))[0]


async def test_few_attempts_are_enough() -> None:
    """None of them but the first is much longer than the context. What is too long to be counted is only too long."""
    places, attempts = await kept("ua" * 500 + "u", 101, uncountable=500)
    assert list(range(900, 1001)) == places
    assert attempts <= 16


@pytest.mark.parametrize(
    ("max_tokens", "room"), [(None, 3072), (1, 4095), (100, 3996), (10_000, 3072), (0, 4095)]
)
def test_an_answer_gets_a_quarter_of_the_context_at_most(max_tokens: int | None, room: int) -> None:
    assert room == prompt_room(4096, max_tokens)
