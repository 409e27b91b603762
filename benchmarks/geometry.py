"""The geometry of a latent space on held-out episodes, and whether predictors agree with themselves.

Shapes: L latents of an episode, D latent width, A action block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.benchmarks.heldout import Episode, windows
from worldmodel.benchmarks.intervals import bootstrap_mean
from worldmodel.benchmarks.resampling import FEWEST, ratio_interval
from worldmodel.datasets.store import EpisodeStore
from worldmodel.diagnostics import effective_rank, encoded, mean_std, untrained
from worldmodel.geometry import distances_to_end, rank_correlation, straightness, two_hops
from worldmodel.interfaces import Context
from worldmodel.model import WorldModel

SPAN = 50  # environment steps to a goal, at most: the budget of the usual protocol
ROUNDING = 1e-6  # of a gap over an error
SOME = 10  # episodes on which random weights are looked at
JUMP = 8  # model steps that are split where no prefix predictor says how many it can do at once


@torch.no_grad()
def measure(
    model: WorldModel, episodes: Sequence[Episode], store: EpisodeStore, task: Any, seed: int
) -> dict[str, Any]:
    """Everything but what needs an evaluation.

    Args:
        model: the model.
        episodes: held out.
        store: where they come from.
        task: the task itself, whose own distance is put beside the latent one.
        seed: of the bootstrap.
    """
    z = torch.cat([e.z for e in episodes])
    return {
        "n_episodes": len(episodes),
        "n_frames": len(z),
        "effective_rank": effective_rank(z),
        "latent_dim": z.shape[1],
        "std": mean_std(z),
        "random_std": _random_std(model, episodes, store),
        "straightness": _mean_over_episodes([float(straightness(e.z)) for e in episodes], seed),
        "rank_correlation": ranking(episodes, store, task, model.config.action_block, seed),
        "semigroup": semigroup(model, episodes, seed),
    }


def ranking(episodes: Sequence[Episode], store: EpisodeStore, task: Any, block: int, seed: int) -> dict[str, Any]:
    """Spearman's correlation of the distance to a goal with the model steps to it, and of the task's own distance.

    Every frame of an episode is a goal of the frames up to ``SPAN`` environment steps before it. Correlations are
    averaged over an episode's goals, then over episodes.
    """
    longest = max(len(e.z) for e in episodes) - 1
    span = min(-(-SPAN // block), longest)
    long = [e for e in episodes if len(e.z) > span]
    steps = torch.arange(1.0, span + 1)
    found = [_correlation(distances_to_end(e.z, span).cpu(), steps) for e in long]
    values: dict[str, Any] = {**_mean_over_episodes(found, seed), "span_env_steps": span * block}
    if task.state_dim and store.columns.get("state", ((),))[0][1:] == (task.state_dim,):
        if not task.restorable:
            task.calibrate(store.read("state", 0, store.rows))
        own = [
            _correlation(_task_distances(task, store.read_episode("state", e.number)[::block], span), steps)
            for e in long
        ]
        values["task_distance"] = _mean_over_episodes(own, seed)
    return values


@torch.no_grad()
def semigroup(model: WorldModel, episodes: Sequence[Episode], seed: int) -> dict[str, Any]:
    """Does F(F(z, a), b) equal F(z, ab)? For each predictor and each split of its longest trained jump.

    ``gap`` is the squared distance of the two predictions. It is told over the squared error of the direct one, 0 where
    the two are the same and 1 where they differ as much as the direct one does from the truth, and over the error of
    copying the last latent. The one-step predictor composes by construction: its gap is rounding.
    """
    C = model.config.context
    jump = model.predictor("prefix").max_prefix if "prefix" in model.predictors else JUMP
    jump = min(jump, max(len(e.z) for e in episodes) - C)
    if jump < 2:
        return {}
    z, actions, owner = windows(episodes, C + jump)
    past, future = Context(z[:, :C], actions[:, : C - 1]), actions[:, C - 1 :]

    def summed(a: Tensor, b: Tensor) -> np.ndarray:
        return np.bincount(owner, (a - b).square().mean(dim=1).double().cpu().numpy())[np.unique(owner)]

    truth, copy = z[:, -1], summed(z[:, C - 1], z[:, -1])
    values: dict[str, Any] = {}
    for name in model.predictors:
        predictor = model.predictor(name)
        direct = predictor.arrivals(past, future[:, None], (jump,))[:, 0, 0]
        error = summed(direct, truth)
        values[name] = []
        for split in range(1, jump):
            hopped = two_hops(predictor, past, future, split)
            gap = summed(direct, hopped)
            over_error, *ends = (float(x) for x in ratio_interval(gap, error, seed))
            low, high = (x if np.isfinite(x) else None for x in ends)
            values[name].append(
                {
                    "split": [split, jump - split],
                    "gap_over_error": over_error,
                    "low": low,
                    "high": high,
                    "gap_over_copy": float(gap.sum() / copy.sum().clip(1e-12)),
                    "direct_over_copy": float(error.sum() / copy.sum().clip(1e-12)),
                    "hopped_over_copy": float(summed(hopped, truth).sum() / copy.sum().clip(1e-12)),
                }
            )
    return values


def rows(values: Mapping[str, Any]) -> list[list[str]]:
    """The table of what ``measure`` found."""
    ranked, straight = values["rank_correlation"], values["straightness"]
    goal = f"goals up to {ranked['span_env_steps']} environment steps ahead"
    table = [
        ["episodes", f"{values['n_episodes']} held out, {values['n_frames']} frames"],
        ["effective rank", f"{values['effective_rank']:.1f} of {values['latent_dim']}"],
        ["standard deviation", f"{values['std']:.3g}, about 1 expected; of random weights {values['random_std']:.2g}"],
        ["straightness", f"{_with_interval(straight)}  mean cosine of consecutive steps; 1 is a straight line"],
        ["latent distance", f"{_with_interval(ranked)}  rank correlation with steps to go, {goal}"],
    ]
    if "task_distance" in ranked:
        table.append(["the task's distance", f"{_with_interval(ranked['task_distance'])}  the same"])
    for name, splits in values["semigroup"].items():
        if splits and max(found["gap_over_error"] for found in splits) < ROUNDING:
            table.append([f"{name}: in two hops", "the same but for rounding: it composes by construction"])
            continue
        for found in splits:
            h1, h2 = found["split"]
            ends = "" if found["low"] is None else f" [{found['low']:.3f}, {found['high']:.3f}]"
            apart = f"squared gap {found['gap_over_error']:.3f}{ends} of the squared error"
            one, two = found["direct_over_copy"], found["hopped_over_copy"]
            errors = f"squared error / copying's {one:.3f} in one, {two:.3f} in two"
            table.append([f"{name}: {h1} + {h2} model steps", f"{apart}; {errors}"])
    return table


def _random_std(model: WorldModel, episodes: Sequence[Episode], store: EpisodeStore) -> float:
    """How far random weights spread the same pictures, of some episodes: what the standard deviation began from."""
    random, F = untrained(model), model.config.action_block
    frames = [store.read_episode("pixels", e.number)[::F] for e in episodes[:SOME]]
    return mean_std(encoded(random, np.concatenate(frames)))


def _correlation(distances: Tensor, steps: Tensor) -> float:
    """Mean over goals (G, span); NaN where every distance is constant."""
    return float(rank_correlation(distances, steps.expand_as(distances)).nanmean())


def _task_distances(task: Any, states: np.ndarray, span: int) -> Tensor:
    """As `distances_to_end`, by the task's measure, of states (L, S)."""
    ends = range(span, len(states))
    return torch.tensor([[task.distance(states[g - k], states[g]) for k in range(1, span + 1)] for g in ends])


def _mean_over_episodes(values: Sequence[float], seed: int) -> dict[str, float | None]:
    """Mean and its bootstrap interval, without episodes in which nothing could be told; None where that is all.

    There is no interval of fewer than `FEWEST` episodes.
    """
    known = np.array([x for x in values if np.isfinite(x)])
    if not len(known):
        return {"mean": None, "low": None, "high": None}
    low, high = bootstrap_mean(known, seed=seed) if len(known) >= FEWEST else (None, None)
    return {"mean": float(known.mean()), "low": low, "high": high}


def _with_interval(found: Mapping[str, float | None]) -> str:
    if found["mean"] is None:
        return "nothing moves"
    if found["low"] is None:
        return f"{found['mean']:.2f}, no interval of fewer than {FEWEST} episodes"
    return f"{found['mean']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
