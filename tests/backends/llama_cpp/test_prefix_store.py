"""What is kept of prompts from one worker to the next: only what fits is used, and nobody else can read it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.messages import PrefixCacheConfig
from edgeinfer.backends.llama_cpp.worker.prefix_store import LEAST, load, save
from edgeinfer.engine.engine import Engine
from edgeinfer.engine.fake import FakeBackend
from edgeinfer.inference.output import Finish
from edgeinfer.inference.sampling import SamplingParams
from tests.support.engine import LAYOUTS, Clock, Driver
from tests.support.llama import config
from tests.support.llama_client import generate, supervised

PROMPT = "You are a small assistant on this device, and you answer in few words. " * 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "prefixes"


def prefix_cache(folder: Path, megabytes: int = 100) -> PrefixCacheConfig:
    return PrefixCacheConfig(str(folder), megabytes)


def fresh(given: LlamaConfig) -> Engine:
    return Engine(FakeBackend(given), given, Clock())


def full(given: LlamaConfig, *prompts: str) -> Driver:
    """An engine that has answered these."""
    driver = Driver(given)
    for id, prompt in enumerate(prompts):
        driver.add(id, prompt, max_tokens=2, ignore_eos=True)
        driver.run()
    return driver


def files(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.iterdir())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_was_read_last_is_there_again(layout: str, folder: Path) -> None:
    """In the order of its use, and right to the last cell: the books balance, and answers are the same."""
    given = config(layout, ctx=512, parallel=2, cells=3 * 512)
    prompts = [f"{i} {PROMPT}" for i in range(3)]
    old = full(given, *prompts)
    save(prefix_cache(folder), given, old.engine.cache)
    new = Driver(given)
    assert load(prefix_cache(folder), given, new.engine.cache) == sum(len(p) + 1 for p in prompts)
    new.engine.check_integrity()
    assert [s.tokens for s in old.engine.cache.resident_slots()] == [
        s.tokens for s in new.engine.cache.resident_slots()
    ]
    for id, prompt in enumerate(prompts):
        new.add(id, prompt, max_tokens=20, ignore_eos=True)
    new.run()
    for id, prompt in enumerate(prompts):
        alone = full(given)
        alone.add(id, prompt, max_tokens=20, ignore_eos=True)
        assert alone.run().text == new.answers[id, 0].text
        assert new.answers[id, 0].finish.cached_tokens == len(prompt) - 1


def test_nobody_else_can_read_it(folder: Path) -> None:
    """It is what people asked."""
    given = config(ctx=512)
    save(prefix_cache(folder), given, full(given, PROMPT).engine.cache)
    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
    assert [0o600] == [stat.S_IMODE(path.stat().st_mode) for path in files(folder)]


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_that_others_reach_is_not_used(
    folder: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever writes there would write into the worker's memory."""
    given = config(ctx=512)
    save(prefix_cache(folder), given, full(given, PROMPT).engine.cache)
    folder.chmod(mode)
    assert 0 == load(prefix_cache(folder), given, fresh(given).cache)
    save(prefix_cache(folder), given, full(given, PROMPT, "another " + PROMPT).engine.cache)
    assert 1 == len(list(files(folder)))
    assert 2 == caplog.text.count("only an own directory")


@pytest.mark.parametrize(
    "other",
    [
        {"kv_type": "q8_0"},
        {"flash_attention": True},
        {"layout": "unified"},
        {"model": "another"},
        {"repack": False},
        {"ctx": 100},
    ],
    ids=str,
)
def test_what_does_not_fit_is_not_used(folder: Path, other: dict[str, Any]) -> None:
    """llama.cpp would believe anything."""
    given = config(ctx=512)
    save(prefix_cache(folder), given, full(given, PROMPT).engine.cache)
    changed = replace(given, **other)
    assert 0 == load(prefix_cache(folder), changed, fresh(changed).cache)
    assert load(prefix_cache(folder), given, fresh(given).cache)


def test_another_model_under_the_same_name_is_another_model(tmp_path: Path, folder: Path) -> None:
    """Size, time and the beginning of the file count."""
    model = tmp_path / "m.gguf"
    model.write_bytes(b"one")
    given = config(ctx=512, model=str(model))
    times = model.stat().st_atime_ns, model.stat().st_mtime_ns
    save(prefix_cache(folder), given, full(given, PROMPT).engine.cache)
    model.write_bytes(b"two")
    os.utime(model, ns=times)
    assert 0 == load(prefix_cache(folder), given, fresh(given).cache)
    model.write_bytes(b"one")
    assert 0 == load(prefix_cache(folder), given, fresh(given).cache)
    os.utime(model, ns=times)
    assert load(prefix_cache(folder), given, fresh(given).cache)


@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "empty", "garbage", "line"])
def test_damaged_files_are_not_used(folder: Path, damage: str) -> None:
    """A disk may have been full, or the power gone."""
    given = config(ctx=512)
    save(prefix_cache(folder), given, full(given, PROMPT, "another " + PROMPT).engine.cache)
    path, _ = files(folder)
    content = path.read_bytes()
    path.write_bytes(
        {
            "flip": content[:-1] + bytes([content[-1] ^ 1]),
            "cut": content[:-4],
            "longer": content + b"\0",
            "empty": b"",
            "garbage": b"\xff" * 1000,
            "line": content.partition(b"\n")[0],
        }[damage]
    )
    assert len(PROMPT) + 1 == load(prefix_cache(folder), given, fresh(given).cache)


def test_no_more_is_kept_than_may_be(folder: Path) -> None:
    """What was used last goes first, and what is there from before goes too."""
    given = config(ctx=2048, parallel=2, cells=3 * 2048)
    long = "x" * 2000  # the fake keeps 4 bytes a token: 8 KB
    save(PrefixCacheConfig(str(folder), 1), given, full(given, long, "y" + long).engine.cache)
    assert 2 == len(list(files(folder)))
    driver = full(given, long, "y" + long)
    driver.engine.cache.backend.save = lambda sequence: bytes(700_000)  # type: ignore[method-assign]
    save(PrefixCacheConfig(str(folder), 1), given, driver.engine.cache)
    (only,) = files(folder)
    assert 700_000 < only.stat().st_size < 800_000


def test_what_is_short_or_within_another_is_not_kept(folder: Path) -> None:
    given = config("unified", ctx=512, parallel=2, cells=2048)
    driver = full(given, "x" * (LEAST - 2), PROMPT + " and more", PROMPT)
    assert 3 == len(driver.engine.cache.resident_slots())
    save(prefix_cache(folder), given, driver.engine.cache)
    assert 2 == len(list(files(folder)))


def test_a_smaller_cache_takes_what_it_can(folder: Path) -> None:
    """The last used, as many as there are places."""
    given = config(ctx=512, parallel=3, cells=4 * 512)
    prompts = [f"{i} {PROMPT}" for i in range(4)]
    save(prefix_cache(folder), given, full(given, *prompts).engine.cache)
    less = replace(given, parallel=1, cells=2 * 512)
    engine = fresh(less)
    assert 2 * (len(prompts[0]) + 1) == load(prefix_cache(folder), less, engine.cache)
    engine.check_integrity()


def test_where_nothing_can_be_written_nothing_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    given = config(ctx=512)
    save(prefix_cache(tmp_path / "file" / "x"), given, full(given, PROMPT).engine.cache)
    assert 0 == load(prefix_cache(tmp_path / "file" / "x"), given, fresh(given).cache)
    assert "cannot be kept" in caplog.text


@pytest.mark.parametrize("layout", LAYOUTS)
async def test_a_real_worker_finds_what_the_last_one_read(
    layout: Any, folder: Path, model_file: Path
) -> None:
    """The prompt is there, and the answer to it the same."""
    real = LlamaConfig(
        str(model_file),
        "real",
        ctx=512,
        parallel=2,
        layout=layout,
        cells=3 * 512,
        batch=64,
        ubatch=64,
        flash_attention=layout == "unified",
    )
    answers = []
    for _ in range(2):
        async with supervised(real, prefix_cache=prefix_cache(folder)) as client:
            answers.append(await answer(client))
    assert answers[0][0] == answers[1][0]
    first, second = answers[0][1], answers[1][1]
    assert (0, first.prompt_tokens - 1) == (first.cached_tokens, second.cached_tokens)


async def answer(client: LlamaClient) -> tuple[str, Finish]:
    text, finish = "", None
    async for delta in generate(client, PROMPT, SamplingParams(temperature=0.0, max_tokens=8)):
        text, finish = text + delta.text, delta.finish
    assert finish
    return text, finish


async def test_who_is_in_a_hurry_keeps_nothing(folder: Path) -> None:
    """A second signal does not wait for a disk."""
    async with supervised(config(ctx=512), prefix_cache=prefix_cache(folder)) as client:
        await answer(client)
        await client.kill()
        assert "stopped" == client.health.state
    assert [] == list(files(folder))
