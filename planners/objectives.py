"""What makes a plan good: costs on predicted latents, and the function that a planner minimises.

Shapes: B environments, N candidates, H horizon (model steps), S arrival times, D latent size, A action-block size.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from worldmodel.errors import BadValue
from worldmodel.interfaces import Context, CostFn, Objective, Predictor

ARRIVALS = (5, 8, 16, 32)  # model steps at which a long plan may arrive


@dataclass(frozen=True)
class GoalDistance:
    """Squared L2 distance to the goal's latent, summed over D (2603.19312): at the last step, or at the best arrival.

    Attributes:
        steps: arrival times in model steps from 1, of which each candidate's best one counts; empty for the last step.
    """

    steps: tuple[int, ...] = ()

    @property
    def reads(self) -> str:
        """``final`` or ``arrivals``."""
        return "arrivals" if self.steps else "final"

    def __call__(self, z: Tensor, plans: Tensor, goal: Tensor) -> Tensor:
        """Cost (B, N) of z (B, N, D), or (B, N, S, D) with arrivals, for the goal (B, D)."""
        goal = goal[:, None, None] if self.steps else goal[:, None]
        cost = (z - goal).square().sum(dim=-1)
        return cost.amin(dim=-1) if self.steps else cost


def arrival_steps(horizon: int, goal_steps: int | None) -> tuple[int, ...]:
    """Choose when a plan may arrive; empty means at its last step only.

    A horizon within the way to the goal aims at its last step. A longer one must not hurt, so it may also arrive
    earlier, and not later than after twice the way: the farther a prediction, the more often it only seems to arrive.
    When the way is unknown, any of the times will do.

    Args:
        horizon: H.
        goal_steps: model steps to the goal, ``ceil(goal offset / F)``; None when unknown.
    """
    if goal_steps is not None and horizon <= goal_steps:
        return ()
    earlier = tuple(step for step in ARRIVALS if step < horizon)
    if not earlier:
        return ()
    latest = horizon if goal_steps is None else max(2 * goal_steps, earlier[0])
    return tuple(step for step in (*earlier, horizon) if step <= latest)


def default_objective(horizon: int, action_block: int, goal_offset: int | None) -> GoalDistance:
    """Distance at the last step, or at the best of a few arrivals when H * F exceeds the goal offset (env steps)."""
    goal_steps = None if goal_offset is None else -(-goal_offset // action_block)
    return GoalDistance(arrival_steps(horizon, goal_steps))


def make_cost(predictor: Predictor, objective: Objective, context: Context, goal: Tensor) -> CostFn:
    """Bind what a solve keeps fixed, leaving plans (B, N, H, A) -> cost (B, N).

    Predictors do not let a row's result depend on how many rows they are given: they pad few rows, whose products round
    differently (``worldmodel.blocks.padded_rows``). Then costs are the same in chunks of any size.

    Args:
        predictor: predicts what the objective reads, and nothing more.
        objective: judges it.
        context: the encoded present, z (B, C, D).
        goal: the encoded goal, (B, D).
    """
    if objective.reads == "final":
        return lambda plans: objective(predictor.final(context, plans), plans, goal)
    if objective.reads == "arrivals":
        steps = objective.steps
        return lambda plans: objective(predictor.arrivals(context, plans, steps), plans, goal)
    if objective.reads == "path":
        return lambda plans: objective(predictor.rollout(context, plans), plans, goal)
    raise BadValue(f"objective reads {objective.reads!r}: expected final, arrivals or path")
