"""What a training is judged by while it runs: numbers of held-out episodes, and a picture of what it predicts.

Shapes: B windows, T frames in a window, H model steps ahead, S side of a frame, D latent width, M frames.
"""

from __future__ import annotations

import logging
import math

import cv2
import numpy as np
import torch
from torch import Tensor

from worldmodel.benchmarks.probe import FLOOR, NAMED, controls, numbers
from worldmodel.config import ModelConfig
from worldmodel.datasets.store import EpisodeStore
from worldmodel.datasets.windows import Windows
from worldmodel.diagnostics import (
    action_sensitivity,
    action_warning,
    collapse_warning,
    effective_rank,
    encoded,
    mean_std,
    nearest,
    open_loop_error,
)
from worldmodel.interfaces import Context
from worldmodel.model import WorldModel
from worldmodel.probes import explained, linear_probe, mlp_probe

HORIZONS = (1, 5, 10)  # model steps ahead at which predictions are judged
WINDOWS = 256  # B, at most
FIT = 1500  # frames that probes are fitted on, at most
SHOWN, TILE = 4, 64  # windows in the picture, side of a frame there
_INK, _PAPER, _MARGIN = (20, 20, 20), 255, 72

_log = logging.getLogger(__name__)


class Validation:
    """Judges a model on windows of held-out episodes, the same ones every time: ``validation(model) -> numbers``.

    - ``std``, ``rank``: spread and effective rank of the latents;
    - ``<predictor>_error_<h>``: open-loop error over that of copying the last latent (`open_loop_error`);
    - ``<predictor>_sensitivity_<h>``: how many times as large shuffled actions make it (`action_sensitivity`);
    - ``reward_r2``: R^2 of the reward head, where the model has one;
    - ``reflex_r2``: R^2 of the reflex's action blocks, for goals 5 model steps away, or as many as episodes have;
    - ``probe_linear``, ``probe_mlp``: R^2 of reading what was recorded of the state (`shown_numbers`) from the
      latent of one frame, averaged over numbers; ``probe_linear_<number>``, ``probe_mlp_<number>`` of each;
    - ``probe_pixels_...``, ``probe_random_...``: the same from the frame itself, averaged down to 8 x 8 pixels, and
      from an encoder of the same shape that was never trained: what a latent must beat to have learned anything.

    Probes are fitted on frames of training episodes and judged on the first and last frames of the held-out windows.
    A dataset often has only a few held-out episodes, too few to fit on some and judge on others; and this is how the
    latents will be used: by what was fitted beside the model, on episodes that neither has seen.

    No call draws from the global random state, and the same model always gets the same numbers.

    Args:
        store: the dataset; it may be closed afterwards.
        config: of the models that will be judged.

    Raises:
        BadValue: no held-out episode is long enough.
    """

    def __init__(self, store: EpisodeStore, config: ModelConfig) -> None:
        self.config = config
        stride, context = config.action_block, config.context
        longest = int(store.lengths[store.episodes("validation")].max(initial=1))
        self.furthest = max((h for h in HORIZONS if (context + h - 1) * stride < longest), default=min(HORIZONS))
        columns = ("pixels", "action", *(("reward",) if config.reward else ()))
        held_out = Windows(store, "validation", context + self.furthest, stride, columns)
        rng = np.random.default_rng(0)
        chosen = rng.choice(len(held_out), min(WINDOWS, len(held_out)), replace=False)
        batch = held_out.batch(chosen)
        self.frames, self.actions = batch["pixels"], torch.from_numpy(batch["action"])
        self.rewards = torch.from_numpy(batch["reward"]) if config.reward else None

        training = Windows(store, "train", 1, stride, columns=("pixels",))
        fit = np.sort(rng.choice(len(training), min(FIT, len(training)), replace=False))
        first = held_out.starts[chosen]
        judge = np.concatenate([first, first + (context + self.furthest - 1) * stride])
        self.read = numbers(store, training.starts[fit], judge)
        self.fit = training.batch(fit)["pixels"][:, 0] if self.read.names else np.empty(0)
        self.controls: dict[str, float] | None = None  # made when first needed: the model's device is known then
        self._seen: tuple[Tensor, dict[str, Tensor]] | None = None
        self._said: list[str] = []

    def __call__(self, model: WorldModel) -> dict[str, float]:
        """Judge a model in evaluation mode; what is not a finite number is left out."""
        C = self.config.context
        z = encoded(model, self.frames.reshape(-1, *self.frames.shape[2:])).unflatten(0, self.frames.shape[:2])
        actions = model.normalise(self.actions.to(model.device))
        past, future = Context(z[:, :C], actions[:, : C - 1]), actions[:, C - 1 :]
        plans = torch.stack([future, future.roll(1, dims=0)], dim=1)  # windows are in random order already
        values = {"std": mean_std(z.flatten(0, 1)), "rank": effective_rank(z.flatten(0, 1))}
        ignored, paths = [], {}
        for name in model.predictors:
            path, shuffled = model.predictor(name).rollout(past, plans).unbind(dim=1)
            error = open_loop_error(path, z[:, C - 1 :])
            values |= {f"{name}_error_{h}": float(error[h - 1]) for h in HORIZONS if h <= self.furthest}
            if len(z) > 1:
                sensitivity = action_sensitivity(path, shuffled, z[:, C - 1 :])
                values |= {f"{name}_sensitivity_{h}": float(sensitivity[h - 1]) for h in HORIZONS if h <= self.furthest}
                ignored.append(action_warning(name, error, sensitivity))
            paths[name] = path[:SHOWN]
        if model.reward is not None and self.rewards is not None:
            read = model.reward(z[:, :-1], actions, z[:, 1:]).flatten() * model.reward_scale
            values["reward_r2"] = float(explained(read[:, None], self.rewards.flatten()[:, None]).clamp(min=FLOOR))
        if model.reflex is not None:
            way = min(5, self.furthest)
            acts = model.reflex(z[:, :C], z[:, C - 1 + way], z.new_full((len(z),), way))
            values["reflex_r2"] = float(explained(acts, actions[:, C - 1]).clamp(min=FLOOR).mean())
        if self.read.names:
            self.controls = self.controls or self._controls(model)
            ends = torch.cat([z[:, 0], z[:, -1]])
            values |= self._probes("", encoded(model, self.fit), ends) | self.controls
        self._warn(collapse_warning(z.flatten(0, 1)), *ignored)
        self._seen = z, paths
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def rollouts(self) -> np.ndarray:
        """Draw the last predictions, (height, width, 3) uint8.

        For each of a few windows: the recorded frames from now on, and below them, for each predictor, the held-out
        frames whose latents lie nearest to the predicted ones: a decoder is trained, if at all, on the finished model.
        """
        assert self._seen is not None, "nothing was judged yet"
        z, paths = self._seen
        now, bank = self.config.context - 1, self.frames.reshape(-1, *self.frames.shape[2:])
        rows = [_header(self.furthest)]
        for i in range(len(next(iter(paths.values())))):
            real = self.frames[i, now:]
            rows.append(_row("recorded", real))
            for name, path in paths.items():
                found = nearest(path[i], z.flatten(0, 1)).cpu().numpy()
                rows.append(_row(name, np.concatenate([real[:1], bank[found]])))
            rows.append(np.full((6, rows[0].shape[1], 3), _PAPER, np.uint8))
        return np.concatenate(rows)

    def _warn(self, collapsed: str | None, *ignored: str | None) -> None:
        """Say what is wrong, but not twice in a row; what follows from a collapse is left out."""
        said = [collapsed] if collapsed else [x for x in ignored if x]
        for warning in said:
            if warning not in self._said:
                _log.warning(warning)
        self._said = said

    def _controls(self, model: WorldModel) -> dict[str, float]:
        ends = np.concatenate([self.frames[:, 0], self.frames[:, -1]])
        spaces = controls(model, self.fit, ends)
        return {key: x for name, z in spaces.items() for key, x in self._probes(f"{name}_", *z).items()}

    def _probes(self, kind: str, z: Tensor, z_test: Tensor) -> dict[str, float]:
        values = {}
        for name, probe in (("linear", linear_probe), ("mlp", mlp_probe)):
            found = probe(z, self.read.known, z_test, self.read.unknown).clamp(min=FLOOR)
            values[f"probe_{kind}{name}"] = float(found.mean())
            if not kind and len(self.read.names) <= NAMED:
                values |= {f"probe_{name}_{of}": float(x) for of, x in zip(self.read.names, found)}
        return values


def _row(text: str, frames: np.ndarray) -> np.ndarray:
    tiles = [cv2.resize(x, (TILE, TILE), interpolation=cv2.INTER_AREA) for x in frames]
    row = np.concatenate([np.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=_PAPER) for x in tiles], axis=1)
    return _write(np.pad(row, ((0, 0), (_MARGIN, 0), (0, 0)), constant_values=_PAPER), text, 4, TILE // 2 + 4)


def _header(steps: int) -> np.ndarray:
    line = np.full((16, _MARGIN + (TILE + 2) * (steps + 1), 3), _PAPER, np.uint8)
    for h in range(steps + 1):
        _write(line, f"+{h}" if h else "now", _MARGIN + (TILE + 2) * h + 4, 12)
    return line


def _write(picture: np.ndarray, text: str, x: int, y: int) -> np.ndarray:
    return np.asarray(cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.38, _INK, 1, cv2.LINE_AA))
