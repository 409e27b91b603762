"""What predictors expected along executed plans, and what was reached: drawn again from a record, encoded, predicted.

Every predictor of the model is asked about the same plans, made by whichever of them: from the same latents and the
actions that were executed.

Shapes: n pairs, K model steps in the budget, P plans, W model steps followed from where each was made, D latent width,
F action block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.benchmarks.evaluate import Outcome
from worldmodel.benchmarks.pairs import Pairs
from worldmodel.diagnostics import encoded
from worldmodel.interfaces import Context, Predictor
from worldmodel.model import WorldModel


@dataclass(frozen=True, eq=False)
class Executed:
    """What was reached and what was expected; NaN where an episode was over."""

    z: Tensor  # (n, K + 1, D) encoded at every model step
    goal: Tensor  # (n, D)
    starts: tuple[int, ...]  # (P,) model steps at which plans were made
    reached: Tensor  # (n, P, W, D) after the steps that followed
    expected: Mapping[str, Tensor]  # by predictor, (n, P, W, D)

    def errors(self, name: str) -> Tensor:
        """Squared error after each step, (n, P, W), mean over D; of ``"copy"``, of having stayed."""
        told = self.z[:, list(self.starts), None] if name == "copy" else self.expected[name]
        return (told - self.reached).square().mean(dim=-1)

    def to_goal(self, z: Tensor) -> Tensor:
        """Squared distance to each pair's goal: (n, ..., D) -> (n, ...), as plans are judged by."""
        goal = self.goal.reshape(len(self.goal), *[1] * (z.ndim - 2), -1)
        return (z - goal).square().sum(dim=-1)


@torch.no_grad()
def follow(
    model: WorldModel, task: Any, pairs: Pairs, outcome: Outcome, execute_steps: int, ahead: int | None = None
) -> Executed:
    """Draw what was seen, encode it, and predict each plan from where it was made.

    Args:
        model: the model.
        task: the task itself, which draws as the model knows it.
        pairs: starts and goals.
        outcome: states and actions on each of them.
        execute_steps: model steps between plans.
        ahead: W, at most to the end of the budget; those between plans by default. Beyond them the actions are of
            later plans.
    """
    F, C = model.config.action_block, model.config.context
    n, budget, a = outcome.actions.shape
    K = budget // F
    W = min(max(execute_steps, ahead or 0), K)
    z = latents(model, task, pairs, outcome.states[:, : K * F + 1 : F])
    actions = torch.from_numpy(outcome.actions[:, : K * F]).to(model.device).reshape(n, K, F * a)
    actions = model.normalise(actions)
    starts = tuple(range(0, K, execute_steps))
    blank = torch.full((n, len(starts), W, z.shape[-1]), torch.nan, device=z.device)
    reached, expected = blank.clone(), {name: blank.clone() for name in model.predictors}
    for i, start in enumerate(starts):
        steps = min(W, K - start)
        reached[:, i, :steps] = z[:, start + 1 : start + 1 + steps]
        rows = actions[:, start].isfinite().all(dim=1)
        if not rows.any():
            continue
        seen, done = z[rows], actions[rows].nan_to_num()  # no prediction looks at later actions
        for name in model.predictors:
            expected[name][rows, i, :steps] = ahead_of(model.predictor(name), seen, done, start, steps, C)
    return Executed(z, latents(model, task, pairs, pairs.goals[:, None])[:, 0], starts, reached, expected)


def ahead_of(predictor: Predictor, z: Tensor, actions: Tensor, start: int, steps: int, context: int) -> Tensor:
    """What a predictor expects of the actions that were executed from a moment on, of what was seen until then.

    Args:
        predictor: of the model.
        z: latents of what was seen, (n, K + 1, D).
        actions: normalised blocks between them, (n, K, A).
        start: the moment, a model step.
        steps: model steps ahead; fewer where the actions end.
        context: C; fewer at the beginning of the episode, as for an agent.

    Returns:
        (n, steps, D).
    """
    first = max(0, start + 1 - context)
    seen = Context(z[:, first : start + 1], actions[:, first:start])
    return predictor.rollout(seen, actions[:, None, start : start + steps])[:, 0]


@torch.no_grad()
def latents(model: WorldModel, task: Any, pairs: Pairs, states: np.ndarray) -> Tensor:
    """Encode what states (n, T, S) of the pairs look like, each in its world: (n, T, D); NaN for states that are."""
    there = np.isfinite(states).all(axis=2)
    z = torch.full((*there.shape, model.config.latent_dim), torch.nan, device=model.device)
    frames = [pairs.draw(task, i, row[there[i]]) for i, row in enumerate(states) if there[i].any()]
    if frames:
        z[torch.from_numpy(there).to(z.device)] = encoded(model, np.concatenate(frames))
    return z
