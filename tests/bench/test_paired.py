"""The interval around a paired ratio: as wide as so many rounds allow."""

from __future__ import annotations

import random
from itertools import product

import pytest

from edgeinfer.bench.bandwidth_limit import bandwidth_limit
from edgeinfer.bench.openai_server import OpenAIServer
from edgeinfer.bench.paired import coverage, measure_scenario, speedup
from edgeinfer.bench.scenarios import QUICK, SCENARIOS
from edgeinfer.bench.synthetic import write_model
from edgeinfer.plan.calibration import Calibration, Rates
from tests.support.other_server import other_server
from tests.support.paths import ROOT


def test_a_single_round_has_no_interval() -> None:
    alone = speedup([1.5])
    assert (1.5, None, None, None) == (alone.median, alone.low, alone.high, alone.confidence)
    assert not alone.certain


@pytest.mark.parametrize(
    ("rounds", "left_out"), [(2, 0), (5, 0), (6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (15, 3), (20, 5)]
)
def test_the_interval_leaves_out_as_many_rounds_as_confidence_allows(rounds: int, left_out: int) -> None:
    """The numbers of the sign test's tables for 95 %."""
    ratios = [float(1 + number) for number in range(rounds)]
    random.Random(1).shuffle(ratios)
    found = speedup(ratios)
    assert (1.0 + left_out, float(rounds - left_out)) == (found.low, found.high)
    assert found.confidence == coverage(rounds, left_out)
    if rounds >= 6:
        assert found.confidence >= 0.95 > coverage(rounds, left_out + 1)


@pytest.mark.parametrize(("count", "left_out"), [(2, 0), (5, 0), (6, 1), (9, 1), (10, 2)])
def test_coverage_is_the_share_of_all_ways_in_which_samples_fall_beside_the_median(
    count: int, left_out: int
) -> None:
    ways = [sum(above) for above in product((0, 1), repeat=count)]
    inside = sum(left_out < above < count - left_out for above in ways)
    assert coverage(count, left_out) == pytest.approx(inside / len(ways))


def test_a_difference_is_certain_only_if_1_is_outside() -> None:
    assert speedup([1.1, 1.2, 1.3]).certain
    assert speedup([0.7, 0.8, 0.9]).certain
    assert not speedup([0.9, 1.2, 1.3]).certain


async def test_both_servers_get_the_same_new_prompts_in_each_round() -> None:
    """Prompts of another round, or of another run, are others: no server has them in a cache."""
    with other_server() as one, other_server() as other:
        servers = [OpenAIServer(one.url), OpenAIServer(other.url)]
        result = await measure_scenario("prefill", servers, 3, QUICK, seed=1)
        await measure_scenario("prefill", servers[:1], 1, QUICK, seed=2)
        assert [3, 3] == [len(figures.values) for figures in result.servers]
        assert one.requests[:3] == other.requests
        assert 4 == len({str(request["messages"]) for request in one.requests})


async def test_a_server_that_refuses_is_not_asked_again_and_the_other_is_measured() -> None:
    with other_server() as one, other_server(refused=("prediction",)) as other:
        result = await measure_scenario(
            "predicted", [OpenAIServer(one.url), OpenAIServer(other.url)], 2, QUICK, seed=1
        )
        assert 2 == len(other.requests)
    measured, refused = result.servers
    assert 2 == len(measured.values)
    assert measured.refused is None
    assert "400 unknown parameter: prediction" == refused.refused
    assert ([], None, None) == (refused.values, refused.median, result.speedup)


def test_the_bandwidth_allows_as_many_tokens_as_it_reads_the_weights(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("model") / "random.gguf"
    size, _ = write_model(path, "Q4_0", 1)
    rates = Rates({"Q4_0": 1e9, "Q8_0": 4e9, "": 1e9})
    alone = bandwidth_limit(path, Calibration("", "", "", cpu=rates))
    assert alone
    assert 0 < alone <= 4e9 / size
    assert bandwidth_limit(path, Calibration("", "", "", cpu=rates, gpu=rates)) is None
    assert bandwidth_limit(path, Calibration("", "", "")) is None
    assert bandwidth_limit(ROOT / "README.md", Calibration("", "", "", cpu=rates)) is None


def test_every_scenario_says_what_it_is() -> None:
    assert all(scenario.about and scenario.unit for scenario in SCENARIOS.values())
