"""The real openai client against a real worker: what an application sees."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from tests.support.server import Served, eventually, serving

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    supervisor = LlamaClient(LlamaConfig(model="fake", name="fake", ctx=512, parallel=4))
    with serving(supervisor) as found:
        yield found


@pytest.fixture
def client(served: Served) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as found:
        yield found


@pytest.fixture
async def async_client(served: Served) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def text(client: OpenAI, **fields: object) -> str:
    found = client.chat.completions.create(model="fake", messages=HI, extra_body=fields)
    return found.choices[0].message.content or ""


def test_a_stream_says_what_the_whole_answer_says(client: OpenAI) -> None:
    """With one seed, by both ways, and with usage at the end."""
    whole = client.chat.completions.create(model="fake", messages=HI, seed=1, max_tokens=40)
    chunks = list(
        client.chat.completions.create(
            model="fake",
            messages=HI,
            seed=1,
            max_tokens=40,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert whole.choices[0].message.content == streamed
    assert whole.choices[0].finish_reason == next(
        c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason
    )
    assert whole.usage
    assert chunks[-1].usage
    assert whole.usage.total_tokens == chunks[-1].usage.total_tokens


def test_the_seed_decides(client: OpenAI) -> None:
    """Same seed, same text; another seed, another text."""
    one = text(client, seed=1, temperature=1.5, max_tokens=40)
    assert one == text(client, seed=1, temperature=1.5, max_tokens=40)
    assert one != text(client, seed=2, temperature=1.5, max_tokens=40)


def test_n_answers_are_independent_and_the_first_is_that_of_n_1(client: OpenAI) -> None:
    """Three draws from one prompt."""
    found = client.chat.completions.create(
        model="fake", messages=HI, n=3, seed=3, temperature=1.5, max_tokens=30
    )
    assert [c.index for c in found.choices] == [0, 1, 2]
    assert len({c.message.content for c in found.choices}) == 3
    assert found.choices[0].message.content == text(client, seed=3, temperature=1.5, max_tokens=30)


def test_n_answers_can_be_streamed(client: OpenAI) -> None:
    """Told apart by their index, each with its own end."""
    texts, ends = ["", "", ""], 0
    for chunk in client.chat.completions.create(
        model="fake", messages=HI, n=3, seed=3, max_tokens=30, stream=True
    ):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            ends += choice.finish_reason is not None
    assert ends == 3
    assert all(texts)


def test_stop_texts_end_the_answer_and_are_no_part_of_it(client: OpenAI) -> None:
    """A string or a list."""
    whole = text(client, seed=5, max_tokens=40, ignore_eos=True)
    stop = whole[10:12]
    found = client.chat.completions.create(
        model="fake", messages=HI, seed=5, max_tokens=40, stop=[stop, "\n"], extra_body={"ignore_eos": True}
    )
    assert found.choices[0].finish_reason == "stop"
    assert found.choices[0].message.content == whole[: whole.index(stop)]


def test_max_tokens_end_it_with_length(client: OpenAI) -> None:
    """And usage counts them."""
    found = client.chat.completions.create(
        model="fake", messages=HI, max_completion_tokens=7, extra_body={"ignore_eos": True}
    )
    assert found.choices[0].finish_reason == "length"
    assert found.usage
    assert found.usage.completion_tokens == 7


def test_chat_logprobs_spell_the_answer(client: OpenAI) -> None:
    """One entry a token, the likeliest beside it in order."""
    found = client.chat.completions.create(
        model="fake",
        messages=HI,
        logprobs=True,
        top_logprobs=3,
        max_tokens=10,
        extra_body={"ignore_eos": True},
    ).choices[0]
    assert found.logprobs
    content = found.logprobs.content or []
    assert "".join(t.token for t in content) == found.message.content
    for token in content:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        assert sorted((t.logprob for t in token.top_logprobs), reverse=True) == [
            t.logprob for t in token.top_logprobs
        ]


def test_completions_stream_or_whole_with_logprobs(client: OpenAI) -> None:
    """Text, tokens and offsets agree."""
    whole = client.completions.create(model="fake", prompt="Once", seed=1, logprobs=2, max_tokens=12)
    choice = whole.choices[0]
    assert choice.logprobs
    assert choice.logprobs.tokens
    assert "".join(choice.logprobs.tokens) == choice.text
    assert choice.logprobs.text_offset == list(range(len(choice.text)))
    stream = client.completions.create(model="fake", prompt="Once", seed=1, max_tokens=12, stream=True)
    assert choice.text == "".join(c.choices[0].text for c in stream)


def test_completions_of_several_prompts_and_tokens(client: OpenAI) -> None:
    """Tokens that say the same give the same."""
    texts = client.completions.create(model="fake", prompt=["ab", "cd"], seed=1, n=2, max_tokens=8)
    assert [c.index for c in texts.choices] == [0, 1, 2, 3]
    alone = client.completions.create(model="fake", prompt="cd", seed=1, n=2, max_tokens=8)
    assert [c.text for c in alone.choices] == [c.text for c in texts.choices[2:]]


def test_embeddings_are_the_same_in_both_encodings(client: OpenAI) -> None:
    """The client asks for base64 unless told otherwise."""
    packed = client.embeddings.create(model="fake", input=["a", "b"])
    plain = client.embeddings.create(model="fake", input=["a", "b"], encoding_format="float")
    assert len(packed.data) == 2
    assert packed.data[1].embedding == pytest.approx(plain.data[1].embedding)
    assert sum(x * x for x in packed.data[0].embedding) == pytest.approx(1, rel=1e-5)
    cut = client.embeddings.create(model="fake", input="abc", dimensions=100)
    assert len(cut.data[0].embedding) == 100


def test_models_can_be_listed_and_retrieved(client: OpenAI) -> None:
    """The id is what requests may name."""
    (model,) = list(client.models.list())
    assert client.models.retrieve(model.id).id == "fake"


def test_errors_are_the_client_s_own_classes(client: OpenAI) -> None:
    """Because statuses and the envelope are OpenAI's."""
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-4o", messages=HI)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as unsupported:
        client.chat.completions.create(model="fake", messages=HI, audio={"format": "wav", "voice": "alloy"})
    assert (unsupported.value.code, unsupported.value.param) == ("unsupported_parameter", "audio")
    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(model="fake", prompt="x" * 600)
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as long_stream:
        client.completions.create(model="fake", prompt="x" * 600, stream=True)
    assert long_stream.value.code == "context_length_exceeded"
    assert "This model's maximum context length is 512 tokens. However, the prompt has 60" in str(long.value)


def test_an_error_s_text_has_what_to_do(client: OpenAI) -> None:
    """The client shows nothing but the message."""
    with pytest.raises(openai.BadRequestError) as typo:
        text(client, temprature=0.5)
    assert "did you mean 'temperature'?" in str(typo.value)
    with pytest.raises(openai.NotFoundError) as missing:
        client.post("/chat/completion", cast_to=object, body={})
    assert "did you mean /v1/chat/completions?" in str(missing.value)


def test_many_at_once_say_the_same_as_one_after_the_other(client: OpenAI, served: Served) -> None:
    """More than run in parallel; batching must not show."""
    seeds = list(range(12))
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda seed: text(client, seed=seed, max_tokens=30), seeds))
    assert together == [text(client, seed=seed, max_tokens=30) for seed in seeds]


async def test_async_chat_whole_and_streamed(async_client: AsyncOpenAI) -> None:
    """The other half of the client."""
    whole = await async_client.chat.completions.create(model="default", messages=HI, seed=1, max_tokens=20)
    stream = await async_client.chat.completions.create(
        model="default", messages=HI, seed=1, max_tokens=20, stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert whole.choices[0].message.content == "".join(c.choices[0].delta.content or "" for c in chunks)


async def test_async_completions_embeddings_and_models(async_client: AsyncOpenAI) -> None:
    """Each endpoint once."""
    found = await async_client.completions.create(model="fake", prompt="Once", max_tokens=5)
    assert found.choices[0].text
    assert (await async_client.embeddings.create(model="fake", input="a")).data[0].embedding
    assert [m.id async for m in async_client.models.list()] == ["fake"]


async def test_leaving_an_async_stream_frees_the_worker(async_client: AsyncOpenAI, served: Served) -> None:
    """`break` is a disconnect, and a disconnect cancels."""
    stream = await async_client.chat.completions.create(
        model="fake", messages=HI, stream=True, max_tokens=400, extra_body={"ignore_eos": True}
    )
    async for _ in stream:
        break
    await stream.close()
    assert eventually(lambda: served.client.get("/status").json()["stats"]["running"] == 0)
