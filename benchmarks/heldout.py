"""Held-out episodes as a model sees them: one latent for each model step, and the actions between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldmodel.datasets.store import SPLITS, EpisodeStore, split_number
from worldmodel.diagnostics import encoded
from worldmodel.errors import BadFile, BadValue
from worldmodel.model import WorldModel

MOST = 100  # episodes, which bounds the time


@dataclass(frozen=True, eq=False)
class Episode:
    """One recorded episode, at every F-th row."""

    number: int  # in the store
    rows: np.ndarray  # (L,) of the store
    z: Tensor  # (L, D)
    actions: Tensor  # (L - 1, A) normalised blocks


@torch.no_grad()
def episodes(model: WorldModel, store: EpisodeStore, split: str, seed: int) -> list[Episode]:
    """Encode the episodes of a split that last a model step at least; if there are many, some of them at random.

    Raises:
        BadValue: there are fewer than two.
        BadFile: latents are not finite.
    """
    F = model.config.action_block
    long = [int(e) for e in store.episodes(split) if store.lengths[e] > F]
    if len(long) < 2:
        name = SPLITS[split_number(split)]
        raise BadValue(f"--split: {store.path} has {len(long)} {name} episodes of {F} steps or more, expected 2")
    chosen = np.sort(np.random.default_rng(seed).permutation(long)[:MOST])
    found = [_episode(model, store, int(e)) for e in chosen]
    if not all(e.z.isfinite().all() for e in found):
        raise BadFile("--model: its latents of held-out frames are not finite numbers; train it again")
    return found


def windows(episodes: Sequence[Episode], length: int) -> tuple[Tensor, Tensor, np.ndarray]:
    """All stretches of so many frames: z (B, length, D), actions (B, length - 1, A), and whose they are (B,)."""
    long = [(i, e) for i, e in enumerate(episodes) if len(e.z) >= length]
    z = torch.cat([e.z.unfold(0, length, 1).transpose(1, 2) for _, e in long])
    actions = torch.cat([e.actions.unfold(0, length - 1, 1).transpose(1, 2) for _, e in long])
    return z, actions, np.repeat([i for i, _ in long], [len(e.z) - length + 1 for _, e in long])


def _episode(model: WorldModel, store: EpisodeStore, number: int) -> Episode:
    F = model.config.action_block
    whole = (int(store.lengths[number]) - 1) // F  # model steps
    actions = store.read_episode("action", number)[: whole * F].astype(np.float32)
    return Episode(
        number=number,
        rows=store.offsets[number] + F * np.arange(whole + 1),
        z=encoded(model, store.read_episode("pixels", number)[: whole * F + 1 : F]),
        actions=model.normalise(torch.from_numpy(actions).to(model.device).reshape(whole, -1)),
    )
