"""What a model expected of the actions that it chose, as pictures beside what then happened.

Shapes: t environment steps of an episode, m whole blocks of F of them, R blocks executed of a plan, C context frames,
A width of a block, D latent width, S side of a picture, M pictures of a bank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.benchmarks.retrace import ahead_of
from worldmodel.checkpoint import load_decoder, model_folder
from worldmodel.diagnostics import encoded, nearest
from worldmodel.envs import registry
from worldmodel.errors import BadFile
from worldmodel.interfaces import Predictor

if TYPE_CHECKING:
    from worldmodel.benchmarks.record import Record
    from worldmodel.model import WorldModel

DECODED, NEAREST = "decoded", "nearest demonstrated frame"  # how a latent became a picture
BANK = 2000  # pictures that stand in for what latents look like, at most

Pictures = Callable[[Tensor], np.ndarray]  # latents (..., D) -> (..., S, S, 3) uint8


@dataclass(frozen=True, kw_only=True)
class Imagined:
    """What was expected of one episode.

    At every moment of planning the model sees what is there; between two of them it only predicts.
    """

    row: int  # of the pair
    imagined: np.ndarray  # (t + 1, S, S, 3) uint8: what was expected of each moment, at the last block that was over
    by: str  # DECODED or NEAREST


def imagine(record: Record, model: WorldModel, rows: Sequence[int]) -> tuple[Imagined, ...]:
    """Draw some episodes of an evaluation again, with what its predictor expected of the executed actions.

    Latents become pictures by the decoder beside the record's model (``wm-model decoder``), else by the nearest frames
    of the record's own demonstrations.

    Args:
        record: a finished evaluation.
        model: that was evaluated.
        rows: numbers of pairs.

    Returns:
        One for each row; none at all of an environment that cannot be put into a state, whose pictures are gone.
    """
    values, size = record.values, model.config.image_size
    env = registry.make(values["env"], image_size=size, render_preset=values["render_preset"])
    task = env.unwrapped
    try:
        if not task.restorable:
            return ()
        shown = [record.pairs.draw(task, row, _visited(record.outcome.states[row])) for row in rows]
        by, pictures = drawn_by(values["model"]["path"], model, lambda: _demonstrated(record, task))
    finally:
        env.close()
    predictor, F, R = model.predictor(values["predictor"]), model.config.action_block, values["execute_steps"]
    made = []
    for row, frames in zip(rows, shown):
        t = len(frames) - 1
        blocks = record.outcome.actions[row, : t // F * F].reshape(t // F, F * model.config.action_dim)
        z = encoded(model, frames[::F][: len(blocks) + 1])
        actions = model.normalise(torch.from_numpy(blocks).to(model.device))
        expected = pictures(foreseen(predictor, z, actions, R, model.config.context))
        made.append(Imagined(row=row, imagined=expected[np.minimum(np.arange(t + 1) // F, len(blocks))], by=by))
    return tuple(made)


@torch.no_grad()
def foreseen(predictor: Predictor, z: Tensor, actions: Tensor, execute_steps: int, context: int) -> Tensor:
    """What a predictor expected at every block of an episode in which R of them were executed of every plan.

    Args:
        predictor: of the model.
        z: latents of what was seen, (m + 1, D), a block apart.
        actions: normalised blocks between them, (m, A).
        execute_steps: R.
        context: C.

    Returns:
        (m + 1, D): the first as it was seen, each other as predicted at the last moment of planning before it.
    """
    found = [z[:1]]
    for now in range(0, len(actions), execute_steps):
        found.append(ahead_of(predictor, z[None], actions[None], now, execute_steps, context)[0])
    return torch.cat(found)


class Bank:
    """Pictures to stand in for latents: ``bank(z)`` is, for each latent, the one whose own lies nearest.

    Args:
        model: that encodes them.
        frames: (M, S, S, 3) uint8.
    """

    def __init__(self, model: WorldModel, frames: np.ndarray) -> None:
        self.frames, self.z = frames, encoded(model, frames)

    def __call__(self, z: Tensor) -> np.ndarray:
        """Latents (..., D) to pictures (..., S, S, 3)."""
        return self.frames[nearest(z, self.z).cpu().numpy()]


def drawn_by(path: str | Path, model: WorldModel, frames: Callable[[], np.ndarray]) -> tuple[str, Pictures]:
    """How latents become pictures, in words and as a function: by the decoder beside a model, else by nearest frames.

    Args:
        path: of the model; where it is no longer, there is no decoder.
        model: itself.
        frames: draws those that may stand in, (M, S, S, 3).
    """
    try:
        folder = model_folder(path)
    except BadFile:  # it was moved since
        folder = None
    decoder = None if folder is None else load_decoder(folder, model.device)
    return (NEAREST, Bank(model, frames())) if decoder is None else (DECODED, decoder.pictures)


def _demonstrated(record: Record, task: Any) -> np.ndarray:
    """Frames of the demonstrations, evenly chosen."""
    states = record.floors.get("replay", record.outcome).states
    apart = -(-int(np.isfinite(states).all(axis=2).sum()) // BANK)
    return np.concatenate([record.pairs.draw(task, row, _visited(x)[::apart]) for row, x in enumerate(states)])


def _visited(states: np.ndarray) -> np.ndarray:
    """The states (t + 1, S) of an episode without what follows its end."""
    return states[np.isfinite(states).all(axis=1)]
