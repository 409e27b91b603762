"""The cross-entropy method in numpy, for one robot; the twin of ``planners/cem.py``, whose settings it takes.

Shapes: n candidates, K elites, H horizon (model steps), F action block, a action size, A = F * a.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from worldmodel.errors import WorldModelError
from worldmodel.planners.config import SAFETY, CEMConfig

Array = np.ndarray


def cem(
    cost: Callable[[Array], Array],
    start: Array,
    low: Array,
    high: Array,
    action_block: int,
    random: Callable[[tuple[int, ...]], Array],
    config: CEMConfig,
    until: float | None = None,
) -> Array:
    """Minimise a cost over plans (H, A), as ``worldmodel.planners.cem.CEM`` does with the same noise.

    Args:
        cost: plans (n, H, A), normalised -> (n,); NaN counts as infinitely bad.
        start: first guess (H, A).
        low: lower bound of an action block, (A,).
        high: upper bound.
        action_block: F.
        random: standard normal noise of a shape, float32.
        config: sizes of the search.
        until: time of ``time.perf_counter`` by which to be ready, after one iteration at least; a search cut short
            gives the cheapest plan it saw.

    Raises:
        WorldModelError: no plan has a finite cost.
    """
    mean = best = np.clip(start, low, high)
    std, least = np.full_like(mean, config.init_std), np.inf
    slowest, last = 0.0, time.perf_counter()
    for iteration in range(config.iterations):
        n = config.population(iteration)
        plans = mean + std * correlate(random((n, *mean.shape)), config.fading(iteration), action_block)
        plans[0] = mean
        plans = np.clip(plans, low, high)
        costs = np.nan_to_num(cost(plans), nan=np.inf, posinf=np.inf, neginf=-np.inf)
        order = np.argsort(costs, kind="stable")[: config.elites]
        elites = plans[order]
        if costs[order[0]] < least:
            best, least = elites[0], costs[order[0]]
        if not np.isfinite(least):
            raise WorldModelError("no candidate plan has a finite cost: the model predicts NaN or infinite latents")
        mean = elites.mean(axis=0)
        std = np.maximum(elites.std(axis=0, ddof=1) if len(elites) > 1 else np.zeros_like(mean), config.min_std)
        if std.max() < config.tolerance:
            break
        if until is not None and iteration + 1 < config.iterations:
            now = time.perf_counter()
            slowest, last = max(slowest, (now - last) / n), now
            if now + SAFETY * slowest * config.population(iteration + 1) > until:
                return best  # what it would have converged to is not known yet
    return np.clip(mean, low, high)


def correlate(noise: Array, correlation: float, action_block: int) -> Array:
    """White noise (n, H, A) as AR(1) noise over primitive actions; see ``worldmodel.noise.correlate``."""
    n, H, A = noise.shape
    e = noise.reshape(n, H * action_block, A // action_block).copy()
    rho, fresh = np.float32(correlation), np.float32((1 - correlation**2) ** 0.5)
    for t in range(1, e.shape[1]):
        e[:, t] = rho * e[:, t - 1] + fresh * e[:, t]
    return e.reshape(noise.shape)
