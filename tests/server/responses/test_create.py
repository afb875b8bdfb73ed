"""POST /v1/responses, whole: what the real client is answered."""

from __future__ import annotations

import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from pydantic import BaseModel

from edgeinfer.inference.output import Finish
from tests.support.responses import THINKING, THINKING_AND_CALLING, WEATHER, ResponsesWorld, call
from tests.support.server import error


class Author(BaseModel):
    name: str
    born: int


def test_a_text_is_answered_with_a_message(client: OpenAI, world: ResponsesWorld) -> None:
    """With the instructions before it, and usage."""
    response = client.responses.create(model="scripted", input="Hi", instructions="Be brief.")
    assert response.output_text == "Hello"
    assert world.prompt() == "[system]Be brief.\n[user]Hi\n[assistant]"
    assert response.status == "completed"
    assert response.id.startswith("resp_")
    assert response.usage
    assert (5, 1, 2, 7) == (
        response.usage.input_tokens,
        response.usage.input_tokens_details.cached_tokens,
        response.usage.output_tokens,
        response.usage.total_tokens,
    )
    (message,) = response.output
    assert message.type == "message"
    assert (message.role, message.status) == ("assistant", "completed")
    assert message.id.startswith("msg_")


def test_a_response_repeats_what_the_request_said(world: ResponsesWorld) -> None:
    """Field by field, as it came."""
    tool = {
        "type": "function",
        "name": "f",
        "parameters": {"type": "object", "properties": {}},
        "strict": False,
    }
    said = {
        "instructions": "Be brief.",
        "max_output_tokens": 50,
        "max_tool_calls": 3,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "prompt_cache_key": "k",
        "reasoning": {"effort": "low", "summary": "auto"},
        "safety_identifier": "s",
        "service_tier": "auto",
        "store": False,
        "temperature": 0.5,
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "tool_choice": "none",
        "tools": [tool],
        "top_p": 0.9,
        "truncation": "auto",
        "user": "u",
    }
    body = world.post(**said).json()
    assert said == {name: body[name] for name in said}
    assert body["background"] is False
    assert body["error"] is None
    assert body["incomplete_details"] is None
    assert body["completed_at"] >= body["created_at"]


def test_thoughts_are_an_item_of_their_own(client: OpenAI, world: ResponsesWorld) -> None:
    """As text, with the tokens that they took; in a form to send back, if that is asked for."""
    world.engine.model, world.engine.pieces = THINKING, ("hm", "m", "</think>", "\n\nYes")
    response = client.responses.create(model="scripted", input="Hi", include=["reasoning.encrypted_content"])
    thoughts = response.output[0]
    assert thoughts.type == "reasoning"
    assert thoughts.content
    assert thoughts.content[0].text == "hmm"
    assert thoughts.summary == []
    assert thoughts.encrypted_content
    assert response.output_text == "Yes"
    assert response.usage
    assert response.usage.output_tokens_details.reasoning_tokens == 3  # tokens are letters here
    without = client.responses.create(model="scripted", input="Hi").output[0]
    assert without.type == "reasoning"
    assert without.encrypted_content is None


def test_the_beginning_of_a_call_is_no_thought(client: OpenAI, world: ResponsesWorld) -> None:
    """Although nothing is told of it before its name is whole."""
    world.engine.model = THINKING_AND_CALLING
    world.engine.pieces = (*"hmm</think>", *call("weather", {"place": "Rome"}))
    response = client.responses.create(model="scripted", input="Hi", tools=[WEATHER])  # type: ignore[list-item]
    assert response.usage
    assert response.usage.output_tokens_details.reasoning_tokens == 3


def test_thoughts_are_a_summary_where_one_is_asked_for(client: OpenAI, world: ResponsesWorld) -> None:
    """Clients that ask show nothing else."""
    world.engine.model, world.engine.pieces = THINKING, ("hmm", "</think>", "Yes")
    response = client.responses.create(model="scripted", input="Hi", reasoning={"summary": "auto"})
    thoughts = response.output[0]
    assert thoughts.type == "reasoning"
    assert [part.text for part in thoughts.summary] == ["hmm"]
    assert thoughts.content is None


def test_an_answer_that_is_cut_is_incomplete(
    client: OpenAI, world: ResponsesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says why, and what there is of it."""
    cut = Finish("length", 5, 1, 2)
    monkeypatch.setattr("edgeinfer.inference.fake.fake_finish", lambda *_: cut)
    response = client.responses.create(model="scripted", input="Hi", max_output_tokens=2)
    assert response.status == "incomplete"
    assert response.incomplete_details
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output_text == "Hello"
    assert response.completed_at is None
    assert world.engine.requests[0][1].max_tokens == 2


def test_an_answer_without_text_is_an_empty_message(client: OpenAI, world: ResponsesWorld) -> None:
    """Not nothing at all."""
    world.engine.pieces = ("",)
    response = client.responses.create(model="scripted", input="Hi")
    (message,) = response.output
    assert message.type == "message"
    assert response.output_text == ""


def test_parse_makes_objects_of_the_answer(client: OpenAI, world: ResponsesWorld) -> None:
    """The schema of the class is enforced."""
    world.engine.pieces = ('{"name": "Goethe", ', '"born": 1749}')
    response = client.responses.parse(model="scripted", input="Who?", text_format=Author)
    assert response.output_parsed == Author(name="Goethe", born=1749)
    assert world.engine.structured.grammar


def test_log_probabilities_come_with_the_text(client: OpenAI, world: ResponsesWorld) -> None:
    """Where `include` says so."""
    response = client.responses.create(
        model="scripted", input="Hi", include=["message.output_text.logprobs"], top_logprobs=0
    )
    (message,) = response.output
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "output_text"
    assert part.logprobs
    assert "".join(entry.token for entry in part.logprobs) == "Hello"
    assert world.engine.requests[0][1].logprobs == 0


def test_sampling_reaches_the_engine(world: ResponsesWorld) -> None:
    """OpenAI's two fields, and those that local models know."""
    world.post(temperature=0.3, top_p=0.5, top_k=3, seed=7)
    params = world.engine.requests[0][1]
    assert (params.temperature, params.top_p, params.top_k, params.seed) == (0.3, 0.5, 3, 7)


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"background": True}, "background", "stream"),
        ({"conversation": "conv_1"}, "conversation", "previous_response_id"),
        ({"prompt": {"id": "p"}}, "prompt", "instructions"),
        ({"top_logprobs": 3}, "top_logprobs", "include"),
        ({"input": []}, "input", "missing"),
        (
            {"input": [{"type": "compaction", "encrypted_content": "x"}]},
            "input",
            "nothing that the model can read",
        ),
        ({"tool_choice": "required"}, "tool_choice", "no tools"),
        ({"tool_choice": {"type": "function", "name": "g"}}, "tool_choice.name", "no tool"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "16"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content", "string"),
        (
            {"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]},
            "input[0].call_id",
            "missing",
        ),
        (
            {
                "input": [
                    {"role": "user", "content": "Time?"},
                    {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
                ]
            },
            "input",
            "function_call_output",
        ),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema", "missing"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    world: ResponsesWorld, fields: dict[str, object], param: str, words: str
) -> None:
    """With OpenAI's envelope, and what to do instead."""
    response = world.post(**fields)
    assert response.status_code == 400
    assert error(response)["param"] == param
    assert words in error(response)["message"]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"type": "input_image", "image_url": "data:,"}, "describe"),
        ({"type": "input_file", "file_data": ""}, "input_text"),
        ({"type": "input_audio", "input_audio": {}}, "transcript"),
    ],
)
def test_what_is_no_text_is_refused_with_a_sentence(
    world: ResponsesWorld, part: dict[str, object], words: str
) -> None:
    """It says what to send instead."""
    items = [{"role": "user", "content": [{"type": "input_text", "text": "See"}, part]}]
    response = world.post(input=items)
    assert response.status_code == 400
    assert error(response)["param"] == "input[0].content[1].type"
    assert words in error(response)["message"]


def test_the_client_raises_its_own_errors(client: OpenAI) -> None:
    """By the status."""
    with pytest.raises(BadRequestError, match=r"reasoning\.effort"):
        client.responses.create(model="scripted", input="Hi", extra_body={"reasoning": {"effort": "huge"}})
    with pytest.raises(NotFoundError, match="no such model"):
        client.responses.create(model="gpt-99", input="Hi")
