"""How far success rates and mean returns of n episodes can be trusted, and the difference of two on the same ones."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from worldmodel.errors import BadValue

Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution
MEANS, CLUSTERED = 10_000, 2_000  # bootstrap draws, of values and of clusters
EXACT = 200  # differences, of which a signed-rank test counts all ways to choose the signs


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson score 95 % interval of a binomial proportion (Wilson 1927), without continuity correction.

    ``(p + z^2/2n -+ z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n)``; it stays inside [0, 1] and is honest at 0 and 1.

    Args:
        successes: how many succeeded.
        n: of how many.

    Returns:
        low, high; (0, 1) when n is 0.

    Raises:
        BadValue: not 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise BadValue(f"successes: expected 0 to {n}, got {successes}")
    if n == 0:
        return 0.0, 1.0
    p, z = successes / n, Z95
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = (centre - half) / scale, (centre + half) / scale
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value that two policies succeed equally often, from the pairs where just one of them did.

    McNemar (1947) with the binomial distribution: of n such pairs, ``min(1, 2 P[X <= min(b, c)])``, X ~ B(n, 1/2).
    Pairs that both or neither solved say nothing. Sharper than comparing two intervals, as both saw the same pairs.

    Args:
        only_first: b, pairs that the first alone solved.
        only_second: c, pairs that the second alone solved.

    Raises:
        BadValue: a negative count.
    """
    if min(only_first, only_second) < 0:
        raise BadValue(f"pairs: expected counts of 0 or more, got {only_first} and {only_second}")
    n = only_first + only_second
    tail = sum(math.comb(n, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, float(Fraction(2 * tail, 2**n)))


def sign_flips(differences: np.ndarray, cluster: np.ndarray) -> float:
    """Exact two-sided p-value that two policies do equally well, when what one cluster shows is evidence just once.

    Fisher's randomisation test (1935): if they do, either could have had the other's results of a whole cluster, so
    every choice of signs of the clusters' sums ``d`` is as likely, and the p-value is the share of choices with
    ``|sum of +-d|`` at least the observed one. All are counted, one cluster after another. With every pair a cluster of
    its own this is `mcnemar`.

    Args:
        differences: (n,) whole numbers, such as 1 where the first alone succeeded and -1 where the second did.
        cluster: (n,), which cluster each belongs to.

    Raises:
        BadValue: some that are not whole.
    """
    if not (differences == np.rint(differences)).all():
        raise BadValue(f"differences: expected whole numbers, got {differences}")
    _, which = np.unique(cluster, return_inverse=True)
    sums = np.bincount(which, differences).astype(int)
    shares = np.ones(1)  # of the choices, by what the positive ones add to
    for size in np.abs(sums[sums != 0]).tolist():
        shares = 0.5 * (np.pad(shares, (size, 0)) + np.pad(shares, (0, size)))
    total = 2 * np.arange(len(shares)) - np.abs(sums).sum()
    return min(1.0, float(shares[np.abs(total) >= abs(sums.sum())].sum()))


def signed_rank(differences: np.ndarray) -> float:
    """Two-sided p-value that paired differences are as often above as below 0, the larger ones counting more.

    Wilcoxon's signed-rank test (1945): the ranks of ``|d|`` are added over ``d > 0``, and the p-value is twice the
    share of all ways to choose the signs that give a sum as extreme. Zeros are left out, equal ones share their mean
    rank. The share is counted, not approximated, one rank after another splitting the distribution of the sum in two;
    above `EXACT` differences, where that takes long, it is that of the normal distribution of equal mean and variance,
    with corrections for continuity and, by the shared ranks, for ties.

    Args:
        differences: (n,).

    Raises:
        BadValue: some that are not finite.
    """
    if not np.isfinite(differences).all():
        raise BadValue(f"differences: expected finite numbers, got {differences}")
    values = differences[differences != 0]
    order = np.sort(np.abs(values))
    first, last = (np.searchsorted(order, np.abs(values), side) for side in ("left", "right"))
    ranks = first + last + 1  # twice the mean rank, a whole number
    above, whole = int(ranks[values > 0].sum()), int(ranks.sum())
    if len(values) > EXACT:
        away = max(abs(above - whole / 2) - 1, 0.0)  # 1 is half of the step between doubled ranks
        return math.erfc(away / math.sqrt(float((ranks.astype(float) ** 2).sum()) / 4) / math.sqrt(2))
    shares = np.ones(1)
    for rank in ranks.tolist():
        shares = 0.5 * (np.pad(shares, (rank, 0)) + np.pad(shares, (0, rank)))
    return min(1.0, 2 * float(min(shares[: above + 1].sum(), shares[above:].sum())))


def bootstrap_mean(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap 95 % interval of a mean (Efron 1979): low, high; equal where there is one value.

    Args:
        values: (n,).
        seed: of the draws of n values, with replacement.

    Raises:
        BadValue: no values, or some that are not finite.
    """
    if not len(values) or not np.isfinite(values).all():
        raise BadValue(f"values: expected finite numbers, at least one, got {values}")
    rng = np.random.default_rng(seed)
    means = [rng.choice(values, len(values)).mean() for _ in range(MEANS)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def bootstrap_clusters(values: np.ndarray, cluster: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap 95 % interval of a mean whose values come in clusters, such as pairs of one episode.

    Whole clusters are drawn with replacement, so that what their values share is not counted as evidence twice.

    Args:
        values: (n,).
        cluster: (n,), which cluster each belongs to.
        seed: of the draws of as many clusters as there are, with replacement.

    Raises:
        BadValue: no values.
    """
    if not len(values):
        raise BadValue("values: expected at least one, got none")
    _, which = np.unique(cluster, return_inverse=True)
    sums, sizes = np.bincount(which, values), np.bincount(which)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(CLUSTERED, len(sums)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [2.5, 97.5])
    return float(low), float(high)
