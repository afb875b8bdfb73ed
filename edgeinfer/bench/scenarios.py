"""What a server is measured at: each scenario asks one server once, and returns a figure."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from edgeinfer.bench.openai_server import Json, OpenAIServer, Refused, Stream

WORDS = ["time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school"]
"""One token each, in the vocabularies of most models. No cache has a prompt of them in random order."""

FORM: Json = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 24},
        "year": {"type": "integer", "minimum": 1900, "maximum": 2100},
        "languages": {
            "type": "array",
            "items": {"enum": ["en", "de", "fr", "zh"]},
            "minItems": 2,
            "maxItems": 2,
        },
        "publisher": {
            "type": "object",
            "properties": {
                "company_name": {"type": "string", "maxLength": 24},
                "country_code": {"type": "string", "pattern": "^[A-Z]{2}$"},
                "independent": {"type": "boolean"},
            },
            "required": ["company_name", "country_code", "independent"],
            "additionalProperties": False,
        },
    },
    "required": ["title", "year", "languages", "publisher"],
    "additionalProperties": False,
}


class BenchLoad(NamedTuple):
    """How much is asked: tokens of answers, words of prompts, answers at a time."""

    answer: int = 128
    short_answer: int = 64
    brief_answer: int = 16
    turn_answer: int = 24
    running_answer: int = 160
    form_answer: int = 256
    prompt: int = 32
    brief_prompt: int = 16
    turn_prompt: int = 24
    long_prompt: int = 900
    conversation_system: int = 300
    turns: int = 6
    concurrent: int = 8


FULL = BenchLoad()
QUICK = BenchLoad(32, 8, 4, 4, 32, 256, 8, 8, 8, 60, 30, 3, 3)
"""Enough to see that everything works, in a context of 512 tokens."""

Measure = Callable[[OpenAIServer, random.Random, BenchLoad], Awaitable[float]]


class Scenario(NamedTuple):
    """One figure of a server. `rate`: a higher one is better."""

    measure: Measure
    unit: str
    about: str
    rate: bool = True


def random_text(words: int, chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=words))


async def single(server: OpenAIServer, chance: random.Random, load: BenchLoad) -> float:
    return (await server.ask(random_text(load.prompt, chance), load.answer)).rate


async def free(server: OpenAIServer, chance: random.Random, load: BenchLoad) -> float:
    text = random_text(load.prompt, chance)
    return (await server.ask(text, load.answer, temperature=1, seed=1)).rate


async def predicted(server: OpenAIServer, chance: random.Random, load: BenchLoad) -> float:
    prompt = random_text(load.prompt, chance)
    said = (await server.ask(prompt, load.answer)).text
    prediction = {"type": "content", "content": said}
    return (await server.ask(prompt, load.answer, prediction=prediction)).rate


async def concurrent(server: OpenAIServer, chance: random.Random, load: BenchLoad) -> float:
    started = time.perf_counter()
    streams = await _together(
        *(server.ask(random_text(load.prompt, chance), load.short_answer) for _ in range(load.concurrent))
    )
    return sum(s.tokens for s in streams) / (time.perf_counter() - started)


async def prefill(server: OpenAIServer, chance: random.Random, load: BenchLoad) -> float:
    stream = await server.ask(random_text(load.long_prompt, chance), 2)
    return stream.prompt_tokens / stream.times[0]


async def shared(server: OpenAIServer, chance: random.Random, load: BenchLoad) -> float:
    system = random_text(load.long_prompt, chance)
    await server.ask(random_text(load.brief_prompt, chance), 2, system)
    started = time.perf_counter()
    await _together(
        *(
            server.ask(random_text(load.brief_prompt, chance), load.brief_answer, system)
            for _ in range(load.concurrent)
        )
    )
    return time.perf_counter() - started


async def structured(server: OpenAIServer, chance: random.Random, load: BenchLoad) -> float:
    started = time.perf_counter()
    stream = await server.ask(random_text(load.prompt, chance), load.form_answer, form=FORM)
    seconds = time.perf_counter() - started
    _check_form(stream)
    return stream.tokens / seconds


async def long(server: OpenAIServer, chance: random.Random, load: BenchLoad) -> float:
    streams = await _together(
        *(
            server.ask(random_text(load.long_prompt, chance), load.short_answer)
            for _ in range(load.concurrent)
        )
    )
    begin, end = max(s.times[0] for s in streams), max(s.times[-1] for s in streams)
    if end <= begin:
        raise Refused("the answer came in one piece")
    # A part may hold several tokens, and several parts may come at once.
    tokens = sum(s.tokens / len(s.times) * sum(t > begin for t in s.times) for s in streams)
    return tokens / (end - begin)


async def turns(server: OpenAIServer, chance: random.Random, load: BenchLoad) -> float:
    system, said, firsts = random_text(load.conversation_system, chance), "", []
    for _ in range(load.turns):
        said += " " + random_text(load.turn_prompt, chance)
        firsts.append((await server.ask(said, load.turn_answer, system)).times[0])
    return statistics.median(firsts[1:]) * 1e3


async def conversation(server: OpenAIServer, chance: random.Random, load: BenchLoad) -> float:
    messages: list[Json] = [{"role": "system", "content": random_text(load.conversation_system, chance)}]
    firsts = []
    for _ in range(load.turns):
        messages.append({"role": "user", "content": random_text(load.turn_prompt, chance)})
        stream = await server.converse(messages, load.turn_answer)
        firsts.append(stream.times[0])
        messages.append({"role": "assistant", "content": stream.text or WORDS[0]})
    return statistics.median(firsts[1:]) * 1e3


async def mixed(server: OpenAIServer, chance: random.Random, load: BenchLoad) -> float:
    answers = [
        asyncio.create_task(server.ask(random_text(load.prompt, chance), load.running_answer))
        for _ in range(2)
    ]
    await asyncio.sleep(1)
    for _ in range(3):
        await server.ask(random_text(load.long_prompt, chance), 2)
    streams = await asyncio.gather(*answers)
    return max(gap for s in streams for gap in s.gaps)


SCENARIOS = {
    "single": Scenario(single, "tok/s", "one answer, once it has begun"),
    "free": Scenario(free, "tok/s", "the same at temperature 1"),
    "concurrent": Scenario(concurrent, "tok/s", "answers at a time, prompts included, in total"),
    "prefill": Scenario(prefill, "tok/s", "reading a new prompt"),
    "shared": Scenario(shared, "s", "answers at a time to prompts that begin alike", rate=False),
    "turns": Scenario(turns, "ms", "first token of a prompt that continues the one before", rate=False),
    "conversation": Scenario(conversation, "ms", "first token of a conversation's next turn", rate=False),
    "structured": Scenario(structured, "tok/s", "an answer held to a JSON schema, from request to end"),
    "predicted": Scenario(predicted, "tok/s", "an answer that the request predicts, once it has begun"),
    "long": Scenario(long, "tok/s", "answers at a time to long prompts, once all have begun, in total"),
    "mixed": Scenario(mixed, "s", "longest gap in answers while long prompts arrive", rate=False),
}


async def _together(*asking: Awaitable[Stream]) -> list[Stream]:
    """Wait for all answers, also if one of them is refused: the next scenario has to find the server idle."""
    streams = await asyncio.gather(*asking, return_exceptions=True)
    if error := next((stream for stream in streams if isinstance(stream, BaseException)), None):
        raise error
    return [stream for stream in streams if isinstance(stream, tuple)]


def _check_form(stream: Stream) -> None:
    """Raise Refused if a whole answer is not of the form, or an unfinished one does not begin like it."""
    text = stream.text.strip()
    if stream.finish_reason == "length":
        if text.startswith("{"):
            return
    else:
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict) and set(FORM["required"]) <= answer.keys():
            return
    raise Refused("the answer does not keep to the schema")
