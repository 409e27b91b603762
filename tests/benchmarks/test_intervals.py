from __future__ import annotations

import math

import numpy as np
import pytest

from tests.oracles import sign_flips_slow, signed_rank_slow
from worldmodel.benchmarks import intervals
from worldmodel.benchmarks.intervals import bootstrap_clusters, mcnemar, sign_flips, signed_rank, wilson
from worldmodel.errors import BadValue


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_values(successes, n, low, high):
    assert wilson(successes, n) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))
    mirrored = wilson(n - successes, n)
    assert mirrored == (pytest.approx(1 - high, abs=6e-5), pytest.approx(1 - low, abs=6e-5))


def test_ends_are_exact():
    assert wilson(0, 50)[0] == 0.0
    assert wilson(50, 50)[1] == 1.0
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("successes", [-1, 11])
def test_impossible_counts(successes):
    with pytest.raises(BadValue, match="0 to 10"):
        wilson(successes, 10)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [  # two tails of the binomial distribution, as tables of the sign test have them
        (0, 5, 0.0625),
        (0, 6, 0.03125),
        (1, 9, 22 / 1024),
        (2, 8, 112 / 1024),
        (5, 15, 0.041389465),
        (10, 10, 1.0),
        (0, 0, 1.0),
        (1, 1, 1.0),
    ],
)
def test_mcnemar(only_first, only_second, p):
    assert mcnemar(only_first, only_second) == pytest.approx(p, rel=1e-7)
    assert mcnemar(only_second, only_first) == mcnemar(only_first, only_second)


def test_mcnemar_of_very_many_pairs_is_the_chi_squared_one():
    """McNemar's own: (|b - c| - 1)^2 / (b + c) with one degree of freedom, whose tail is an error function."""
    assert mcnemar(5200, 5000) == pytest.approx(math.erfc(199 / math.sqrt(2 * 10200)), rel=1e-3)
    assert 0 <= mcnemar(5000, 1) < 1e-300


def test_mcnemar_impossible_counts():
    with pytest.raises(BadValue, match="-1 and 2"):
        mcnemar(-1, 2)


def test_clusters_widen_the_interval_by_what_their_values_share():
    rng = np.random.default_rng(0)
    one = rng.random(20) < 0.5
    shared = np.repeat(one, 10).astype(float)
    alone = bootstrap_clusters(shared, np.arange(200))
    together = bootstrap_clusters(shared, np.repeat(np.arange(20), 10))
    assert together[1] - together[0] > 2.5 * (alone[1] - alone[0])  # sqrt(10) times, on average
    assert together[0] < shared.mean() < together[1]
    assert bootstrap_clusters(np.ones(3), np.zeros(3)) == (1.0, 1.0)
    with pytest.raises(BadValue, match="at least one"):
        bootstrap_clusters(np.empty(0), np.empty(0))


@pytest.mark.parametrize(("n", "lower", "p"), [(6, 0, 0.03125), (10, 8, 50 / 1024), (12, 13, 174 / 4096)])
def test_signed_rank_has_the_values_of_the_tables(n, lower, p):
    """Wilcoxon's critical values: the differences 1 to n, of which those below 0 have ranks that add to ``lower``."""
    negative = {0: (), 8: (1, 2, 5), 13: (1, 2, 10)}[lower]
    differences = np.array([-d if d in negative else d for d in range(1, n + 1)], float)
    assert signed_rank(differences) == pytest.approx(p, abs=5e-5)
    assert signed_rank(-differences) == pytest.approx(signed_rank(differences), rel=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_signed_rank_counts_all_signs(seed):
    rng = np.random.default_rng(seed)
    differences = rng.integers(-3, 6, rng.integers(1, 11)).astype(float)  # with ties and zeros
    assert signed_rank(differences) == pytest.approx(signed_rank_slow(differences.tolist()), rel=1e-12)


def test_sign_flips_by_hand():
    """Sums 3, 2, 1, 1 of which all are ahead: 1 of 16 choices is as large, and 1 as small."""
    differences, cluster = np.ones(7), np.array([0, 0, 0, 1, 1, 2, 3])
    assert sign_flips(differences, cluster) == 2 / 16
    differences[3:5] = -1  # 3 - 2 + 1 + 1 = 3: choices that add to 3 or more are 7, 5, 5, 3 and 3
    assert sign_flips(differences, cluster) == 10 / 16
    assert sign_flips(np.zeros(3), np.arange(3)) == sign_flips(np.empty(0), np.empty(0, int)) == 1.0
    with pytest.raises(BadValue, match="whole"):
        sign_flips(np.array([0.5]), np.zeros(1))


@pytest.mark.parametrize("seed", range(20))
def test_sign_flips_count_all_choices(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    differences, cluster = rng.integers(-1, 2, n).astype(float), rng.integers(0, 9, n)
    expected = sign_flips_slow(differences.tolist(), cluster.tolist())
    assert sign_flips(differences, cluster) == pytest.approx(expected, rel=1e-12)
    ahead, behind = int((differences > 0).sum()), int((differences < 0).sum())
    assert sign_flips(differences, np.arange(n)) == pytest.approx(mcnemar(ahead, behind), rel=1e-12)


def test_signed_rank_of_nothing_and_of_very_many():
    assert signed_rank(np.zeros(3)) == signed_rank(np.empty(0)) == 1.0
    assert signed_rank(np.arange(1.0, 101)) == pytest.approx(2.0**-99, rel=1e-12)
    with pytest.raises(BadValue, match="finite"):
        signed_rank(np.array([1.0, np.nan]))


def test_many_differences_are_ranked_by_the_normal_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.1, 0.25):
        differences = np.round(rng.normal(shift, 1, 200), 1)  # with ties
        exact = signed_rank(differences)
        with monkeypatch.context() as patch:
            patch.setattr(intervals, "EXACT", 199)
            assert signed_rank(differences) == pytest.approx(exact, rel=0.03)
    assert signed_rank(np.ones(5000)) < 1e-100 and signed_rank(np.zeros(5000)) == 1
