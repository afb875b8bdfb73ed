"""Whole states outlive a process, and nothing else does."""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from collections.abc import Generator

import pytest

from edgeinfer.engine.state_memory import ENTRY, INDEX, MAX_STATES, StateLabel, StateMemory, StoredState

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs memfd_create")

SIZE = 100_000


@pytest.fixture
def descriptor() -> Generator[int, None, None]:
    descriptor = os.memfd_create("states")
    yield descriptor
    os.close(descriptor)


def opened(descriptor: int, fingerprint: str = "model") -> StateMemory:
    """What the next process sees."""
    return StateMemory(descriptor, SIZE, fingerprint)


def add(memory: StateMemory, order: int, data: bytes) -> StoredState:
    def write(buffer: memoryview) -> int:
        buffer[: len(data)] = data
        return len(data)

    state = memory.add(StateLabel(order, [order, 7], "alice", True), len(data), write)
    assert state
    return state


def contents(memory: StateMemory) -> dict[int, bytes | None]:
    """Data by order, None for what is damaged."""
    found: dict[int, bytes | None] = {}
    for state, label in memory.labels():
        assert StateLabel(label.order, [label.order, 7], "alice", True) == label
        with memory.loading(state) as data:
            found[label.order] = None if data is None else bytes(data)
    return found


def test_the_next_process_finds_what_was_added_in_its_order(descriptor: int) -> None:
    memory = opened(descriptor)
    for order in (3, 1, 2):
        add(memory, order, b"%d" % order * 9000)
    assert [(n, b"%d" % n * 9000) for n in (1, 2, 3)] == list(contents(opened(descriptor)).items())


def test_a_process_that_dies_while_it_writes_leaves_the_states_before(descriptor: int) -> None:
    memory = opened(descriptor)
    add(memory, 1, b"whole")

    def die(buffer: memoryview) -> int:
        buffer[:5] = b"begun"
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        memory.add(StateLabel(2, []), 50_000, die)
    assert {1: b"whole"} == contents(opened(descriptor))


def test_a_process_that_dies_while_it_loads_a_state_does_not_leave_it_to_the_next(descriptor: int) -> None:
    """Else every process would die of it."""
    memory = opened(descriptor)
    state = add(memory, 1, b"deadly")
    add(memory, 2, b"harmless")
    loading = memory.loading(state)
    loading.__enter__()
    assert {2: b"harmless"} == contents(opened(descriptor))
    loading.__exit__(None, None, None)
    assert {1: b"deadly", 2: b"harmless"} == contents(opened(descriptor))


def test_damaged_states_are_not_used(descriptor: int) -> None:
    """A process may overwrite anything before it dies: data, a label, the index."""
    memory = opened(descriptor)
    states = [add(memory, order, b"x" * 1000) for order in range(4)]
    os.pwrite(descriptor, b"y", states[1].end - 500)
    os.pwrite(descriptor, b"\xff", states[2].start)
    os.pwrite(descriptor, b"\xff", INDEX + states[3].number * ENTRY)
    assert {0: b"x" * 1000, 1: None} == contents(opened(descriptor))


def test_states_of_another_model_or_of_another_size_are_dropped(descriptor: int) -> None:
    add(opened(descriptor), 1, b"foreign")
    assert {} == contents(opened(descriptor, "another"))
    assert {} == contents(opened(descriptor))
    add(opened(descriptor), 1, b"smaller")
    assert {} == contents(StateMemory(descriptor, SIZE // 2, "model"))


def removes_pages() -> bool:
    """Whether this system gives memory back when it is told to; qemu's user mode ignores that."""
    with os.fdopen(os.memfd_create("probe"), "w+b") as file:
        file.write(bytes(mmap.PAGESIZE))
        file.flush()
        with mmap.mmap(file.fileno(), mmap.PAGESIZE) as pages:
            pages.madvise(mmap.MADV_REMOVE)
            return os.fstat(file.fileno()).st_blocks == 0


def test_memory_of_removed_states_is_used_again_and_given_back(descriptor: int) -> None:
    memory = opened(descriptor)
    states = [add(memory, order, bytes(30_000)) for order in range(3)]
    used = os.fstat(descriptor).st_blocks
    memory.remove(states[1])
    assert os.fstat(descriptor).st_blocks < used or not removes_pages()
    assert states[1].start == add(memory, 4, b"z" * 30_000).start
    assert [0, 2, 4] == list(contents(opened(descriptor)))


def test_there_is_an_end_to_it(descriptor: int) -> None:
    """Neither more bytes than there are, nor more states."""
    memory = opened(descriptor)
    assert None is memory.add(StateLabel(1, []), 3 * SIZE, len)
    for order in range(MAX_STATES):
        add(memory, order, b"x")
    assert None is memory.add(StateLabel(1, []), 1, len)


def test_two_processes_never_have_it_at_once(descriptor: int) -> None:
    memory = opened(descriptor)
    if (child := os.fork()) == 0:
        status = 1
        with contextlib.suppress(BaseException):
            try:
                opened(descriptor)
            except OSError:
                status = 0
        os._exit(status)
    assert 0 == os.waitpid(child, 0)[1]
    assert not memory.labels()
