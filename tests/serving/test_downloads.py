"""Downloads while the service runs: shared, bounded, and ended with those who wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from edgeinfer.errors import DownloadFailed, HashMismatch, QueueFull, ShuttingDown, StoreError
from edgeinfer.serving.downloads import MAX_DOWNLOADS, Download, ModelDownloads, PullProgress


class ScriptedPuller:
    """Takes a step whenever `steps` is released.

    Attributes:
        pulled: names of the downloads that have begun.
        ended: of those that are over.
        refusal, failure: errors of `check` and of the last step.
    """

    def __init__(self, steps: int = 2) -> None:
        self.pulled: list[str] = []
        self.ended: list[str] = []
        self.refusal: StoreError | None = None
        self.failure: HashMismatch | None = None
        self.steps = steps
        self.step = asyncio.Semaphore(0)

    def key(self, name: str) -> str:
        return name.lower().removesuffix(":latest")

    def check(self) -> None:
        if self.refusal:
            raise self.refusal

    async def pull(self, name: str) -> AsyncGenerator[PullProgress, None]:
        self.pulled.append(name)
        try:
            for number in range(self.steps):
                await self.step.acquire()
                yield PullProgress(f"step {number}", None, self.steps, number + 1)
            if self.failure:
                raise self.failure
        finally:
            self.ended.append(name)


async def follow(downloads: ModelDownloads, name: str) -> list[str]:
    return [step.status async for step in downloads.follow(name)]


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_all_who_want_a_model_share_its_download() -> None:
    """Under whichever of its names they know it. Each sees it end."""
    puller = ScriptedPuller()
    downloads = ModelDownloads(puller)
    both = asyncio.gather(follow(downloads, "a"), follow(downloads, "A:latest"))
    await settled()
    for _ in range(puller.steps):
        puller.step.release()
        await settled()
    assert [["step 0", "step 1"]] * 2 == list(await both)
    assert (["a"], []) == (puller.pulled, downloads.running())


async def test_a_download_ends_with_its_last_follower() -> None:
    """As long as one is left it goes on."""
    puller = ScriptedPuller()
    downloads = ModelDownloads(puller)
    first, second = (asyncio.create_task(follow(downloads, "a")) for _ in range(2))
    await settled()
    first.cancel()
    await settled()
    assert [] == puller.ended
    second.cancel()
    await settled()
    assert (["a"], []) == (puller.ended, downloads.running())


async def test_a_kept_download_needs_no_follower() -> None:
    """It can be followed later, and cancelled by name; who follows it then gets an error."""
    puller = ScriptedPuller()
    downloads = ModelDownloads(puller)
    downloads.start("a", keep=True)
    await settled()
    puller.step.release()
    follower = asyncio.create_task(follow(downloads, "a"))
    await settled()
    download = downloads.get("a:latest")
    assert download
    assert PullProgress("step 0", None, 2, 1) == download.progress
    download.cancel()
    with pytest.raises(DownloadFailed, match="cancelled"):
        await follower
    assert ("cancelled", None) == (download.state, downloads.get("a"))


async def test_nobody_joins_a_download_that_ends() -> None:
    """Whoever comes while one is being cancelled gets a new one, and not its error."""
    puller = ScriptedPuller(steps=1)
    downloads = ModelDownloads(puller)
    old = downloads.start("a", keep=True)
    await settled()
    old.cancel()
    new = asyncio.create_task(follow(downloads, "a"))
    await settled()
    puller.step.release()
    assert ["step 0"] == await new
    assert (["a", "a"], "cancelled", []) == (puller.pulled, old.state, downloads.running())


async def test_a_slow_follower_misses_steps_but_not_the_last() -> None:
    """Nothing is queued for it."""
    puller = ScriptedPuller(steps=3)
    downloads = ModelDownloads(puller)
    async with aclosing(downloads.follow("a")) as steps:
        puller.step.release()
        assert "step 0" == (await anext(steps)).status
        puller.step.release()
        puller.step.release()
        await settled()
        assert ["step 2"] == [step.status async for step in steps]


async def test_a_step_is_repeated_while_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that passes it on learns by that whether its client is still there."""
    monkeypatch.setattr("edgeinfer.serving.downloads.REPEAT_INTERVAL", 0.01)
    puller = ScriptedPuller(steps=2)
    puller.step.release()
    async with aclosing(ModelDownloads(puller).follow("a")) as steps:
        assert ["step 0"] * 3 == [(await anext(steps)).status for _ in range(3)]


async def test_followers_get_the_error_of_a_download() -> None:
    """And the next attempt is a new one."""
    puller = ScriptedPuller(steps=0)
    puller.failure = HashMismatch("it is another file")
    downloads = ModelDownloads(puller)
    for _ in range(2):
        with pytest.raises(HashMismatch, match="another file"):
            await follow(downloads, "a")
    assert ["a", "a"] == puller.pulled


async def test_downloads_are_bounded() -> None:
    """One more than may run is refused, though not one that only joins."""
    downloads = ModelDownloads(ScriptedPuller())
    for number in range(MAX_DOWNLOADS):
        downloads.start(f"model-{number}", keep=True)
    with pytest.raises(QueueFull):
        downloads.start("one-more")
    downloads.start("model-0")
    await downloads.close()
    with pytest.raises(ShuttingDown):
        downloads.start("one-more")
    assert [] == downloads.running()


async def test_nothing_begins_where_nothing_may_be_written() -> None:
    """The reason comes before any step."""
    puller = ScriptedPuller()
    puller.refusal = StoreError("the store is read-only")
    with pytest.raises(StoreError, match="read-only"):
        ModelDownloads(puller).start("a")
    assert [] == puller.pulled


async def test_listeners_hear_of_every_download() -> None:
    """Of each step, and of the end."""
    heard: list[tuple[str, str]] = []

    def listen(download: Download) -> None:
        heard.append((download.name, download.state))

    puller = ScriptedPuller(steps=1)
    downloads = ModelDownloads(puller)
    downloads.listeners.append(listen)
    puller.step.release()
    await follow(downloads, "a")
    assert [("a", "running"), ("a", "finished")] == heard
