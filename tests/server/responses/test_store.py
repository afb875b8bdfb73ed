"""The files of stored responses: their limits, what is damaged, and what an earlier run has left."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from edgeinfer.server.responses.store import BLOCK, MEGABYTE, ResponseStore, StoredResponse
from edgeinfer.settings import Settings

IDS = [f"resp_{n:032x}" for n in range(100)]


def stored(text: str = "x") -> StoredResponse:
    return StoredResponse(input=[{"content": text}], previous=None, response={"output": []})


def store(folder: Path, *, mb: int = 1, hours: float = 1.0) -> ResponseStore:
    settings = Settings(responses_store_mb=mb, responses_store_hours=hours)
    return ResponseStore(folder, lambda: settings)


def age(folder: Path, id: str, seconds: float) -> None:
    """Let a file be as old as this."""
    then = time.time() - seconds
    os.utime(folder / f"me.{id}.json", (then, then))


def size(folder: Path) -> int:
    return sum(-(-file.stat().st_size // BLOCK) * BLOCK for file in folder.iterdir())


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """By its owner, and nobody else."""
    responses = store(tmp_path)
    responses.save("me", IDS[0], stored("text"))
    assert responses.load("me", IDS[0]) == stored("text")
    assert responses.load("you", IDS[0]) is None
    assert not responses.delete("you", IDS[0])
    assert responses.delete("me", IDS[0])
    assert responses.load("me", IDS[0]) is None


def test_the_oldest_make_room(tmp_path: Path) -> None:
    """Those used longest ago, as many as it takes."""
    responses = store(tmp_path)
    quarter = "x" * (MEGABYTE // 4 - BLOCK)
    for id in IDS[:4]:
        responses.save("me", id, stored(quarter))
    assert responses.load("me", IDS[0])  # is used, so that the next one is the oldest
    responses.save("me", IDS[4], stored(quarter))
    assert [bool(responses.load("me", id)) for id in IDS[:5]] == [True, False, True, True, True]
    assert size(tmp_path) <= MEGABYTE


def test_who_stores_much_makes_room_among_its_own(tmp_path: Path) -> None:
    """A caller that floods the store costs others nothing, however old theirs are."""
    responses = store(tmp_path)
    quarter = "x" * (MEGABYTE // 4 - BLOCK)
    responses.save("modest", IDS[0], stored(quarter))
    for id in IDS[1:20]:
        responses.save("me", id, stored(quarter))
    assert responses.load("modest", IDS[0])
    assert [bool(responses.load("me", id)) for id in IDS[16:20]] == [False, True, True, True]


def test_small_ones_count_as_what_they_take_on_a_disk(tmp_path: Path) -> None:
    """A block each: a flood of them fills no disk."""
    settings = Settings(responses_store_mb=1)
    responses = ResponseStore(tmp_path, lambda: settings)
    for n in range(MEGABYTE // BLOCK + 20):
        responses.save("me", f"resp_{n:032x}", stored())
    assert len(list(tmp_path.iterdir())) == MEGABYTE // BLOCK


def test_what_has_not_been_used_for_long_goes(tmp_path: Path) -> None:
    """Even if there is room."""
    responses = store(tmp_path)
    for id in IDS[:2]:
        responses.save("me", id, stored())
    age(tmp_path, IDS[0], 3601)
    assert responses.load("me", IDS[0]) is None
    assert responses.load("me", IDS[1])
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_too_old_goes_without_being_asked_for(tmp_path: Path) -> None:
    """The daemon tidies every hour. A store without a folder has nothing to tidy."""
    responses = store(tmp_path / "responses")
    responses.tidy()
    assert not (tmp_path / "responses").exists()
    responses.save("me", IDS[0], stored())
    age(tmp_path / "responses", IDS[0], 3601)
    responses.tidy()
    assert not list((tmp_path / "responses").iterdir())


def test_another_run_goes_on_with_the_files(tmp_path: Path) -> None:
    """In the order of their use; what was half written when it ended is removed."""
    earlier = store(tmp_path, mb=2)
    quarter = "x" * (MEGABYTE // 4 - BLOCK)
    for n, id in enumerate(IDS[:5]):
        earlier.save("me", id, stored(quarter))
        age(tmp_path, id, 100 - n)
    (tmp_path / ".tmp-abc").write_bytes(b"{")
    later = store(tmp_path)
    assert later.load("me", IDS[0]) is None
    assert [bool(later.load("me", id)) for id in IDS[1:5]] == [True] * 4
    assert not (tmp_path / ".tmp-abc").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"input": 1}', b"\x00" * 5000])
def test_a_damaged_file_counts_as_not_there(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A line in the log names it, and the others are there."""
    responses = store(tmp_path)
    for id in IDS[:2]:
        responses.save("me", id, stored("secret"))
    (tmp_path / f"me.{IDS[0]}.json").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert responses.load("me", IDS[0]) is None
    assert "is damaged, and is ignored" in caplog.text
    assert IDS[0] in caplog.text
    assert "secret" not in caplog.text
    assert responses.load("me", IDS[1])


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """It could lead to anything."""
    folder = tmp_path / "responses"
    store(folder).save("me", IDS[0], stored())
    (folder / f"me.{IDS[1]}.json").symlink_to(folder / f"me.{IDS[0]}.json")
    assert store(folder).load("me", IDS[1]) is None


def test_one_that_is_larger_than_all_may_be_is_not_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not cost the others their place."""
    responses = store(tmp_path)
    responses.save("me", IDS[0], stored())
    responses.save("me", IDS[1], stored("x" * MEGABYTE))
    assert responses.load("me", IDS[1]) is None
    assert responses.load("me", IDS[0])
    assert "larger than responses_store_mb" in caplog.text


def test_a_file_that_somebody_removed_is_no_error(tmp_path: Path) -> None:
    """Nor is a whole folder."""
    responses = store(tmp_path / "responses")
    for id in IDS[:3]:
        responses.save("me", id, stored())
    (tmp_path / "responses" / f"me.{IDS[0]}.json").unlink()
    assert responses.load("me", IDS[0]) is None
    assert responses.load("me", IDS[1])
    shutil.rmtree(tmp_path / "responses")
    assert responses.load("me", IDS[1]) is None
    responses.save("me", IDS[3], stored())
    assert responses.load("me", IDS[3])
    assert (tmp_path / "responses").stat().st_mode & 0o777 == 0o700


def test_several_threads_may_use_it(tmp_path: Path) -> None:
    """What one of them saved is whole for the others."""
    responses = store(tmp_path)
    problems: list[str] = []

    def work(n: int) -> None:
        for id in IDS[n::4]:
            responses.save("me", id, stored(id))
            if responses.load("me", id) != stored(id):
                problems.append(id)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(list(tmp_path.iterdir())) == len(IDS)
