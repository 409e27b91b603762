"""What makes a plan good: costs on predicted latents.

Shapes: B environments, N candidates, H horizon (model steps), S arrival times, D latent size, A action-block size.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from worldmodel.interfaces import Forecast

ARRIVALS = (5, 8, 16, 32)  # model steps at which a long plan may arrive


@dataclass(frozen=True)
class GoalDistance:
    """Squared L2 distance to the goal's latent, summed over D (2603.19312): at the last step, or at the best arrival.

    Attributes:
        arrivals: model steps from 1, of which each candidate's best one counts; empty for the last step.
    """

    arrivals: tuple[int, ...] = ()

    def steps(self, horizon: int) -> tuple[int, ...]:
        """The arrivals, or the last step."""
        return self.arrivals or (horizon,)

    def __call__(self, forecast: Forecast) -> Tensor:
        """Cost (B, N)."""
        z = forecast.at(*self.steps(forecast.plans.shape[2]))
        return (z - forecast.goal[:, None, None]).square().sum(dim=-1).amin(dim=-1)


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
