"""The head's state in a real Redis: a head that was killed finds its fleet again; and what is wrong with a Redis."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeinfer.cluster.redis import check_redis
from edgeinfer.errors import EdgeinferError, ServiceFailed, SettingsError
from tests.support.cli import run
from tests.support.cluster import LONG, STEADY, FleetOnCluster, free_port, interrupted, pieces, until
from tests.support.redis import PASSWORD, Redis


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    redis = Redis(tmp_path_factory.mktemp("redis"), free_port())
    yield redis
    redis.close()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, redis: Redis) -> Iterator[FleetOnCluster]:
    """A head that keeps its state in Redis, and a node that listens and computes."""
    fleet = FleetOnCluster(tmp_path_factory.mktemp("fleet"), ctx=1024, parallel=2, node_timeout=4)
    try:
        fleet.up("--model", STEADY, *redis.options)
        fleet.join("--listen")
        until(lambda: fleet.is_ready() and fleet.parallel() == 2)
        yield fleet
    finally:
        fleet.close()


def whats_wrong(address: str, password: str = "") -> EdgeinferError:
    with pytest.raises((SettingsError, ServiceFailed)) as raised:
        check_redis(address, password)
    return raised.value


@pytest.mark.heavy
def test_a_head_that_was_killed_finds_its_fleet_in_redis(fleet: FleetOnCluster, redis: Redis) -> None:
    """An answer goes on meanwhile, and new ones begin; it knows the model, the nodes and its token."""
    whole, token = "".join(pieces(fleet, **LONG)), fleet.head.folder.token.read_text()
    assert whole == interrupted(fleet, lambda _: fleet.head.kill(), **LONG)
    assert whole == "".join(pieces(fleet, **LONG))
    before = fleet.replicas()
    fleet.up(*redis.options)
    until(lambda: f" {STEADY} " in fleet.head.run("status"))
    assert before == fleet.replicas()
    assert token == fleet.head.folder.token.read_text()
    unnamed = {name: value for name, value in LONG.items() if name != "model"}
    assert whole == "".join(pieces(fleet, **unnamed))
    fleet.join()
    until(lambda: fleet.parallel() == 4)


@pytest.mark.heavy
def test_fleets_may_share_a_redis(fleet: FleetOnCluster, redis: Redis, tmp_path: Path) -> None:
    """A second one knows nothing of the nodes and the model of the first."""
    second = FleetOnCluster(tmp_path)
    try:
        second.up(*redis.options)
        assert len(second.head.run("status").splitlines()) == 1
    finally:
        second.close()
    assert f" {STEADY} " in fleet.head.run("status")


@pytest.mark.heavy
def test_the_password_is_in_no_command_and_no_log(fleet: FleetOnCluster) -> None:
    """All users of the machine see the former; the latter are handed on."""
    processes = fleet.head.processes()
    assert len(processes) > 3
    assert not any(PASSWORD in word for process in processes for word in process.cmdline())
    assert PASSWORD not in fleet.head.folder.log.read_text()


@pytest.mark.heavy
def test_a_redis_that_restarts_with_its_data_is_found_again(fleet: FleetOnCluster, redis: Redis) -> None:
    """The head's Ray ends without it, and is started again; answers go on meanwhile."""
    whole = "".join(pieces(fleet, **LONG))
    head = set(fleet.head.processes())
    keeper = fleet.head.record.pid
    assert whole == interrupted(fleet, lambda _: redis.close(), **LONG)
    until(lambda: len(head.intersection(fleet.head.processes())) == 1)
    assert whole == "".join(pieces(fleet, **LONG))
    redis.start()
    until(lambda: f" {STEADY} " in fleet.head.run("status"))
    assert keeper == fleet.head.record.pid
    joined = fleet.parallel()
    fleet.join()
    until(lambda: fleet.parallel() == joined + 2)


def test_a_redis_that_would_keep_the_state_passes(redis: Redis) -> None:
    check_redis(redis.address, PASSWORD)
    check_redis(f"redis://{redis.address}", PASSWORD)


def test_a_wrong_password_and_none_name_their_option(redis: Redis) -> None:
    assert "--redis-password-file" in whats_wrong(redis.address, "wrong").message
    missing = whats_wrong(redis.address)
    assert "wants a password" in missing.message
    assert "--redis-password-file" in (missing.hint or "")


@pytest.mark.parametrize(
    "address", ["192.0.2.20", "host:port", "http://192.0.2.20:6379", "192.0.2.20:6379/0"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    error = whats_wrong(address)
    assert "--redis takes an address and a port" in error.message


def test_a_redis_that_is_not_there_names_its_option() -> None:
    assert "--redis: 127.0.0.1:1 cannot be reached" in whats_wrong("127.0.0.1:1").message


def test_what_is_not_redis_is_named(tmp_path: Path) -> None:
    """Another service's port is a common mistake."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as client:
                client.recv(100)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer).start()
        error = whats_wrong(f"127.0.0.1:{server.getsockname()[1]}")
    assert "does not answer as Redis does: HTTP/1.1 400 Bad Request" in error.message


def test_a_head_does_not_start_without_its_redis(tmp_path: Path, redis: Redis) -> None:
    """It says so at once, and leaves nothing behind."""
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong\n")
    done = run(tmp_path, "cluster", "up", f"--redis={redis.address}", f"--redis-password-file={wrong}")
    assert done.returncode == 1
    assert "--redis-password-file" in done.stderr
    assert not list(tmp_path.rglob("token"))
    alone = run(tmp_path, "cluster", "up", f"--redis-password-file={wrong}")
    assert "there is no --redis that it is for" in alone.stderr
