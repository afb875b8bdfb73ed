"""The fake engine follows its script, and keeps to the contract of an engine client."""

from __future__ import annotations

import time
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from edgeinfer.errors import ModelLoadFailed, ModelReplaced, NotReady, ShuttingDown
from edgeinfer.inference.fake import SCRIPTED_MODEL, FakeEngineClient
from edgeinfer.inference.output import Finish
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import Span

PROMPT = [Span("Hi")]


async def test_each_answer_is_the_script_and_finishes_once() -> None:
    """The request is recorded."""
    engine = FakeEngineClient("a", "b", "c")
    await engine.start()
    params = SamplingParams(logprobs=0)
    texts, finishes = ["", ""], dict[int, Finish]()
    async with aclosing(engine.generate(PROMPT, params, n=2)) as deltas:
        async for delta in deltas:
            assert delta.index not in finishes
            assert delta.logprobs
            texts[delta.index] += delta.text
            if delta.finish:
                finishes[delta.index] = delta.finish
    assert ["abc", "abc"] == texts
    assert [3, 3] == [finish.completion_tokens for finish in finishes.values()]
    assert [(PROMPT, params, 2)] == engine.requests
    assert (0, 1) == (engine.running, engine.ended)


async def test_closing_the_generator_ends_the_request() -> None:
    """No more of the script follows."""
    engine = FakeEngineClient()
    async with aclosing(engine.generate(PROMPT, SamplingParams())) as deltas:
        assert "Hel" == (await anext(deltas)).text
        assert (1, 0) == (engine.running, engine.ended)
    assert (0, 1) == (engine.running, engine.ended)


async def test_hooks_may_fail_a_request_and_delays_hold_it() -> None:
    """The error comes where the hook is called."""
    engine = FakeEngineClient()
    engine.hold_first = 0.05

    def fail() -> None:
        raise ZeroDivisionError

    engine.before_last = fail
    started = time.monotonic()
    deltas = engine.generate(PROMPT, SamplingParams())
    assert "Hel" == (await anext(deltas)).text
    assert time.monotonic() - started >= 0.04
    with pytest.raises(ZeroDivisionError):
        await anext(deltas)
    assert 1 == engine.ended


async def test_prompt_of_another_revision_is_refused() -> None:
    """Nothing is generated for it."""
    engine = FakeEngineClient(model=replace(SCRIPTED_MODEL, revision="new"))
    with pytest.raises(ModelReplaced):
        await anext(engine.generate(PROMPT, SamplingParams(), revision="old"))
    assert [] == engine.requests
    assert "Hel" == (await anext(engine.generate(PROMPT, SamplingParams(), revision="new"))).text


async def test_state_decides_what_ready_does() -> None:
    """It goes from "starting" to "ready" to "stopped", or wherever a test sets it."""
    engine = FakeEngineClient()
    assert (None, "starting") == (engine.info, engine.state)
    with pytest.raises(NotReady, match="starting"):
        await engine.ready()
    await engine.start()
    assert SCRIPTED_MODEL is await engine.ready() is engine.info
    engine.last_error = ModelLoadFailed("no such file")
    with pytest.raises(ModelLoadFailed):
        await engine.ready()
    engine.last_error = None
    await engine.kill()
    await engine.start()
    assert "stopped" == engine.health.state
    with pytest.raises(ShuttingDown):
        await engine.ready()


async def test_tokens_are_bytes() -> None:
    """Text makes a round trip, and inputs have vectors."""
    engine = FakeEngineClient()
    tokens = await engine.tokenize([Span("é")], add_bos=True)
    assert [256, 0xC3, 0xA9] == tokens.ids
    assert [b"<s>", b"\xc3", b"\xa9"] == tokens.pieces
    assert "é" == await engine.detokenize(tokens.ids[1:])
    embeddings = await engine.embed([[Span("a")], [98]])
    assert ([16, 16], 6) == ([len(vector) for vector in embeddings.vectors], embeddings.tokens)
