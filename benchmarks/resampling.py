"""Intervals and p-values of what is not a mean: ratios of sums, and how well a number tells two groups apart.

Shapes: E episodes, n pairs, G bootstrap draws.
"""

from __future__ import annotations

import math

import numpy as np

DRAWS = 2_000
FEWEST = 5  # episodes, from fewer of which no interval follows
EACH = 8  # of each kind, from fewer of which the normal approximation gives no p-value


def counts(n: int, seed: int) -> np.ndarray:
    """How often each of n samples is in each draw of n with replacement: (G, n)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float64)


def by_cluster(cluster: np.ndarray, seed: int) -> np.ndarray:
    """How often each of n samples is in each draw of whole clusters, as pairs of an episode: (n,) -> (G, n)."""
    _, which = np.unique(cluster, return_inverse=True)
    return counts(int(which.max(initial=-1)) + 1, seed)[:, which] if len(which) else np.zeros((DRAWS, 0))


def interval(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap 95 % interval of statistics (G, ...), without the draws where it is not defined."""
    low, high = np.nanpercentile(draws, [2.5, 97.5], axis=0)
    return low, high


def ratio_interval(top: np.ndarray, bottom: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ratio of sums over episodes (E, ...) each, and its percentile bootstrap 95 % interval: ratio, low, high (...).

    Ends are NaN where there are fewer than `FEWEST` episodes.
    """
    weights = counts(len(top), seed)
    floor = 1e-12  # of a model that never moves
    draws = np.einsum("ge,e...->g...", weights, top) / np.maximum(np.einsum("ge,e...->g...", weights, bottom), floor)
    low, high = interval(draws) if len(top) >= FEWEST else np.full((2, *top.shape[1:]), math.nan)
    return top.sum(axis=0) / np.maximum(bottom.sum(axis=0), floor), low, high


def wins(score: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """For each positive and each other, 1 if the positive's score is higher, 1/2 if equal, else 0."""
    gap = score[positive][:, None] - score[~positive]
    return (np.sign(gap) + 1) / 2


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive scores higher than another, ties counted half; NaN if there are none of either.

    Args:
        score: (n,).
        positive: (n,) bool.
    """
    won = wins(score, positive)
    return float(won.mean()) if won.size else math.nan


def auc_draws(score: np.ndarray, positive: np.ndarray, cluster: np.ndarray, seed: int = 0) -> np.ndarray:
    """The same of bootstrap draws, (G,), of whole clusters (n,); with equal seeds of the same draws."""
    weights = by_cluster(cluster, seed)
    ones, others = weights[:, positive], weights[:, ~positive]
    total = ones.sum(axis=1) * others.sum(axis=1)
    won = np.einsum("gi,ij,gj->g", ones, wins(score, positive), others, optimize=True)
    return np.divide(won, total, out=np.full(len(total), math.nan), where=total > 0)


def mann_whitney(score: np.ndarray, positive: np.ndarray) -> float | None:
    """Two-sided p-value that positives and others score alike (Mann and Whitney 1947).

    By the normal approximation with correction for ties and continuity, which is good from about 8 of each on; None
    where there are fewer.
    """
    n, ones = len(score), int(positive.sum())
    others = n - ones
    ties = np.unique(score, return_counts=True)[1].astype(float)
    if min(ones, others) < EACH:
        return None
    std = math.sqrt(ones * others / 12 * (n + 1 - float((ties**3 - ties).sum()) / (n * (n - 1))))
    away = abs(auc(score, positive) - 0.5) * ones * others - 0.5
    return math.erfc(max(away, 0.0) / std / math.sqrt(2)) if std else 1.0
