"""Open-loop error against horizon: what predictors say of held-out episodes, in the latent space that they share.

From every model step of an episode that is far enough from its end, each predictor follows the recorded actions;
beyond its longest trained prefix, jumps are composed. Intervals are bootstraps over episodes, because the starts of one
episode are no independent samples; there are none of fewer than five.

Shapes: B starts, H model steps ahead, D latent width, E episodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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

REACHED = 0.5  # share of the episodes that are as long as a horizon


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
    z, actions, owner = windows([_padded(e, furthest - horizons[0]) for e in episodes], C + furthest)
    past, seen = Context(z[:, :C], actions[:, : C - 1]), z[:, C - 1 :]
    future = actions[:, C - 1 :]
    others = future[_lenders(owner, future[..., 0].isfinite().sum(dim=1).cpu().numpy(), seed)]
    plans = torch.stack([future, others], dim=1).nan_to_num()  # no prediction looks at later actions

    def summed(errors: Tensor) -> np.ndarray:
        """Sums over the starts of each episode, (E, horizons)."""
        total = np.zeros((len(episodes), len(horizons)))
        chosen = errors[:, [h - 1 for h in horizons]]
        np.add.at(total, owner, chosen.nan_to_num().double().cpu().numpy())
        return total[np.unique(owner)]

    stayed = squared_errors(z[:, C - 1 : C].expand(-1, furthest, -1), seen)
    copy, n = summed(stayed), summed(stayed.isfinite().float()).sum(axis=0)
    right, found = {}, {}
    for name in model.predictors:
        predictor = model.predictor(name)
        own, shuffled = (squared_errors(path, seen) for path in predictor.rollout(past, plans).unbind(dim=1))
        right[name] = summed(own)
        sensitivity = ratio_interval(summed(shuffled), right[name], seed)
        found[name] = {
            "error": (right[name].sum(axis=0) / n).tolist(),
            **_named(("over_copy", "low", "high"), ratio_interval(right[name], copy, seed)),
            **_named(("sensitivity", "sensitivity_low", "sensitivity_high"), sensitivity),
            "jumps": [-(-h // predictor.max_prefix) for h in horizons],
        }
    values = {
        "horizons": horizons,
        "env_steps": [h * F for h in horizons],
        "n_starts": n.astype(int).tolist(),
        "n_episodes": len(copy),
        "copy": (copy.sum(axis=0) / n).tolist(),
        "predictors": found,
    }
    if len(found) == 2:
        gap = ratio_interval(right["prefix"] - right["one-step"], copy, seed)
        values["prefix_minus_one_step"] = _named(("over_copy", "low", "high"), gap)
    return values


def rows(values: Mapping[str, Any]) -> list[list[str]]:
    """The table: one line for each horizon."""
    heads = [
        cell
        for name in values["predictors"]
        for cell in (f"{name}: squared error / copying's [95 %]", "shuffled actions")
    ]
    table = [["model steps", "environment steps", *heads]]
    for i, (h, steps) in enumerate(zip(values["horizons"], values["env_steps"])):
        cells = []
        for found in values["predictors"].values():
            jumps = f" in {found['jumps'][i]} jumps" if 1 < found["jumps"][i] < h else ""
            interval = (
                "(no interval)" if found["low"][i] is None else f"[{found['low'][i]:.3f}, {found['high'][i]:.3f}]"
            )
            cells += [f"{found['over_copy'][i]:.3f} {interval}{jumps}", f"x {found['sensitivity'][i]:.1f}"]
        table.append([str(h), str(steps), *cells])
    return table


def _lenders(owner: np.ndarray, left: np.ndarray, seed: int) -> np.ndarray:
    """For each start another to borrow actions from, of another episode if there are enough, and as far from its end.

    Args:
        owner: (B,) episodes that the starts are of, ascending.
        left: (B,) model steps that follow each.
        seed: of the choice.
    """
    rng, lenders = np.random.default_rng(seed), np.arange(len(owner))
    for steps in np.unique(left):
        rows, pool = np.flatnonzero(left == steps), np.flatnonzero(left >= steps)
        most = int(np.bincount(owner[pool]).max())
        shift = rng.integers(most, len(pool) - most + 1) if len(pool) >= 2 * most else len(pool) // 2
        lenders[rows] = pool[(np.searchsorted(pool, rows) + shift) % len(pool)]
    return lenders


def _padded(episode: Episode, steps: int) -> Episode:
    """The episode with so many unknown steps after its end."""
    return replace(
        episode,
        z=torch.cat([episode.z, episode.z.new_full((steps, episode.z.shape[1]), torch.nan)]),
        actions=torch.cat([episode.actions, episode.actions.new_full((steps, episode.actions.shape[1]), torch.nan)]),
    )


def _named(names: Sequence[str], arrays: Sequence[np.ndarray]) -> dict[str, list[float | None]]:
    return {name: [v if np.isfinite(v) else None for v in x.tolist()] for name, x in zip(names, arrays)}
