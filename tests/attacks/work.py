"""Requests that are allowed, and much work: their caller waits for them, no other one."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from itertools import count

from tests.attacks.target import Target

AT_ONCE = 8
WORDS = "the quick brown fox jumps over the lazy dog "
_numbers = count()

Request = tuple[str, dict[str, object]]


def sender(make: Callable[[], Request]) -> Callable[[Target], None]:
    """An attack that has AT_ONCE of these requests under way."""

    def send(target: Target) -> None:
        threads = [threading.Thread(target=_send, args=(target, make), daemon=True) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, target.end - time.monotonic()) + 1)  # what is under way is cancelled

    return send


def _send(target: Target, make: Callable[[], Request]) -> None:
    while not target.is_over():
        path, body = make()
        try:
            target.post(path, body, 120)
        except (OSError, http.client.HTTPException):
            return


def _chat(text: str, **fields: object) -> Request:
    return "/v1/chat/completions", {"messages": [{"role": "user", "content": text}], **fields}


def many_answers() -> Request:
    return _chat("Tell me a story", n=128, max_tokens=200, ignore_eos=True)


def many_prompts() -> Request:
    prompts = [f"{next(_numbers)} {WORDS}" for _ in range(128)]
    return "/v1/completions", {"prompt": prompts, "max_tokens": 100, "ignore_eos": True}


def endless_answers() -> Request:
    return _chat(f"{next(_numbers)}", ignore_eos=True)


def long_prompts() -> Request:
    """No two of them begin alike."""
    return "/v1/completions", {"prompt": [next(_numbers) % 200 + 5] + [7, 11, 13] * 600, "max_tokens": 1}


def long_inputs() -> Request:
    return "/v1/embeddings", {"input": [[next(_numbers) % 200 + 5] * 2000 for _ in range(30)]}


def many_inputs() -> Request:
    return "/v1/embeddings", {"input": [f"{next(_numbers)} {WORDS}" for _ in range(2048)]}


def long_tokenizations() -> Request:
    return "/tokenize", {"content": WORDS * 5900}


def long_templates() -> Request:
    messages = [{"role": "user" if n % 2 == 0 else "assistant", "content": WORDS} for n in range(2001)]
    return "/apply-template", {"messages": messages}


def hard_grammars() -> Request:
    """No two of them are the same."""
    names = [f"field_{next(_numbers)}" for _ in range(150)]
    schema = {
        "type": "object",
        "properties": {name: {"type": "string", "pattern": "^[a-z]{1,40}$"} for name in names},
        "required": names,
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    return _chat("Hi", response_format=form, max_tokens=1)
