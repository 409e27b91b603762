"""What can be read from a latent: probes for every recorded number of the state, beside two controls.

They are fitted on frames of training episodes and judged on those of others. What a latent has to beat to have learned
anything is the frame itself, averaged down, and an encoder of the same shape that was never trained. Intervals are
bootstraps over episodes, because the frames of one episode are no independent samples.

Shapes: M frames, S side of one, D latent width, Y numbers, E held-out episodes, G bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from worldmodel.benchmarks.resampling import counts, interval
from worldmodel.cli.recorded import shown_numbers, varies
from worldmodel.datasets.store import EpisodeStore
from worldmodel.datasets.windows import Windows
from worldmodel.diagnostics import encoded, untrained
from worldmodel.errors import BadFile, BadValue
from worldmodel.model import WorldModel
from worldmodel.probes import fit_linear, fit_mlp

PROBES = {"linear": fit_linear, "mlp": fit_mlp}
CONTROLS = ("pixels", "random")
FLOOR = -1.0  # of an R^2 that is averaged, so that one number cannot drown the mean
NAMED = 16  # numbers that are reported one by one; of more, the best and worst or only the mean
SIDE = 8  # of a frame averaged down


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What was recorded of the states that frames show."""

    names: tuple[str, ...]  # of the Y numbers
    left_out: tuple[str, ...]  # numbers that never vary, or are missing, on either side
    known: Tensor  # (M, Y) float64, of frames to fit on
    unknown: Tensor  # (M', Y) float64, of frames to judge on


def numbers(store: EpisodeStore, fit: np.ndarray, judge: np.ndarray) -> Numbers:
    """Read the numbers of rows to fit on (M,) and to judge on (M',)."""
    found = [shown_numbers(store, rows) for rows in (fit, judge)]
    names = [name for name in found[0] if all(varies(x[name]) for x in found)]
    known, unknown = (torch.from_numpy(np.stack([x[name] for name in names] or [np.empty(0)], axis=1)) for x in found)
    left_out = tuple(name for name in found[0] if name not in names)
    return Numbers(names=tuple(names), left_out=left_out, known=known, unknown=unknown)


def controls(model: WorldModel, *frames: np.ndarray) -> dict[str, list[Tensor]]:
    """What any latent must beat, of frames (M, S, S, 3) each: pixels (M, 192), random weights' latents (M, D)."""
    random = untrained(model)
    return {"pixels": [_small(x) for x in frames], "random": [encoded(random, x) for x in frames]}


def measure(
    model: WorldModel, store: EpisodeStore, fit: int, judge: int, split: str = "test", seed: int = 0
) -> dict[str, Any]:
    """Fit and judge probes on latents and controls.

    Args:
        model: in evaluation mode.
        store: the dataset.
        fit: frames of training episodes, at most.
        judge: frames of other episodes, at most.
        split: of those.
        seed: of the choice and the bootstrap.

    Raises:
        BadValue: a number out of range.
        BadFile: nothing that varies was recorded.
    """
    if min(fit, judge) < 2:
        raise BadValue(f"frames: expected 2 or more to fit and to judge, got {fit} and {judge}")
    rng = np.random.default_rng(seed)
    frames, rows = zip(*(_frames(store, which, n, rng) for which, n in (("train", fit), (split, judge))))
    read = numbers(store, *rows)
    if not read.names:
        raise BadFile(f"{store.path} recorded no number of the state that a picture shows and that varies")
    owner = np.searchsorted(store.offsets, rows[1], side="right") - 1
    z = {"latent": [encoded(model, x) for x in frames], **controls(model, *frames)}
    values: dict[str, Any] = {
        "numbers": list(read.names),
        "left_out": list(read.left_out),
        "n_fit": len(rows[0]),
        "n_frames": len(rows[1]),
        "n_episodes": len(np.unique(owner)),
    }
    centre, scale = read.known.mean(dim=0), read.known.std(dim=0)
    truth = ((read.unknown - centre) / scale).numpy()
    for kind, learn in PROBES.items():
        found = {}
        for name, (known, unknown) in z.items():
            guess = ((learn(known, read.known)(unknown).cpu().double() - centre) / scale).numpy()
            found[name] = sums(truth, guess, owner)
        values[kind] = _summary(found, seed)
    return values


def sums(truth: np.ndarray, guess: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """What scores are made of, for each episode: (M, Y), (M, Y) and whose they are (M,) -> (E, 6, Y)."""
    each = np.stack([np.ones_like(truth), truth, truth**2, guess, guess**2, truth * guess], axis=1)
    return np.stack([each[owner == e].sum(axis=0) for e in np.unique(owner)])


def scores(total: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """R^2, mean squared error and Pearson's r from sums (..., 6, Y): (..., Y) each; NaN where the truth is constant."""
    n, t, tt, g, gg, tg = np.moveaxis(total, -2, 0)
    error, spread, reach = tt - 2 * tg + gg, tt - t * t / n, gg - g * g / n
    constant = spread < 1e-9 * n
    spread = np.where(constant, np.nan, spread)
    return 1 - error / spread, error / n, (tg - t * g / n) / np.sqrt(spread * np.maximum(reach, 1e-12))


def rows(values: Mapping[str, Any]) -> list[list[str]]:
    """The table: one line for each number, or for the best and worst ones, and their mean with its interval."""
    head = [f"{kind} R2" if what == "R2" else what for kind in PROBES for what in ("R2", "MSE", "r", *CONTROLS)]
    order = np.argsort(values["mlp"]["latent"]["r2"])[::-1].tolist()
    shown = range(len(order)) if len(order) <= NAMED else order[: NAMED // 2] + order[-NAMED // 2 :]
    table = [["", *head]]
    for i in shown:
        each = [{name: {key: x[key][i] for key in ("r2", "mse", "r")} for name, x in values[k].items()} for k in PROBES]
        table.append([values["numbers"][i], *(cell for scores in each for cell in _cells(scores))])
    means = [{name: x["mean"] for name, x in values[kind].items()} for kind in PROBES]
    table.append([f"mean of {len(order)}", *(cell for scores in means for cell in _cells(scores))])
    low_high = [[f"{x['latent']['low']:.3f}-{x['latent']['high']:.3f}", "", "", "", ""] for x in means]
    return [*table, ["95 %", *low_high[0], *low_high[1]]]


def _cells(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    own = [f"{found['latent'][key]:.3f}" for key in ("r2", "mse", "r")]
    return own + [f"{found[name]['r2']:.3f}" for name in CONTROLS]


def _summary(found: Mapping[str, np.ndarray], seed: int) -> dict[str, Any]:
    """Scores of each number and on average, from each space's sums; what latents have over the controls."""
    weights, values, draws = counts(len(found["latent"]), seed), {}, {}
    for name, each in found.items():
        r2, mse, r = scores(each.sum(axis=0))
        draws[name] = _mean_r2(scores(np.einsum("ge,e...->g...", weights, each))[0])
        low, high = interval(draws[name])
        mean = {"r2": float(_mean_r2(r2)), "low": float(low), "high": float(high)}
        mean |= {"mse": float(mse.mean()), "r": float(r.mean())}
        values[name] = {"r2": r2.tolist(), "mse": mse.tolist(), "r": r.tolist(), "mean": mean}
    for name in CONTROLS:
        low, high = interval(draws["latent"] - draws[name])
        gap = values["latent"]["mean"]["r2"] - values[name]["mean"]["r2"]
        values["latent"][f"over_{name}"] = {"r2": gap, "low": float(low), "high": float(high)}
    return values


def _mean_r2(r2: np.ndarray) -> np.ndarray:
    """Mean over numbers (..., Y), none below FLOOR."""
    return np.asarray(np.nanmean(np.maximum(r2, FLOOR), axis=-1))


def _frames(store: EpisodeStore, split: str, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Choose frames of a split, those of one episode beside each other: frames (M, S, S, 3) and their rows (M,)."""
    windows = Windows(store, split, 1, columns=("pixels",))
    chosen = np.sort(rng.choice(len(windows), min(n, len(windows)), replace=False))
    return windows.batch(chosen)["pixels"][:, 0], windows.starts[chosen]


def _small(frames: np.ndarray) -> Tensor:
    """Average frames (M, S, S, 3) down to 8 x 8 pixels: (M, 192)."""
    small = [cv2.resize(x, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for x in frames]
    return torch.from_numpy(np.stack(small)).flatten(1)
