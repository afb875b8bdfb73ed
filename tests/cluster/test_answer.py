"""One answer from several replicas: loss, silence, refusal, cancellation."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from edgeinfer.backends.llama_cpp.in_flight import ResumableGeneration
from edgeinfer.cluster.answer import FleetAnswer, LossPolicy
from edgeinfer.cluster.fleet import Fleet
from edgeinfer.cluster.routing import RoutingKey
from edgeinfer.errors import ContextLengthExceeded, InvalidRequest, ModelReplaced, WorkerDied
from edgeinfer.inference.sampling import SamplingParams
from tests.support.replica_groups import ScriptedGroup, fleet_of


def answer_of(fleet: Fleet, policy: LossPolicy | None = None, n: int = 1) -> FleetAnswer:
    request = ResumableGeneration([1, 2, 3], SamplingParams(seed=1), n)
    return FleetAnswer(fleet, request, RoutingKey("r", "scripted"), "", policy or LossPolicy("resume", 0.2))


async def text_of(answer: FleetAnswer) -> str:
    async with aclosing(answer.deltas()) as deltas:
        return "".join([delta.text async for delta in deltas])


async def test_an_answer_whose_replica_is_lost_goes_on_elsewhere() -> None:
    """The text is the same as without the loss: nothing twice, nothing left out."""
    first, second = ScriptedGroup("a"), ScriptedGroup("b")
    first.loses_after = 2
    answer = answer_of(await fleet_of(first, second))
    assert "one two three four" == await text_of(answer)
    assert ["a", "b"] == [source.hardware_class for source in answer.sources]
    assert 1 == answer.resumed


async def test_the_other_replica_gets_the_tokens_that_have_come() -> None:
    """And the steps in which they were computed, since there is a seed."""
    first, second = ScriptedGroup("a"), ScriptedGroup("b")
    first.loses_after = 2
    await text_of(answer_of(await fleet_of(first, second)))
    (partial,) = second.calls[0].partial_answers
    assert partial
    assert "one two " == bytes(partial.tokens).decode()
    assert [4, 4] == partial.step_sizes
    assert [1, 2] == [first.calls[0].id, second.calls[0].id]


async def test_a_replica_that_is_silent_is_left() -> None:
    """It may only be cut off: its stream is closed, and nothing of it is read any more."""
    first, second = ScriptedGroup("a"), ScriptedGroup("b")
    first.silent_after = 1
    assert "one two three four" == await text_of(answer_of(await fleet_of(first, second)))
    assert 1 == first.cancelled


async def test_several_answers_go_on_together() -> None:
    first, second = ScriptedGroup("a"), ScriptedGroup("b")
    first.loses_after = 3
    answer = answer_of(await fleet_of(first, second), n=2)
    texts = ["", ""]
    async for delta in answer.deltas():
        texts[delta.index] += delta.text
    assert ["one two three four"] * 2 == texts


async def test_an_answer_may_fail_with_its_node() -> None:
    """With on_node_loss = "fail" nobody else continues it."""
    first, second = ScriptedGroup("a"), ScriptedGroup("b")
    first.loses_after = 2
    answer = answer_of(await fleet_of(first, second), LossPolicy("fail", 0.2))
    with pytest.raises(WorkerDied, match="node-a"):
        await text_of(answer)
    assert not second.calls


async def test_another_quantization_goes_on_only_where_that_is_wanted_and_the_answer_says_so() -> None:
    """With on_node_loss = "resume" the end of the answer names both files."""
    first, second = ScriptedGroup("a", "F16"), ScriptedGroup("b", "Q4_K_M")
    first.loses_after = 2
    answer = answer_of(await fleet_of(first, second), LossPolicy("resume", 0.2))
    deltas = [delta async for delta in answer.deltas()]
    assert "one two three four" == "".join(delta.text for delta in deltas)
    finish = deltas[-1].finish
    assert finish
    assert ("scripted F16", "scripted Q4_K_M") == finish.models


async def test_the_same_file_goes_on_and_no_other() -> None:
    """With on_node_loss = "same-model" a node with another quantization refuses, and one with the same is found."""
    first, second, third = ScriptedGroup("a", "F16"), ScriptedGroup("b", "Q4_K_M"), ScriptedGroup("c", "F16")
    first.loses_after = 2
    answer = answer_of(await fleet_of(first, second, third), LossPolicy("same-model", 0.2))
    deltas = [delta async for delta in answer.deltas()]
    assert "one two three four" == "".join(delta.text for delta in deltas)
    assert ["a", "c"] == [source.hardware_class for source in answer.sources]
    assert deltas[-1].finish
    assert () == deltas[-1].finish.models


async def test_an_answer_that_has_not_begun_never_fails_with_its_node() -> None:
    first, second = ScriptedGroup("a"), ScriptedGroup("b")
    first.loses_after = 0
    answer = answer_of(await fleet_of(first, second), LossPolicy("fail", 0.2))
    assert "one two three four" == await text_of(answer)


async def test_a_prompt_too_long_for_one_class_goes_to_another() -> None:
    """Each class has its own plan, and so its own context."""
    first, second = ScriptedGroup("a"), ScriptedGroup("b")
    first.error = ContextLengthExceeded("too long for node-a")
    assert "one two three four" == await text_of(answer_of(await fleet_of(first, second)))


async def test_the_error_is_that_of_the_last_replica_if_none_can_answer() -> None:
    first, second = ScriptedGroup("a"), ScriptedGroup("b")
    first.error = ContextLengthExceeded("too long for node-a")
    second.error = ContextLengthExceeded("too long for node-b")
    with pytest.raises(ContextLengthExceeded, match="node-b"):
        await text_of(answer_of(await fleet_of(first, second)))


async def test_an_invalid_request_is_not_tried_again() -> None:
    first, second = ScriptedGroup("a"), ScriptedGroup("b")
    first.error = InvalidRequest("no such thing")
    with pytest.raises(InvalidRequest):
        await text_of(answer_of(await fleet_of(first, second)))
    assert not second.calls


async def test_a_replica_that_shuts_down_hands_its_answer_over() -> None:
    first, second = ScriptedGroup("a"), ScriptedGroup("b")
    first.error = ModelReplaced("it was unloaded")
    assert "one two three four" == await text_of(answer_of(await fleet_of(first, second)))


async def test_a_gone_client_cancels_its_request() -> None:
    """The stream of the replica is closed, which ends the answer there."""
    first = ScriptedGroup("a")
    first.silent_after = 1
    fleet = await fleet_of(first)
    answer = answer_of(fleet, LossPolicy("resume", 60))
    task = asyncio.create_task(text_of(answer))
    while not first.engine.running:  # noqa: ASYNC110
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 1 == first.cancelled
    assert 0 == fleet.outstanding["a"]


async def test_an_answer_waits_for_a_replica_that_comes_back() -> None:
    """With one replica there is none to go to until it has been replaced."""
    only = ScriptedGroup("a")
    only.silent_after = 1
    fleet = await fleet_of(only)
    answer = answer_of(fleet)
    task = asyncio.create_task(text_of(answer))
    while len(only.calls) < 3:
        await fleet.update()
        await asyncio.sleep(0.05)
    only.silent_after = None
    assert "one two three four" == await task
