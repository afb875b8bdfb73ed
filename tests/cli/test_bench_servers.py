"""`edgeinfer bench --url` and `--against`, with daemons of the bundled model and another program's server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeinfer.bench.scenarios import SCENARIOS as KNOWN
from edgeinfer.cli import bench
from edgeinfer.hardware import detect
from edgeinfer.plan.calibration import Calibration, Rates, fingerprint, save
from tests.support.cli import run
from tests.support.nano_daemon import NanoDaemon, make_key
from tests.support.other_server import other_server

SMALL = ("--quick", "--rounds", "1", "--scenario", "single")
RATE = 1e9


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NanoDaemon, NanoDaemon, str]]:
    """Two with small contexts, and the key of the second one."""
    home = tmp_path_factory.mktemp("daemons")
    key, file = make_key(home)
    small = ("--ctx", "512", "--parallel", "3")
    first = NanoDaemon(home / "a", *small)
    second = NanoDaemon(home / "b", *small, "--api-key-file", str(file))
    try:
        first.start()
        second.start()
        yield first, second, key
    finally:
        first.kill()
        second.kill()


def calibrate(store: Path) -> None:
    """Write down that this machine reads weights at a fixed rate."""
    store.mkdir()
    profile = detect(models=store)
    assert profile.llama
    rates = Rates({"Q8_0": RATE, "": RATE})
    save(store, Calibration(fingerprint(profile), profile.llama.version or "", "2026-01-01", cpu=rates))


@pytest.mark.slow
def test_two_daemons_are_compared_in_every_scenario(
    daemons: tuple[NanoDaemon, NanoDaemon, str], tmp_path: Path
) -> None:
    first, second, key = daemons
    calibrate(tmp_path / "store")
    done = run(
        tmp_path,
        *("bench", "--url", first.url, "--against", f"{second.url}/v1", "--against-key", key),
        *("--quick", "--rounds", "2", "--json"),
    )
    assert (0, "") == (done.returncode, done.stderr)
    report = json.loads(done.stdout)
    assert [first.url, second.url] == [server["url"] for server in report["servers"]]
    assert (2, True, None) == (report["rounds"], report["quick"], report["start"])
    assert list(bench.SCENARIOS) == [scenario["name"] for scenario in report["scenarios"]]
    for scenario in report["scenarios"]:
        one, other = scenario["servers"]
        assert (None, None) == (one["refused"], other["refused"]), scenario
        assert min(one["values"] + other["values"]) > 0
        ratio = scenario["speedup"]
        assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
        assert 0.5 == ratio["confidence"]
    server = report["servers"][0]
    assert "edgeinfer-nano" == server["model"]
    assert server["counts_tokens"]
    assert server["fixed_length"]
    single = report["scenarios"][0]["servers"][0]
    assert server["share"] == pytest.approx(single["median"] / server["limit"])


@pytest.mark.slow
def test_a_daemon_is_started_where_none_runs_and_its_start_is_measured(
    daemons: tuple[NanoDaemon, NanoDaemon, str], tmp_path: Path
) -> None:
    first, _, _ = daemons
    done = run(tmp_path, "bench", "--against", first.url, *SMALL, "--json")
    assert (0, "") == (done.returncode, done.stderr)
    report = json.loads(done.stdout)
    assert report["start"] > 0
    assert first.url == report["servers"][1]["url"]


@pytest.mark.slow
def test_what_a_server_refuses_is_a_line_of_the_report(
    daemons: tuple[NanoDaemon, NanoDaemon, str], tmp_path: Path
) -> None:
    """A prompt of 900 words, for a context of 512 tokens."""
    first, _, _ = daemons
    done = run(tmp_path, "bench", "--url", first.url, "--scenario", "prefill", "--rounds", "1")
    assert (0, "") == (done.returncode, done.stderr)
    assert "\nprefill       tok/s           -\n" in done.stdout
    assert "A does not do this: 400" in done.stdout
    assert 80 >= max(map(len, done.stdout.splitlines()))


@pytest.mark.slow
def test_a_missing_key_is_asked_for(daemons: tuple[NanoDaemon, NanoDaemon, str], tmp_path: Path) -> None:
    first, second, key = daemons
    for options, hint in (
        (("--url", second.url), "hint: pass a key with --api-key or in EDGEINFER_API_KEY\n"),
        (
            ("--url", first.url, "--against", second.url, "--against-key", "no"),
            "hint: pass a key with --against-key or in EDGEINFER_AGAINST_KEY\n",
        ),
    ):
        done = run(tmp_path, "bench", *options, *SMALL)
        assert (1, "") == (done.returncode, done.stdout)
        assert f"error: {second.url}: 401" in done.stderr
        assert hint in done.stderr
    both = ("--url", first.url, "--against", second.url)
    assert 0 == run(tmp_path, "bench", *both, *SMALL, EDGEINFER_AGAINST_KEY=key).returncode
    assert 0 == run(tmp_path, "bench", "--url", second.url, *SMALL, EDGEINFER_API_KEY=key).returncode


def test_another_programs_server_is_measured_as_far_as_it_goes(tmp_path: Path) -> None:
    with other_server(refused=("ignore_eos", "prediction"), counts=False) as other:
        done = run(
            tmp_path,
            *("bench", "--url", other.url, "--quick", "--rounds", "1"),
            *("--scenario", "shared", "--scenario", "structured", "--scenario", "predicted"),
        )
    assert (0, "") == (done.returncode, done.stderr)
    assert f"A  {other.url}  other\n" in done.stdout
    assert "A does not do this: the answer does not keep to the schema\n" in done.stdout
    assert "A does not do this: 400 unknown parameter: prediction\n" in done.stdout
    assert "A does not count tokens" in done.stdout
    assert "A has no ignore_eos" in done.stdout
    assert 80 >= max(map(len, done.stdout.splitlines()))


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("127.0.0.1:1", "error: no server answers at http://127.0.0.1:1\n"),
        ("ftp://127.0.0.1", "error: ftp://127.0.0.1 is no address of a server\n"),
        ("127.0.0.1:99999", "error: http://127.0.0.1:99999 is no address of a server\n"),
    ],
)
def test_where_there_is_no_server_the_error_says_so(url: str, error: str, tmp_path: Path) -> None:
    done = run(tmp_path, "bench", "--url", url, *SMALL)
    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith(error)
    assert "hint: " in done.stderr


@pytest.mark.parametrize(
    "answer", [(404, "text/html", "<h1>Not Found</h1>"), (200, "text/html", "<h1>Hello</h1>")]
)
def test_a_server_of_web_pages_is_no_model_server(answer: tuple[int, str, str], tmp_path: Path) -> None:
    with other_server() as other:
        other.answer = answer
        done = run(tmp_path, "bench", "--url", other.url, *SMALL)
    assert (1, "") == (done.returncode, done.stdout)
    assert f"error: {other.url} does not speak OpenAI's API" in done.stderr
    assert "hint: is this the address of a model server?\n" in done.stderr


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--quick",), "these options need --url or --against"),
        (("--url", "a", "--calibrate"), "--calibrate and --plot go with neither"),
        (("--url", "a", "--ctx", "64"), "set ctx where it is started"),
        (("--url", "a", "--against", "http://a/v1/"), "it is the server that is to be compared"),
        (("--url", "a", "--scenario", "all"), "predicted"),
        (("--url", "a", "--rounds", "0"), "1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: tuple[str, ...], error: str, tmp_path: Path
) -> None:
    done = run(tmp_path, "bench", *options)
    assert (2, "") == (done.returncode, done.stdout)
    assert error in " ".join(done.stderr.split())


def test_the_command_names_every_scenario() -> None:
    assert set(KNOWN) == {*bench.SCENARIOS, *bench.MORE_SCENARIOS}
