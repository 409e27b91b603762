"""AUC and its p-value against counting, and intervals that hold what they should."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from tests.oracles import auc_slow
from worldmodel.benchmarks.resampling import auc, auc_draws, by_cluster, counts, interval, mann_whitney, ratio_interval


def test_auc_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    score, positive = rng.integers(0, 8, 30).astype(float), rng.random(30) < 0.4
    assert auc(score, positive) == pytest.approx(auc_slow(score.tolist(), positive.tolist()))
    assert auc(np.array([1.0, 2, 3, 4]), np.array([False, False, True, True])) == 1
    assert math.isnan(auc(score, np.zeros(30, bool)))


def test_draws_are_those_of_repeated_rows() -> None:
    rng = np.random.default_rng(1)
    score, positive = rng.standard_normal(12), rng.random(12) < 0.5
    weights, draws = counts(12, 3), auc_draws(score, positive, np.arange(12), 3)
    for weight, drawn in list(zip(weights, draws))[:20]:
        rows = np.repeat(np.arange(12), weight.astype(int))
        expected = auc(score[rows], positive[rows])
        assert drawn == pytest.approx(expected, nan_ok=True)
    low, high = interval(draws)
    assert 0 <= low <= auc(score, positive) <= high <= 1


def test_whole_clusters_are_drawn() -> None:
    cluster = np.array([5, 5, 2, 2, 2, 9])
    weights = by_cluster(cluster, 3)
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 2:4] == weights[:, 4:5]).all()
    assert (weights[:, [0, 2, 5]].sum(axis=1) == 3).all() and weights.std(axis=0).min() > 0
    alone, odd = np.arange(8.0), np.tile([False, True], 4)
    score, positive, cluster = (np.repeat(x, 9) for x in (alone, odd, np.arange(8)))
    draws = auc_draws(score, positive, cluster, 3)  # nine copies of a pair tell no more than the pair
    np.testing.assert_allclose(draws, auc_draws(alone, odd, np.arange(8), 3))


def test_the_p_value_is_near_the_exact_one() -> None:
    score = np.array([1.0, 2, 3, 4, 5, 6, 7, 9, 8, 10, 11, 12, 13, 14, 15, 16])
    positive = np.array([0, 0, 0, 1, 0, 0, 1, 0, 1, 0, 1, 1, 1, 1, 0, 1], bool)
    away = abs(auc(score, positive) - 0.5)
    picks = [np.isin(np.arange(16), chosen) for chosen in combinations(range(16), 8)]
    exact = np.mean([abs(auc(score, pick) - 0.5) >= away - 1e-9 for pick in picks])
    assert mann_whitney(score, positive) == pytest.approx(exact, rel=0.1)
    assert mann_whitney(np.ones(16), positive) == 1
    assert mann_whitney(score[:-1], positive[:-1]) is None  # seven of one kind


def test_a_ratio_of_sums_has_the_interval_of_its_episodes() -> None:
    rng = np.random.default_rng(2)
    bottom = rng.uniform(1, 2, (40, 3))
    ratio, low, high = ratio_interval(bottom * [0.5, 1, 2], bottom)
    assert ratio.tolist() == pytest.approx([0.5, 1, 2])
    assert low.tolist() == pytest.approx([0.5, 1, 2]) and high.tolist() == pytest.approx([0.5, 1, 2])
    _, low, high = ratio_interval(bottom[:4], bottom[:4])
    assert np.isnan([low, high]).all()  # of four episodes there is none
    noisy = bottom * rng.uniform(0, 2, (40, 3))
    ratio, low, high = ratio_interval(noisy, bottom)
    assert (low < ratio).all() and (ratio < high).all()
    by_hand = [noisy[rows].sum(axis=0) / bottom[rows].sum(axis=0) for rows in rng.integers(0, 40, (2000, 40))]
    assert low.tolist() == pytest.approx(np.percentile(by_hand, 2.5, axis=0).tolist(), abs=0.05)
