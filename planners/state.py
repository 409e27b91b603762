"""What an agent remembers between calls, one immutable row for each environment.

Shapes: H horizon, F action block, a action size, A = F * a, C context frames, D latent size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Row:
    """One environment's memory. Acting returns a new one, so a state can be kept, copied, pickled and replayed."""

    index: int  # which row it is
    episode: int  # how many episodes this row has begun before this one
    plans: int = 0  # how many plans this episode has had; seeds the noise of the next together with these two
    plan: Tensor | None = None  # (H, A) the last one, normalised; None before the first
    elites: Tensor | None = None  # (M, H, A) further plans that its search liked, if the planner keeps any
    queue: np.ndarray  # (R * F, a) float32 primitive actions of the last plan, environment units
    executed: int = 0  # how many of the queue were executed
    steps: int = 0  # environment steps acted since the episode began
    frames: tuple[np.ndarray, ...] = ()  # uint8 images seen since the last plan, at every F-th step, not yet encoded
    z: Tensor  # (c, D) latents up to the last plan, one model step apart, oldest first, c <= C
    actions: Tensor  # (c - 1, A) normalised blocks executed between them

    @property
    def waiting(self) -> bool:
        """Nothing left to execute: the row must plan."""
        return self.executed == len(self.queue)

    def watched(self, frame: np.ndarray, action_block: int, context: int) -> Row:
        """Record the frame before the next queued action when it lies a whole number of model steps after the plan."""
        if context == 1 or self.executed == 0 or self.executed % action_block:
            return self
        return replace(self, frames=(*self.frames, frame.copy())[1 - context :])

    def noise(self, seed: int, device: torch.device) -> torch.Generator:
        """The generator of the next plan, which depends on the seed, the row, the episode and the plan's number only.

        How much noise earlier plans have used, which a deadline decides, does not matter.
        """
        words = np.random.SeedSequence((seed, self.index, self.episode, self.plans)).generate_state(2, np.uint32)
        return torch.Generator(device).manual_seed(int(words[0]) << 31 ^ int(words[1]))

    def acted(self) -> Row:
        """Take the next action off the queue."""
        return replace(self, executed=self.executed + 1, steps=self.steps + 1)

    def remembered(self, z: Tensor, blocks: Tensor, context: int) -> Row:
        """Append the latents (k, D) of the recorded frames and of now, and the blocks (R, A) executed meanwhile."""
        z = torch.cat([self.z.to(z), z])[-context:]
        actions = torch.cat([self.actions.to(z), blocks])
        return replace(self, z=z, actions=actions[len(actions) - (len(z) - 1) :], frames=())


@dataclass(frozen=True)
class AgentState:
    """The memory of every row; opaque to callers, who hand it back to ``predict``."""

    rows: tuple[Row, ...]


def new_row(index: int, episode: int, device: torch.device) -> Row:
    """Begin an episode with an empty memory."""
    empty = torch.empty(0, device=device)
    queue = np.empty((0, 0), dtype=np.float32)
    return Row(index=index, episode=episode, queue=queue, z=empty, actions=empty)
