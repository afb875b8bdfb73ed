from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.engine.backend import Row
from edgeinfer.engine.logprobs import log_probabilities
from edgeinfer.engine.sampler import Sampler, uniform
from edgeinfer.inference.sampling import SamplingParams

Weights = npt.NDArray[np.float64]
PLAIN: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "typical_p": 1.0, "top_p": 1.0, "min_p": 0.0}
"""Nothing cut: the model's own distribution."""

DRAWS = 4000
LOGITS = np.random.default_rng(7).normal(0, 2, 40).astype(np.float32)


def sampler(*, seed: int = 1, stream: int = 0, prompt: tuple[int, ...] = (), **params: Any) -> Sampler:
    return Sampler(SamplingParams(**params), seed, stream, prompt)


def row(*logits: float) -> Row:
    return np.array(logits, np.float32)


def drawn(logits: Row, produced: tuple[int, ...] = (), **params: Any) -> Counter[int]:
    """Counts of each token over DRAWS seeds."""
    counts: Counter[int] = Counter()
    for seed in range(DRAWS):
        one = sampler(seed=seed, **params)
        for token in produced:
            one.accept(token)
        counts[one.sample(logits.copy())] += 1
    return counts


def expected(
    logits: Row, produced: tuple[int, ...] = (), prompt: tuple[int, ...] = (), **changes: Any
) -> Weights:
    """The distribution that SamplingParams defines, computed step by step."""
    params = SamplingParams(**changes)
    values = logits.astype(np.float64)
    history = [*prompt, *produced]
    recent = history if params.repeat_last_n < 0 else history[-params.repeat_last_n :]
    for token in set(recent if params.repeat_last_n else []):
        positive = values[token] > 0
        values[token] *= 1 / params.repeat_penalty if positive else params.repeat_penalty
    for token, count in Counter(produced).items():
        values[token] -= params.presence_penalty + params.frequency_penalty * count
    for token, bias in params.logit_bias.items():
        values[token] += bias
    p = normalised(np.exp((values - values.max()) / params.temperature))
    if params.top_k:
        p = normalised(np.where(p >= np.sort(p)[-min(params.top_k, len(p))], p, 0))
    if params.typical_p < 1:
        p = typical(p, params.typical_p)
    in_top_p = np.zeros(len(p), bool)
    for token in np.argsort(-p):
        if p[in_top_p].sum() < params.top_p:
            in_top_p[token] = True
    p = normalised(np.where(in_top_p, p, 0))
    return normalised(np.where(p >= params.min_p * p.max(), p, 0))


def typical(p: Weights, limit: float) -> Weights:
    """Locally typical sampling as llama.cpp writes it: a loop over candidates."""
    surprise = {token: -math.log(p[token]) for token in np.flatnonzero(p)}
    entropy = sum(p[token] * surprise[token] for token in surprise)
    kept = np.zeros(len(p), bool)
    for token in sorted(surprise, key=lambda t: (abs(surprise[t] - entropy), -p[t])):
        kept[token] = True
        if p[kept].sum() > limit:
            break
    return normalised(np.where(kept, p, 0))


def normalised(weights: Weights) -> Weights:
    scaled: Weights = weights / weights.sum()
    return scaled


def assert_distribution(weights: Weights, counts: Counter[int]) -> None:
    """Pearson's chi-square, bounded loosely: the mean of the distribution is its degrees of freedom."""
    total = counts.total()
    assert [] == [t for t in counts if weights[t] == 0]
    likely = [t for t in range(len(weights)) if weights[t] * total >= 5]
    chi2 = sum((counts[t] - weights[t] * total) ** 2 / (weights[t] * total) for t in likely)
    assert chi2 < len(likely) + 5 * math.sqrt(2 * len(likely)) + 5
    rare = [t for t in range(len(weights)) if weights[t] * total < 5]
    seldom = sum(float(weights[t]) * total for t in rare)
    assert sum(counts[t] for t in rare) <= seldom + 5 * math.sqrt(seldom) + 5


def test_temperature_0_takes_the_likeliest() -> None:
    """A temperature of 0 is greedy, whatever the filters are."""
    logits = row(1.0, 3.0, 2.0)
    assert 1 == sampler(temperature=0.0, top_k=3, top_p=0.1, min_p=0.9).sample(logits)


@pytest.mark.filterwarnings("error")
def test_a_temperature_near_0_is_nearly_greedy() -> None:
    """Of two that are equally likely, either is taken."""
    drawn = {sampler(seed=s, temperature=1e-50).sample(row(1.0, 3.0, 2.999, 3.0)) for s in range(50)}
    assert drawn == {1, 3}


def test_top_k_of_1_takes_the_likeliest() -> None:
    """A top_k of 1 is greedy at any temperature."""
    assert {1} == {sampler(seed=s, temperature=5.0, top_k=1).sample(row(1.0, 3.0, 2.9)) for s in range(50)}


def test_the_same_seed_stream_and_position_draw_the_same_token() -> None:
    """A resumed or preempted answer continues with the same draws."""

    def draws() -> list[int]:
        one, tokens = sampler(seed=5, stream=2, **PLAIN), []
        for _ in range(30):
            tokens.append(one.sample(LOGITS.copy()))
            one.accept(tokens[-1])
        return tokens

    assert draws() == draws()
    assert len(set(draws())) > 5


def test_a_draw_depends_on_the_position_and_not_on_the_draws_before() -> None:
    """A sampler that accepted the first tokens draws the rest like the one that drew them."""
    one, tokens = sampler(seed=9, **PLAIN), []
    for _ in range(10):
        tokens.append(one.sample(LOGITS.copy()))
        one.accept(tokens[-1])
    resumed = sampler(seed=9, **PLAIN)
    for token in tokens:
        resumed.accept(token)
    assert one.sample(LOGITS.copy()) == resumed.sample(LOGITS.copy())


def test_streams_of_one_seed_draw_different_tokens() -> None:
    """The n answers to one request differ."""
    answers = set()
    for stream in range(8):
        one, tokens = sampler(seed=5, stream=stream, **PLAIN), []
        for _ in range(12):
            tokens.append(one.sample(LOGITS.copy()))
            one.accept(tokens[-1])
        answers.add(tuple(tokens))
    assert 8 == len(answers)


@given(st.integers(-(2**70), 2**70), st.integers(0, 200), st.integers(0, 10**6))
def test_a_draw_lies_in_0_to_1(seed: int, stream: int, position: int) -> None:
    """Every seed gives draws between 0 and 1."""
    assert 0 <= uniform(seed, stream, position) < 1


@pytest.mark.parametrize("over", ["seed", "stream", "position"])
def test_draws_are_even_and_independent_over_each_argument(over: str) -> None:
    """Draws of neighbouring seeds, streams and positions are uncorrelated."""
    base = {"seed": 3, "stream": 0, "position": 0}
    draws = np.array([uniform(**(base | {over: i})) for i in range(DRAWS)])
    counts = np.histogram(draws, 20, (0, 1))[0]
    assert ((counts - DRAWS / 20) ** 2 / (DRAWS / 20)).sum() < 20 + 5 * math.sqrt(40)
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 5 / math.sqrt(DRAWS)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"temperature": 0.3},
        {"temperature": 2.5},
        {"top_k": 5},
        {"top_k": 1000},
        {"typical_p": 0.6},
        {"typical_p": 0.2, "temperature": 0.5},
        {"typical_p": 0.0},
        {"top_p": 0.6},
        {"top_p": 0.01},
        {"min_p": 0.1},
        {"min_p": 1.0},
        {"top_k": 12, "top_p": 0.7, "min_p": 0.2, "temperature": 1.7},
        {"top_p": 0.9, "min_p": 0.05, "temperature": 0.7},
        {"typical_p": 0.3, "min_p": 0.3},
        {"top_k": 20, "typical_p": 0.8, "top_p": 0.9, "min_p": 0.1, "temperature": 1.5},
        {"top_k": 3, "min_p": 0.001, "temperature": 4.0},
    ],
    ids=str,
)
def test_tokens_are_drawn_as_the_parameters_say(changes: dict[str, Any]) -> None:
    """Draws follow the distribution that `expected` computes."""
    params = PLAIN | changes
    assert_distribution(expected(LOGITS, **params), drawn(LOGITS, **params))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"top_k": 60},
        {"top_p": 0.8},
        {"top_p": 0.5, "temperature": 3.0},
        {"typical_p": 0.5},
        {"min_p": 0.02},
        {"top_k": 70, "top_p": 0.9, "min_p": 0.03},
    ],
    ids=str,
)
def test_tokens_of_a_large_vocabulary_are_drawn_as_the_parameters_say(changes: dict[str, Any]) -> None:
    """Shortcuts for many candidates change nothing."""
    params, logits = PLAIN | changes, np.random.default_rng(3).normal(0, 2, 5003).astype(np.float32)
    assert_distribution(expected(logits, **params), drawn(logits, **params))


@pytest.mark.parametrize("changes", [{}, {"top_k": 70}, {"top_p": 0.5}, {"min_p": 1.0}], ids=str)
def test_equally_likely_tokens_are_drawn_equally_often(changes: dict[str, Any]) -> None:
    """Of equal tokens a filter keeps as many as it should."""
    kept = {"top_k": 70, "top_p": 2502}.get(next(iter(changes), ""), 5003)
    counts = drawn(np.zeros(5003, np.float32), **(PLAIN | changes))
    assert len(counts) <= kept
    assert abs(len(counts) - kept * (1 - math.exp(-DRAWS / kept))) < 0.05 * kept


@pytest.mark.parametrize(
    "changes",
    [
        {"repeat_penalty": 1.8},
        {"repeat_penalty": 1.8, "repeat_last_n": 2},
        {"repeat_penalty": 1.8, "repeat_last_n": -1},
        {"repeat_penalty": 0.5, "repeat_last_n": 4},
        {"presence_penalty": 1.5},
        {"frequency_penalty": 0.8},
        {"frequency_penalty": -0.5, "presence_penalty": -1.0},
        {"logit_bias": {0: 3.0, 39: -2.0}},
        {"repeat_penalty": 1.3, "presence_penalty": 0.5, "frequency_penalty": 0.5, "logit_bias": {3: 1.0}},
    ],
    ids=str,
)
def test_penalties_and_biases_shift_the_distribution(changes: dict[str, Any]) -> None:
    """Draws follow `expected`. Token 3 was produced three times; tokens 8 and 9 are in the prompt."""
    params, produced, prompt = PLAIN | changes, (3, 5, 3, 7, 3), (8, 9, 5)
    weights = expected(LOGITS, produced, prompt, **params)
    assert_distribution(weights, drawn(LOGITS, produced, prompt=prompt, **params))


def test_draws_over_the_positions_of_one_answer_follow_the_distribution() -> None:
    """Draws at many positions with one seed follow the distribution."""
    one, counts = sampler(seed=77, **PLAIN), Counter[int]()
    for _ in range(DRAWS):
        token = one.sample(LOGITS.copy())
        one.accept(token)
        counts[token] += 1
    assert_distribution(expected(LOGITS, **PLAIN), counts)


@pytest.mark.parametrize(
    ("last_n", "token"), [(0, 1), (1, 1), (2, 0), (3, 0), (-1, 0), (64, 0)], ids=lambda v: str(v)
)
def test_repeat_last_n_bounds_how_far_the_penalty_looks_back(last_n: int, token: int) -> None:
    """The most likely token is the second last; 0 is off, -1 is the whole sequence."""
    one = sampler(temperature=0.0, repeat_penalty=2.0, repeat_last_n=last_n, prompt=(1, 2))
    assert token == one.sample(row(2.0, 2.1, 1.0))


def test_the_repeat_penalty_window_runs_over_answer_and_prompt_alike() -> None:
    """Each produced token pushes one of the prompt out of the window."""
    one = sampler(temperature=0.0, repeat_penalty=2.0, repeat_last_n=2, prompt=(1, 2))
    one.accept(2)
    assert 1 == one.sample(row(2.0, 2.1, 1.0))


def test_a_negative_logit_is_multiplied_by_the_repeat_penalty() -> None:
    """Dividing a negative logit would make its token more likely."""
    one = sampler(temperature=0.0, repeat_penalty=3.0, prompt=(1,))
    assert 0 == one.sample(row(-2.0, -1.0, -9.0))


def test_presence_and_frequency_penalties_do_not_count_the_prompt() -> None:
    """OpenAI's penalties count only the answer."""
    one = sampler(temperature=0.0, presence_penalty=2.0, frequency_penalty=2.0, prompt=(1, 1, 1))
    assert 1 == one.sample(row(0.0, 1.0))


def test_the_frequency_penalty_grows_with_each_repetition() -> None:
    """The frequency penalty grows with each repetition."""
    one = sampler(temperature=0.0, frequency_penalty=0.4)
    tokens = []
    for _ in range(5):
        tokens.append(one.sample(row(1.0, 0.0)))
        one.accept(tokens[-1])
    assert [0, 0, 0, 1, 0] == tokens


@pytest.mark.parametrize("temperature", [0.0, 0.7, 2.0])
def test_a_bias_of_100_forces_a_token(temperature: float) -> None:
    """A bias of 100 forces even an unlikely token."""
    logits = np.linspace(0, 20, 50).astype(np.float32)
    tokens = {
        sampler(seed=s, temperature=temperature, logit_bias={0: 100.0}).sample(logits.copy())
        for s in range(50)
    }
    assert {0} == tokens


@pytest.mark.parametrize("temperature", [0.0, 0.7, 2.0])
def test_a_bias_of_minus_100_forbids_a_token(temperature: float) -> None:
    """A bias of -100 forbids even the most likely token."""
    logits = row(20.0, 1.0, 0.5)
    tokens = {
        sampler(seed=s, temperature=temperature, logit_bias={0: -100.0}).sample(logits.copy())
        for s in range(50)
    }
    assert 0 not in tokens


def test_typical_p_may_drop_the_likeliest() -> None:
    """A token is typical if its surprise is near the entropy; the likeliest may be too predictable."""
    logits = np.log(np.array([0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], np.float32))
    drawn_tokens = set(drawn(logits, **PLAIN | {"typical_p": 0.25}))
    assert {1, 2, 3} == drawn_tokens


def test_a_token_that_is_masked_out_is_never_drawn() -> None:
    """A row may contain minus infinity."""
    logits = row(-math.inf, 0.0, -math.inf, -0.5)
    tokens = {sampler(seed=s, **PLAIN | {"temperature": 5.0}).sample(logits.copy()) for s in range(200)}
    assert {1, 3} == tokens


def test_equal_logits_are_all_drawn() -> None:
    """Tokens with equal logits are drawn equally often."""
    assert_distribution(np.full(10, 0.1), drawn(np.zeros(10, np.float32), **PLAIN))


def log_softmax(logits: Row) -> Weights:
    values = logits.astype(np.float64)
    log_p: Weights = values - values.max() - math.log(np.exp(values - values.max()).sum())
    return log_p


@pytest.mark.parametrize("k", [0, 1, 5, 39, 40])
def test_logprobs_are_those_of_the_softmax_best_first(k: int) -> None:
    """The top k are right for any k up to the whole vocabulary."""
    reference = log_softmax(LOGITS)
    logprob, top = log_probabilities(LOGITS, 11, k)
    assert reference[11] == pytest.approx(logprob, abs=1e-5)
    assert np.argsort(-reference)[:k].tolist() == [t for t, _ in top]
    assert [pytest.approx(reference[t], abs=1e-5) for t, _ in top] == [p for _, p in top]


def test_logprobs_of_large_logits_do_not_overflow() -> None:
    """Log-probabilities are finite for very large logits."""
    logprob, top = log_probabilities(row(1e4, 1e4, -1e4), 0, 2)
    assert pytest.approx(math.log(0.5)) == logprob
    assert {0, 1} == {t for t, _ in top}


def test_more_logprobs_than_tokens_are_all_tokens() -> None:
    """A k beyond the vocabulary gives all tokens."""
    assert [1, 2, 0] == [t for t, _ in log_probabilities(row(0.0, 2.0, 1.0), 0, 20)[1]]
