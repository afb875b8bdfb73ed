"""Prefixes saved by one worker are loaded by the next, if they fit; no one else can read or replace them."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.messages import PrefixCacheConfig
from edgeinfer.backends.llama_cpp.worker.prefix_store import IDLE_SECONDS, MIN_TOKENS, PrefixCacheStore
from edgeinfer.engine.engine import Engine
from edgeinfer.engine.fake import FakeBackend
from edgeinfer.inference.output import Finish
from edgeinfer.inference.sampling import SamplingParams
from tests.support.engine import LAYOUTS, Clock, Driver, encode
from tests.support.llama import config
from tests.support.llama_client import generate, supervised
from tests.support.server import eventually

PROMPT = "You are a small assistant on this device, and you answer in few words. " * 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "prefixes"


def prefix_cache(folder: Path, megabytes: int = 100) -> PrefixCacheConfig:
    return PrefixCacheConfig(str(folder), megabytes)


def store(config: LlamaConfig, folder: Path, megabytes: int = 100) -> PrefixCacheStore:
    return PrefixCacheStore(prefix_cache(folder, megabytes), config)


def fresh(model_config: LlamaConfig) -> Engine:
    return Engine(FakeBackend(model_config), model_config, Clock())


def full(model_config: LlamaConfig, *prompts: str) -> Driver:
    """An engine that has answered these."""
    driver = Driver(model_config)
    for id, prompt in enumerate(prompts):
        driver.add(id, prompt, max_tokens=2, ignore_eos=True)
        driver.run()
    return driver


def saved(model_config: LlamaConfig, folder: Path, size: int, *prompts: str, megabytes: int = 1) -> None:
    """Save these prompts, the last one as the most recently used, each in `size` bytes."""
    driver = full(model_config, *prompts)
    backend = driver.engine.cache.backend
    backend.save, backend.state_size = lambda *_: bytes(size), lambda sequence: size  # type: ignore[method-assign]
    store(model_config, folder, megabytes).save(driver.engine.cache)


def files(folder: Path, model: str = "") -> list[Path]:
    """All files, or those of the model with this name; the most recently used first."""
    found = [p for p in folder.rglob("*") if p.is_file() and p.parent.name.startswith(model)]
    return sorted(found, key=lambda p: (p.parent, -p.stat().st_mtime_ns))


def prompt_of(path: Path) -> str:
    """What a file is for; the fake's tokens are letters, and its answers have two."""
    tokens = msgspec.json.decode(path.read_bytes().partition(b"\n")[0])["tokens"]
    return "".join(map(chr, tokens))[:-1]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_most_recently_used_prefixes_are_loaded(layout: str, folder: Path) -> None:
    """They are in the same order of use and complete to the last cell: answers are the same."""
    model_config = config(layout, ctx=512, parallel=2, cells=3 * 512)
    prompts = [f"{i} {PROMPT}" for i in range(3)]
    old = full(model_config, *prompts)
    store(model_config, folder).save(old.engine.cache)
    new = Driver(model_config)
    assert store(model_config, folder).load(new.engine.cache) == sum(len(p) + 1 for p in prompts)
    new.engine.check_integrity()
    assert [s.tokens for s in old.engine.cache.resident_slots()] == [
        s.tokens for s in new.engine.cache.resident_slots()
    ]
    for id, prompt in enumerate(prompts):
        new.add(id, prompt, max_tokens=20, ignore_eos=True)
    new.run()
    for id, prompt in enumerate(prompts):
        alone = full(model_config)
        alone.add(id, prompt, max_tokens=20, ignore_eos=True)
        assert alone.run().text == new.answers[id, 0].text
        assert new.answers[id, 0].finish.cached_tokens == len(prompt) - 1


def test_no_other_user_can_read_them(folder: Path) -> None:
    """They contain what users asked."""
    model_config = config(ctx=512)
    store(model_config, folder).save(full(model_config, PROMPT).engine.cache)
    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
    assert [0o700] == [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()]
    assert [0o600] == [stat.S_IMODE(path.stat().st_mode) for path in files(folder)]


@pytest.mark.parametrize("which", ["root", "model"])
@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_directory_open_to_others_is_not_used(
    folder: Path, which: str, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that another user put there would be loaded into the worker's memory."""
    model_config = config(ctx=512)
    store(model_config, folder).save(full(model_config, PROMPT).engine.cache)
    (folder if which == "root" else files(folder)[0].parent).chmod(mode)
    assert 0 == store(model_config, folder).load(fresh(model_config).cache)
    store(model_config, folder).save(full(model_config, PROMPT, "another " + PROMPT).engine.cache)
    assert 1 == len(files(folder))
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
def test_prefix_of_another_configuration_is_not_loaded(folder: Path, other: dict[str, Any]) -> None:
    """llama.cpp checks nothing."""
    model_config = config(ctx=512)
    store(model_config, folder).save(full(model_config, PROMPT).engine.cache)
    changed = replace(model_config, **other)
    assert 0 == store(changed, folder).load(fresh(changed).cache)
    assert store(model_config, folder).load(fresh(model_config).cache)


def test_another_model_under_the_same_name_is_another_model(tmp_path: Path, folder: Path) -> None:
    """Size, time of change and the beginning of the file count."""
    model = tmp_path / "m.gguf"
    model.write_bytes(b"one")
    model_config = config(ctx=512, model=str(model))
    times = model.stat().st_atime_ns, model.stat().st_mtime_ns
    store(model_config, folder).save(full(model_config, PROMPT).engine.cache)
    model.write_bytes(b"two")
    os.utime(model, ns=times)
    assert 0 == store(model_config, folder).load(fresh(model_config).cache)
    model.write_bytes(b"one")
    assert 0 == store(model_config, folder).load(fresh(model_config).cache)
    os.utime(model, ns=times)
    assert store(model_config, folder).load(fresh(model_config).cache)


def test_prefixes_belong_to_the_file_that_was_loaded(tmp_path: Path, folder: Path) -> None:
    """It may be replaced while the worker runs: the new one has not computed them."""
    file = tmp_path / "model.gguf"
    file.write_bytes(b"old")
    model_config = replace(config(ctx=512), model=str(file))
    loaded = store(model_config, folder)
    file.write_bytes(b"another")
    loaded.save(full(model_config, PROMPT).engine.cache)
    assert files(folder)
    assert 0 == store(model_config, folder).load(fresh(model_config).cache)


@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "empty", "garbage", "line", "token", "order"])
def test_damaged_file_is_not_loaded(folder: Path, damage: str) -> None:
    """The disk may have been full, or the power may have failed."""
    model_config = config(ctx=512)
    store(model_config, folder).save(full(model_config, PROMPT, "another " + PROMPT).engine.cache)
    path, _ = files(folder)
    content = path.read_bytes()
    assert b"[97,110,111," in content
    path.write_bytes(
        {
            "flip": content[:-1] + bytes([content[-1] ^ 1]),
            "cut": content[:-4],
            "longer": content + b"\0",
            "empty": b"",
            "garbage": b"\xff" * 1000,
            "line": content.partition(b"\n")[0],
            "token": content.replace(b"[97,110,", b"[98,110,", 1),
            "order": content.replace(b"[97,110,111,", b"[110,97,111,", 1),
        }[damage]
    )
    assert len(PROMPT) + 1 == store(model_config, folder).load(fresh(model_config).cache)
    store(model_config, folder).save(full(model_config, PROMPT, "another " + PROMPT).engine.cache)
    assert content == path.read_bytes()  # it has been written again


def test_no_more_is_saved_than_the_limit_allows(folder: Path) -> None:
    """The most recently used prefix comes first, and those saved before are removed."""
    model_config = config(ctx=2048, parallel=2, cells=3 * 2048)
    long = "x" * 2000  # the fake saves 4 bytes a token: 8 KB
    store(model_config, folder, megabytes=1).save(full(model_config, long, "y" + long).engine.cache)
    assert 2 == len(files(folder))
    saved(model_config, folder, 700_000, "z" + long, "zy" + long)
    (only,) = files(folder)
    assert 700_000 < only.stat().st_size < 800_000


def test_prefixes_are_saved_one_at_a_time_while_nothing_is_computed(folder: Path) -> None:
    """The most recently used one first. What is there is not written again, what became longer is replaced."""
    model_config = config(ctx=512, parallel=2, cells=3 * 512)
    driver = full(model_config, *(f"{i} {PROMPT}" for i in range(3)))
    saving = store(model_config, folder)
    left = [saving.save_next(driver.engine.cache) for _ in range(4)]
    assert [True, True, False, False] == left
    assert [f"{i} {PROMPT}" for i in (2, 1, 0)] == [prompt_of(path) for path in files(folder)]
    before = [path.stat().st_ino for path in files(folder)]
    driver.add(3, f"1 {PROMPT} And then?", max_tokens=2, ignore_eos=True)
    driver.run()
    assert not saving.save_next(driver.engine.cache)
    assert [f"1 {PROMPT} And then?", *(f"{i} {PROMPT}" for i in (2, 0))] == [
        prompt_of(path) for path in files(folder)
    ]
    assert [before[0], before[2]] == [path.stat().st_ino for path in files(folder)[1:]]
    saving.save(driver.engine.cache)
    assert [before[0], before[2]] == [path.stat().st_ino for path in files(folder)[1:]]
    new = fresh(model_config)
    assert store(model_config, folder).load(new.cache)
    assert [s.tokens for s in driver.engine.cache.resident_slots()] == [
        s.tokens for s in new.cache.resident_slots()
    ]


def test_the_limit_holds_at_any_time_while_they_are_saved_one_by_one(folder: Path) -> None:
    """What is superseded goes before anything is written."""
    model_config = config(ctx=512, parallel=2, cells=3 * 512)
    saved(model_config, folder, 300_000, *(f"{i} {PROMPT}" for i in range(3)))
    assert 3 == len(files(folder))
    driver = full(model_config, *(f"new {i} {PROMPT}" for i in range(3)))
    backend = driver.engine.cache.backend
    backend.save, backend.state_size = lambda *_: bytes(400_000), lambda sequence: 400_000  # type: ignore[method-assign]
    saving = store(model_config, folder, megabytes=1)
    sizes = []
    while saving.save_next(driver.engine.cache):
        sizes.append(sum(path.stat().st_size for path in files(folder)))
    assert max(sizes) < 1_010_000
    assert [f"new {i} {PROMPT}" for i in (2, 1)] == [prompt_of(path) for path in files(folder)]


def test_prefix_that_is_short_or_part_of_another_is_not_saved(folder: Path) -> None:
    """It would save no time."""
    model_config = config("unified", ctx=512, parallel=2, cells=2048)
    driver = full(model_config, "x" * (MIN_TOKENS - 2), PROMPT + " and more", PROMPT)
    assert 3 == len(driver.engine.cache.resident_slots())
    store(model_config, folder).save(driver.engine.cache)
    assert 2 == len(files(folder))


def test_prefix_on_disk_belongs_to_a_domain(folder: Path) -> None:
    """Another key's prompt is not told by its time after a restart either; each domain's own copy is saved."""
    model_config = config("unified", ctx=512, parallel=2, cells=2048)
    driver = Driver(model_config)
    for id, domain in enumerate(("a", "b")):
        driver.add(id, PROMPT, cache_domain=domain, max_tokens=2, ignore_eos=True)
        driver.run()
    store(model_config, folder).save(driver.engine.cache)
    assert 2 == len(files(folder))
    engine = fresh(model_config)
    assert store(model_config, folder).load(engine.cache)
    tokens = encode(PROMPT)
    resident = [engine.cache.num_resident(tokens, domain) for domain in ("a", "b", "c", "")]
    assert [len(tokens), len(tokens), 0, 0] == resident


def test_smaller_kv_cache_loads_what_it_can_hold(folder: Path) -> None:
    """These are the most recently used ones."""
    model_config = config(ctx=512, parallel=3, cells=4 * 512)
    prompts = [f"{i} {PROMPT}" for i in range(4)]
    store(model_config, folder).save(full(model_config, *prompts).engine.cache)
    less = replace(model_config, parallel=1, cells=2 * 512)
    engine = fresh(less)
    assert 2 * (len(prompts[0]) + 1) == store(less, folder).load(engine.cache)
    engine.check_integrity()


def test_directory_that_cannot_be_written_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is saved, and the log says so."""
    (tmp_path / "file").write_text("")
    model_config = config(ctx=512)
    store(model_config, tmp_path / "file" / "x").save(full(model_config, PROMPT).engine.cache)
    assert 0 == store(model_config, tmp_path / "file" / "x").load(fresh(model_config).cache)
    assert "cannot be saved" in caplog.text


# --- several models


def test_models_have_directories_of_their_own(folder: Path) -> None:
    """Each loads its own prefixes, whichever saved last."""
    one, two = (config(ctx=512, name=name, model=name) for name in ("one", "two"))
    for model_config in (one, two, one):
        store(model_config, folder).save(full(model_config, f"{model_config.name} {PROMPT}").engine.cache)
    for model_config in (one, two):
        assert len(f"{model_config.name} {PROMPT}") + 1 == store(model_config, folder).load(
            fresh(model_config).cache
        )


def test_any_name_makes_a_directory_below_the_root(folder: Path) -> None:
    """Names that differ in characters that a file system does not take have different ones."""
    names = ["a/b", "a b", "../a", "..", "", ".", "ä" * 300, "Qwen/Qwen3-0.6B:Q4_0", "a/b"]
    for name in names:
        model_config = config(ctx=512, name=name)
        store(model_config, folder).save(full(model_config, PROMPT).engine.cache)
    directories = [path.name for path in folder.iterdir()]
    assert len(set(names)) == len(directories) == len(files(folder))
    assert any(name.startswith("Qwen-Qwen3-0.6B-Q4_0-") for name in directories)
    assert [folder] == list(folder.parent.iterdir())


def test_all_models_share_the_limit(folder: Path) -> None:
    """A newcomer gets its share, and the other model loses what it used least recently."""
    one, two = (config(ctx=512, parallel=4, cells=5 * 512, name=name, model=name) for name in ("one", "two"))
    prompts = [f"{i} {PROMPT}" for i in range(3)]
    saved(one, folder, 300_000, *prompts)
    assert 3 == len(files(folder, "one"))
    saved(two, folder, 300_000, *prompts)
    assert (1, 2) == (len(files(folder, "two")), len(files(folder, "one")))
    assert [prompts[2], prompts[1]] == [prompt_of(path) for path in files(folder, "one")]
    saved(one, folder, 300_000, *prompts)
    assert (1, 2) == (len(files(folder, "two")), len(files(folder, "one")))


def test_prefixes_of_a_model_that_is_no_longer_used_are_removed(folder: Path) -> None:
    """So are those that earlier versions saved in the root."""
    one, two = (config(ctx=512, name=name, model=name) for name in ("one", "two"))
    saved(one, folder, 1000, PROMPT)
    (folder / "0000.prefix").write_bytes(b"of an earlier version")
    saved(two, folder, 1000, PROMPT)
    assert ["one", "two"] == [path.parent.name[:3] for path in files(folder)]
    os.utime(files(folder, "one")[0], (0, 0))
    saved(two, folder, 1000, PROMPT)
    assert ["two"] == [path.name[:3] for path in folder.iterdir()]


# --- real workers


@pytest.mark.parametrize("layout", LAYOUTS)
async def test_real_worker_loads_what_the_last_one_saved(layout: Any, folder: Path, model_file: Path) -> None:
    """The prompt is not computed again, and the answer to it is the same."""
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
            answers.append(await answer(client, 2 * PROMPT))
    assert answers[0][0] == answers[1][0]
    first, second = answers[0][1], answers[1][1]
    assert (0, first.prompt_tokens - 1) == (first.cached_tokens, second.cached_tokens)


async def answer(client: LlamaClient, prompt: str = PROMPT) -> tuple[str, Finish]:
    text, finish = "", None
    async for delta in generate(client, prompt, SamplingParams(temperature=0.0, max_tokens=8)):
        text, finish = text + delta.text, delta.finish
    assert finish
    return text, finish


async def test_killed_worker_saves_nothing(folder: Path) -> None:
    """A second signal does not wait for a disk."""
    async with supervised(config(ctx=512), prefix_cache=prefix_cache(folder)) as client:
        await answer(client)
        await client.kill()
        assert "stopped" == client.health.state
    assert [] == files(folder)


@pytest.mark.slow
async def test_a_kill_after_a_pause_loses_nothing(folder: Path) -> None:
    """As when the power fails: what was computed before the pause is on disk, and is not computed again."""
    for _ in range(2):
        async with supervised(config(ctx=512), prefix_cache=prefix_cache(folder)) as client:
            _, finish = await answer(client)
            assert await asyncio.to_thread(eventually, lambda: files(folder) != [], IDLE_SECONDS + 20)
            await client.kill()
    assert finish.cached_tokens == finish.prompt_tokens - 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_kept_in_ram_is_saved_too_and_loaded_there(layout: str, folder: Path) -> None:
    """The KV cache has room for two of four; all are there again after a restart."""
    model_config = config(layout, ctx=512, parallel=1, cells=2 * 220, ram_cache_mb=1)
    prompts = [f"{i} {PROMPT}"[:200] for i in range(4)]
    old = full(model_config, *prompts)
    assert old.engine.stats().ram_cache_bytes
    store(model_config, folder).save(old.engine.cache)
    new = Driver(model_config)
    assert store(model_config, folder).load(new.engine.cache) == 4 * 201
    assert new.engine.stats().ram_cache_bytes
    new.engine.check_integrity()
    for id, prompt in enumerate(prompts):
        new.add(id, prompt, max_tokens=20, ignore_eos=True)
        new.run()
        alone = full(model_config)
        alone.add(id, prompt, max_tokens=20, ignore_eos=True)
        assert alone.run().text == new.answers[id, 0].text
        assert new.answers[id, 0].finish.cached_tokens == len(prompt) - 1
