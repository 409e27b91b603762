"""Violation of expectation (2603.19312): is a model surprised by what its actions cannot have done?

Of every clip there are three versions that begin alike: the recorded one, one in which what moves has another colour
from the change on, and one in which it is suddenly elsewhere and goes on from there under the recorded actions. The
task draws all of them, from recorded states. A surprise is the squared error of a latent predicted from those really
seen.

Shapes: n clips, T frames of one, S side of a frame, D latent width, A = F * a, E episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from worldmodel.benchmarks.intervals import bootstrap_clusters, signed_rank
from worldmodel.benchmarks.pairs import recorded_world
from worldmodel.benchmarks.resampling import FEWEST
from worldmodel.datasets.store import EpisodeStore
from worldmodel.datasets.windows import Windows
from worldmodel.diagnostics import encoded, surprise
from worldmodel.errors import BadValue
from worldmodel.model import WorldModel

BEFORE, AFTER = 3, 4  # judged model steps before the change and after it
LEVEL = 0.01  # a p-value below it is a difference
ORDINARY = 0.95  # quantile of the control's surprises that one has to exceed to stand out

UNCORRECTED = "p-values are not corrected for how many there are"


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Stretches of held-out episodes and what might have happened instead."""

    frames: Mapping[str, np.ndarray]  # version -> (n, T, S, S, 3) uint8: control, colour where it can change, teleport
    actions: np.ndarray  # (n, T - 1, A) float32, the recorded ones
    episode: np.ndarray  # (n,) int64
    row: np.ndarray  # (n,) int64, of the first frame, in the store
    change: int  # the first frame that is not the control's


def clips(
    store: EpisodeStore,
    task: Any,
    context: int,
    block: int,
    n: int,
    seed: int,
    split: str = "test",
    progress: Callable[[int], object] | None = None,
) -> Clips:
    """Draw clips of as many different episodes as there are, and change them in the middle.

    Args:
        store: the dataset, with states.
        task: the task itself, `restorable`, which draws the pictures.
        context: frames that a prediction needs, C.
        block: environment steps from frame to frame, F.
        n: clips; fewer where the episodes hold fewer.
        seed: of the choice and the changes.
        split: whose episodes.
        progress: called with 1 after every clip.

    Raises:
        BadValue: a number out of range, or no episode is long enough.
    """
    if n < 1:
        raise BadValue(f"clips: expected 1 or more, got {n}")
    change = context + BEFORE
    windows = Windows(store, split, change + 1 + AFTER, block, columns=("action",))
    owner = np.searchsorted(store.offsets, windows.starts, side="right") - 1
    chosen = _spread(owner, n, np.random.default_rng(seed))
    found = []
    for rows in windows.frame_rows(chosen):
        rng = np.random.default_rng((seed, int(rows[0])))
        task.vary(None, rng)
        recorded_world(store, task, int(rows[0]))
        found.append(_versions(task, *_recorded(store, rows), change, block, rng))
        if progress:
            progress(1)
    task.vary(None, np.random.default_rng(0))
    return Clips(
        frames={name: np.stack([version[name] for version in found]) for name in found[0]},
        actions=windows.batch(chosen)["action"],
        episode=owner[chosen],
        row=windows.starts[chosen],
        change=change,
    )


def measure(model: WorldModel, shown: Clips, seed: int = 0) -> dict[str, Any]:
    """Surprise of every predictor along the clips, and by how much a change raises it.

    A difference is that of a clip's version and its control. Intervals draw whole episodes; Wilcoxon's signed-rank test
    takes clips one by one, since each has a change of its own. ``p`` is of the frame of the change, ``after_p`` of the
    mean of those that follow. There is no interval of fewer than `FEWEST` episodes.

    Args:
        model: in evaluation mode.
        shown: the clips.
        seed: of the bootstrap.
    """
    C, F = model.config.context, model.config.action_block
    actions = model.normalise(torch.from_numpy(shown.actions).to(model.device))
    z = {
        name: encoded(model, frames.reshape(-1, *frames.shape[2:])).unflatten(0, frames.shape[:2])
        for name, frames in shown.frames.items()
    }
    steps = [t - shown.change for t in range(C, len(shown.actions[0]) + 1)]
    predictors: dict[str, Any] = {}
    for name in model.predictors:
        found = {
            version: surprise(model.predictor(name), latents, actions).double().cpu().numpy()
            for version, latents in z.items()
        }
        control = found.pop("control")
        predictors[name] = {"control": {"curve": control.mean(axis=0).tolist()}} | {
            version: _compared(values, control, steps.index(0), shown.episode, seed)
            for version, values in found.items()
        }
    return {
        "n_clips": len(shown.row),
        "n_episodes": len(np.unique(shown.episode)),
        "steps": steps,
        "env_steps": [step * F for step in steps],
        "predictors": predictors,
        "note": UNCORRECTED,
    }


def rows(values: Mapping[str, Any]) -> list[list[str]]:
    """The table: one line for each predictor and change."""
    head = [
        "predictor",
        "change",
        "surprise",
        "control",
        "difference",
        "95 %",
        "p",
        "stands out",
        "afterwards",
        "p",
        "",
    ]
    table = [head]
    for name, found in values["predictors"].items():
        control = found["control"]["curve"][values["steps"].index(0)]
        for version in [key for key in found if key != "control"]:
            line = found[version]
            table.append(
                [
                    name,
                    version,
                    f"{control + line['difference']:.4f}",
                    f"{control:.4f}",
                    f"{line['difference']:+.4f}",
                    "-" if line["low"] is None else f"[{line['low']:+.4f}, {line['high']:+.4f}]",
                    f"{line['p']:.1e}",
                    f"{100 * line['stands_out']:.0f} %",
                    f"{line['after_difference']:+.4f}",
                    f"{line['after_p']:.1e}",
                    line["verdict"],
                ]
            )
    return [*table, [UNCORRECTED]]


def _spread(owner: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Choose n of the windows at random, as many of each episode as of any other: their indices, ascending."""
    order = rng.permutation(len(owner))
    mixed = owner[order]
    together = np.argsort(mixed, kind="stable")
    turn = np.empty(len(owner), int)  # the how-manieth of its episode
    turn[together] = np.arange(len(owner)) - np.searchsorted(mixed[together], mixed[together])
    return np.sort(order[np.argsort(turn, kind="stable")[:n]])


def _recorded(store: EpisodeStore, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """States (T, state_dim) of the frames, and every action (F * (T - 1), a) between the first and the last."""
    first, last = int(rows[0]), int(rows[-1])
    return store.read("state", first, last + 1)[rows - first], store.read("action", first, last)


def _versions(
    task: Any, states: np.ndarray, actions: np.ndarray, change: int, block: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Frames (T, S, S, 3) of one clip, from the world that the task is in."""
    control = [task.draw(state) for state in states]
    place = task.teleport(states[change], rng)
    elsewhere = [task.draw(place)]
    for i, action in enumerate(actions[change * block :], 1):
        place = task.advance(place, task.clipped(action))
        if i % block == 0:
            elsewhere.append(task.draw(place))
    versions = {"control": control, "teleport": control[:change] + elsewhere}
    if task.colour_factor:
        task.vary(task.recoloured(rng), rng)
        versions["colour"] = control[:change] + [task.draw(state) for state in states[change:]]
    return {name: np.stack(versions[name]) for name in ("control", "colour", "teleport") if name in versions}


def _compared(values: np.ndarray, control: np.ndarray, at: int, episode: np.ndarray, seed: int) -> dict[str, Any]:
    """One version's surprises (n, steps) against the control's."""
    gap = values - control
    difference, low, high, p = _paired(gap[:, at], episode, seed)
    after, after_low, after_high, after_p = _paired(gap[:, at + 1 :].mean(axis=1), episode, seed)
    stands_out = float((values[:, at] > np.quantile(control, ORDINARY)).mean())
    seen = p < LEVEL and difference > 0
    return {
        "curve": values.mean(axis=0).tolist(),
        "difference": difference,
        "low": low,
        "high": high,
        "p": p,
        "after_difference": after,
        "after_low": after_low,
        "after_high": after_high,
        "after_p": after_p,
        "stands_out": stands_out,
        "verdict": ("seen" if stands_out >= 0.5 else "hardly seen") if seen else "not seen",
    }


def _paired(gap: np.ndarray, episode: np.ndarray, seed: int) -> tuple[float, float | None, float | None, float]:
    """Mean of differences (n,), its bootstrap interval if there are episodes enough, and the p-value that it is 0."""
    few = len(np.unique(episode)) < FEWEST
    low, high = (None, None) if few else bootstrap_clusters(gap, episode, seed=seed)
    return float(gap.mean()), low, high, signed_rank(gap)
