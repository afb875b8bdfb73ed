"""What a crash writes to the log, and what clients are told of it."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

import pytest
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.stderr_tail import MAX_LINES, MAX_WARNINGS, StderrTail
from edgeinfer.backends.supervision.worker_exit import WorkerExit, without_directories
from edgeinfer.errors import EdgeinferError, ModelLoadFailed
from tests.support.llama_client import FAKE, SHORT, eventually, kill, supervised, text

ASSERTION = "/root/.cache/x y/vendor/llama.cpp/src/llama-vocab.cpp:4183: GGML_ASSERT(a < b) failed"


async def read(lines: list[str]) -> StderrTail:
    stream, tail = asyncio.StreamReader(), StderrTail()
    stream.feed_data("\n".join(lines).encode())
    stream.feed_eof()
    await tail.read(stream)
    return tail


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("/root/.cache/a-b/llama-vocab.cpp:4183: GGML_ASSERT(x)", "llama-vocab.cpp:4183: GGML_ASSERT(x)"),
        ("failed to open '/var/lib/edgeinfer/m.gguf': No such file", "failed to open 'm.gguf': No such file"),
        ("terminate called: what():  _Map_base::at", "terminate called: what():  _Map_base::at"),
        ("2 / 3 and http://localhost:1/a", "2 / 3 and http://localhost:1/a"),
    ],
)
def test_only_the_names_of_files_are_told(told: str, shown: str) -> None:
    assert shown == without_directories(told)
    assert f"SIGABRT: {shown}" == str(WorkerExit(-6, told))


async def test_a_crash_is_a_few_lines_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The stacks of all threads are there for debugging."""
    caplog.set_level(logging.DEBUG)
    stack = ["Thread 0x7f (most recent call first):", *["  File x, line 1 in f"] * 2000]
    tail = await read([ASSERTION, "", "Fatal Python error: Aborted", *stack, *["more"] * 2000])
    assert ASSERTION == tail.cause
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) <= MAX_WARNINGS
    assert len(caplog.records) == MAX_LINES


def restarted(client: LlamaClient, times: int) -> bool:
    return client.health.restarts == times and client.info is not None


async def test_crash_after_crash_costs_the_log_a_few_lines_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with supervised(FAKE) as client:
        await client.ready()
        for crashes in range(1, 4):
            caplog.clear()
            await text(client, "hello", SHORT)
            kill(client)
            await eventually(partial(restarted, client, crashes))
            assert len(caplog.records) <= 8


async def test_clients_are_not_told_where_a_model_lies(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("my models") / "m.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    async with supervised(replace(FAKE, model=str(path))) as client:
        with pytest.raises(EdgeinferError) as e:
            await client.ready()
    assert isinstance(e.value, ModelLoadFailed)
    assert "m.gguf" in e.value.message
    assert str(path.parent) not in f"{e.value.message}{e.value.hint}"
