"""Other keys hardly notice one that asks for all it may."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.daemon import edgeinfer

OTHERS = [f"other-{n}" for n in range(12)]
HUNDREDS = {"n": 128, "max_tokens": 400, "ignore_eos": True}
GREEDY: dict[str, tuple[str, dict[str, Any]]] = {
    "answers": ("/v1/completions", {"prompt": "a", **HUNDREDS}),
    "prompts": ("/v1/completions", {"prompt": [f"{n} a" for n in range(128)], **HUNDREDS, "n": 1}),
    "long prompts": ("/v1/completions", {"prompt": [[65 + n % 26] * 900 for n in range(64)]}),
    "long inputs": ("/v1/embeddings", {"input": [[65 + n] * 900 for n in range(30)]}),
    "many inputs": ("/v1/embeddings", {"input": [f"{n} a short text" for n in range(2048)]}),
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A daemon whose model takes 2 ms a token, so that each of the above takes a minute."""
    folder = tmp_path_factory.mktemp("daemon")
    keys = folder / "keys"
    keys.write_text("\n".join(["greedy", *OTHERS]))
    keys.chmod(0o600)
    model = ("--model", "fake:2", "--ctx", "1024", "--parallel", "2", "--port", "0")
    with edgeinfer(folder, *model, "--api-key-file", str(keys)) as process:
        yield process.url()


@pytest.mark.parametrize("kind", GREEDY)
async def test_others_are_answered_before_the_one_who_asks_for_most(url: str, kind: str) -> None:
    """Twelve at once, with one token each; none gets a 429, and the greedy one's request is still under way."""
    path, body = GREEDY[kind]
    async with httpx.AsyncClient(base_url=url, timeout=100) as client:
        greedy = asyncio.create_task(client.post(path, json=body, headers={"x-api-key": "greedy"}))
        await asyncio.sleep(1)
        short = {"prompt": "b", "max_tokens": 1}
        posts = [client.post("/v1/completions", json=short, headers={"x-api-key": key}) for key in OTHERS]
        assert {200} == {response.status_code for response in await asyncio.gather(*posts)}
        assert not greedy.done()
        greedy.cancel()
        await asyncio.gather(greedy, return_exceptions=True)
        for _ in range(1000):
            if not await unfinished(client):
                break
            await asyncio.sleep(0.05)


async def unfinished(client: httpx.AsyncClient) -> int:
    stats = (await client.get("/status", headers={"x-api-key": "greedy"})).json()["stats"]
    count: int = stats["running"] + stats["waiting"]
    return count
