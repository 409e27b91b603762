"""What an agent remembers between calls, one immutable row for each environment.

Shapes: H horizon, F action block, a action size, A = F * a, C context frames, D latent size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.errors import BadValue


@dataclass(frozen=True, kw_only=True)
class Row:
    """One environment's memory. Acting returns a new one, so a state can be kept, copied, pickled and replayed."""

    number: int  # of the episode, among those of all rows
    plans: int = 0  # how many plans this episode has had
    plan: Tensor | None = None  # (H, A) the last one, normalised; None before the first, and for a goal that is new
    passed: int = 0  # model steps of it that are over when the row plans again
    elites: Tensor | None = None  # (M, H, A) further plans that its search liked, if the planner keeps any
    queue: np.ndarray  # (R * F, a) float32 primitive actions of the last plan, environment units
    executed: int = 0  # how many of the queue were executed
    steps: int = 0  # environment steps acted towards the episode's goal
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
        """The generator of the next plan, which depends on the seed and the episode's and the plan's number only.

        How much noise earlier plans have used, which a deadline decides, does not matter.
        """
        numbers = (seed, self.number, 0, self.plans)  # the 0 stands for nothing; published results were drawn with it
        words = np.random.SeedSequence(numbers).generate_state(2, np.uint32)
        return torch.Generator(device).manual_seed(int(words[0]) << 31 ^ int(words[1]))

    def acted(self) -> Row:
        """Take the next action off the queue."""
        return replace(self, executed=self.executed + 1, steps=self.steps + 1)

    def remembered(self, z: Tensor, blocks: Tensor, context: int) -> Row:
        """Append the latents (k, D) of the recorded frames and of now, and the blocks (R, A) executed meanwhile."""
        z = torch.cat([self.z.to(z), z])[-context:]
        actions = torch.cat([self.actions.to(z), blocks])
        return replace(self, z=z, actions=actions[len(actions) - (len(z) - 1) :], frames=())

    def aimed(self) -> Row:
        """Forget the plan, because the episode has another goal now; the next one is made from nothing.

        History and numbers stay. The block that is being executed is finished first, so that what is seen then lies a
        whole model step after what is remembered.
        """
        if self.plan is None:
            return self
        block = self.plan.shape[-1] // self.queue.shape[-1]
        begun = -(-self.executed // block) * block
        return replace(self, plan=None, elites=None, queue=self.queue[:begun], steps=0)


@dataclass(frozen=True)
class AgentState:
    """The memory of every row; opaque to callers, who hand it back to ``predict``."""

    rows: tuple[Row, ...]


def new_row(number: int, device: torch.device) -> Row:
    """Begin an episode with an empty memory."""
    empty = torch.empty(0, device=device)
    return Row(number=number, queue=np.empty((0, 0), dtype=np.float32), z=empty, actions=empty)


def restarted(state: Any, episode_start: Any, count: int, device: torch.device) -> list[Row]:
    """Rows of a state, those new of which an episode begins.

    Row j of n runs the episodes j, j + n, j + 2n, ..., so that n environments which are dealt tasks in that order meet
    the noise that each task alone would. One that has not planned yet keeps its number.

    Args:
        state: what ``predict`` returned.
        episode_start: (n,) booleans, or one for all; None for none.
        count: environments that are observed.
        device: of what the new rows will remember.

    Raises:
        BadValue: no state of an agent, or one of another number of environments.
    """
    if not isinstance(state, AgentState):
        raise BadValue(f"state: expected what predict or begin returned, or None, got {type(state).__name__}")
    if len(state.rows) != count:
        raise BadValue(f"state: made for {len(state.rows)} environments, the observation has {count}")
    begins = np.asarray(False if episode_start is None else episode_start, bool)
    begins = np.full(count, begins) if begins.ndim == 0 else begins
    if begins.shape != (count,):
        raise BadValue(f"episode_start: expected {count} booleans, got shape {begins.shape}")
    return [
        new_row(row.number + count * (row.plans > 0), device) if begin else row
        for row, begin in zip(state.rows, begins)
    ]
