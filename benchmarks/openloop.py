"""Open-loop error against horizon: what predictors say of held-out episodes, in the latent space that they share.

From every row of an episode that is far enough from its end, each predictor follows the recorded actions; beyond its
longest trained prefix, jumps are composed. All horizons are judged on the same starts. Intervals are bootstraps over
episodes, because the starts of one episode are no independent samples.

Shapes: B starts, H model steps ahead, D latent width, E episodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.benchmarks.heldout import Episode, windows
from worldmodel.benchmarks.resampling import ratio_interval
from worldmodel.diagnostics import squared_errors
from worldmodel.errors import BadValue
from worldmodel.interfaces import Context
from worldmodel.model import WorldModel

REACHED = 0.5  # share of the episodes that hold the longest one


@torch.no_grad()
def measure(model: WorldModel, episodes: Sequence[Episode], asked: Sequence[int], seed: int) -> dict[str, Any]:
    """Open-loop error, the same over that of copying the last latent, and action sensitivity, at each horizon.

    Args:
        model: has one encoder, so errors of its predictors can be compared.
        episodes: held out.
        asked: horizons; those that fewer than half of the episodes reach are left out.
        seed: of the shuffling and the bootstrap.

    Raises:
        BadValue: none is reached.
    """
    C, F = model.config.context, model.config.action_block
    lengths = np.array([len(e.z) for e in episodes])
    horizons = [h for h in sorted(set(asked)) if np.mean(lengths >= C + h) >= REACHED]
    if not horizons:
        raise BadValue(f"--horizons: the episodes, of {lengths.max() - 1} model steps at most, reach none of {asked}")
    furthest = horizons[-1]
    at = [h - 1 for h in horizons]
    z, actions, owner = windows(episodes, C + furthest)
    past, future = Context(z[:, :C], actions[:, : C - 1]), actions[:, C - 1 :]
    plans = torch.stack([future, future.roll(_shift(owner, seed), dims=0)], dim=1)

    def summed(errors: Tensor) -> np.ndarray:
        """Sums over the starts of each episode, (E, horizons)."""
        total = np.zeros((len(episodes), len(at)))
        np.add.at(total, owner, errors[:, at].double().cpu().numpy())
        return total[np.unique(owner)]

    copy = summed(squared_errors(z[:, C - 1 : C].expand(-1, furthest, -1), z[:, C - 1 :]))
    told = {name: model.predictor(name).rollout(past, plans) for name in model.predictors}
    right, wrong = (
        {name: summed(squared_errors(path[:, i], z[:, C - 1 :])) for name, path in told.items()} for i in (0, 1)
    )
    values: dict[str, Any] = {
        "horizons": horizons,
        "env_steps": [h * F for h in horizons],
        "n_starts": len(z),
        "n_episodes": len(copy),
        "copy": (copy.sum(axis=0) / len(z)).tolist(),
        "predictors": {name: _summary(right[name], wrong[name], copy, len(z), seed) for name in told},
    }
    for name, found in values["predictors"].items():
        found["jumps"] = [-(-h // model.predictor(name).max_prefix) for h in horizons]
    if len(told) == 2:
        value, low, high = ratio_interval(right["prefix"] - right["one-step"], copy, seed)
        values["prefix_minus_one_step"] = {"over_copy": value.tolist(), "low": low.tolist(), "high": high.tolist()}
    return values


def rows(values: Mapping[str, Any]) -> list[list[str]]:
    """The table: one line for each horizon."""
    names = list(values["predictors"])
    heads = [[f"{name}: error / copying", "95 %", "shuffled actions"] for name in names]
    table = [["model steps", "environment steps", *sum(heads, [])]]
    for i, (h, steps) in enumerate(zip(values["horizons"], values["env_steps"])):
        cells = []
        for found in values["predictors"].values():
            interval = f"[{found['low'][i]:.3f}, {found['high'][i]:.3f}]"
            jumps = f" ({found['jumps'][i]} jumps)" if 1 < found["jumps"][i] < h else ""
            cells += [f"{found['over_copy'][i]:.3f}{jumps}", interval, f"x {found['sensitivity'][i]:.1f}"]
        table.append([str(h), str(steps), *cells])
    return table


def _shift(owner: np.ndarray, seed: int) -> int:
    """By how many rows to roll actions so that, but for one long episode among short ones, none stays in its own."""
    n, most = len(owner), int(np.bincount(owner).max())
    return int(np.random.default_rng(seed).integers(most, n - most + 1)) if n >= 2 * most else n // 2


def _summary(right: np.ndarray, wrong: np.ndarray, copy: np.ndarray, n: int, seed: int) -> dict[str, list[float]]:
    over_copy, low, high = ratio_interval(right, copy, seed)
    sensitivity, least, most = ratio_interval(wrong, right, seed)
    return {
        "error": (right.sum(axis=0) / n).tolist(),
        "over_copy": over_copy.tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
        "sensitivity": sensitivity.tolist(),
        "sensitivity_low": least.tolist(),
        "sensitivity_high": most.tolist(),
    }
