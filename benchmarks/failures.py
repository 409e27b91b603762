"""Why a pair failed, measured from a record: the first thing that went wrong, plan by plan.

Everything is a squared distance to the goal's latent, which plans are judged by. ``scale`` is how far from it states are
that have just succeeded: the 95 % quantile over all successes of the record, of the policy, the demonstration and the
floors. Of every plan that was executed there is what the predictor that planned *believed*, the least distance that it
expects along the executed actions, and what was *reached*, the least distance along the frames seen then. For the
demonstrator's actions from the start there are both as well. In order:

- ``looks solved``: reached is within the scale, yet it was no success. To the model this is the goal.
- ``wrong model``: the plan was believed to arrive (within the scale) and did not, or what it reached is farther than was
  believed by more than the scale.
- ``search not converged``: the first plan is believed to end farther than the demonstrator's actions, by more than the
  scale: there was a better plan, by the model's own measure, and the search did not find it.
- ``wrong model`` as well: the demonstrator's actions lead nearer than the model believes, by more than the scale, so
  that no search would have chosen them.
- ``budget``: nothing of that for any plan. The model was right and the search was good, as far as one can tell, but
  within the horizon and the steps allowed the goal was not reached.

Shapes: n pairs, P plans.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from worldmodel.benchmarks.evaluate import Outcome
from worldmodel.benchmarks.pairs import Pairs
from worldmodel.benchmarks.record import Record
from worldmodel.benchmarks.retrace import Executed, follow, latents
from worldmodel.model import WorldModel

REASONS = ("wrong model", "search not converged", "looks solved", "budget")
QUANTILE = 0.95  # of the distances of states that have just succeeded
LEAST = 10  # successes, below which there is no such scale


@dataclass(frozen=True, kw_only=True)
class Failures:
    """Why pairs failed.

    Attributes:
        reasons: of each pair, one of ``REASONS``; None for a success, or where there is no scale.
        scale: squared latent distance; None where too few succeeded to tell.
        believed: (n, P) least squared distance to the goal that the predictor which planned expects of each plan.
        reached: (n, P) the same of what was seen; NaN for both where an episode was over.
    """

    reasons: tuple[str | None, ...]
    scale: float | None
    believed: np.ndarray
    reached: np.ndarray

    @property
    def counts(self) -> dict[str, int]:
        """How many failures have each reason."""
        found = Counter(self.reasons)
        return {reason: found[reason] for reason in REASONS}


def explain(record: Record, model: WorldModel, task: Any) -> Failures:
    """Say of every failed pair what went wrong first.

    Args:
        record: of an evaluation with this model, for goals, in an environment that can be put into a state.
        model: the model.
        task: the task itself, which draws as the model knows it.
    """
    steps, ahead = int(record.values["execute_steps"]), int(record.values["horizon"])
    executed = follow(model, task, record.pairs, record.outcome, steps, ahead)
    demonstrated = None
    if "replay" in record.floors:
        demonstrated = follow(model, task, record.pairs, record.floors["replay"], steps, ahead)
    return sorted_out(record, executed, demonstrated, success_scale(record, model, task, executed))


def success_scale(record: Record, model: WorldModel, task: Any, executed: Executed) -> float | None:
    """How far from the goal states are that have just succeeded, in squared latent distance."""
    found = [_just_solved(model, task, record.pairs, x, executed) for x in (record.outcome, *record.floors.values())]
    distances = np.concatenate(found)
    return float(np.quantile(distances, QUANTILE)) if len(distances) >= LEAST else None


def sorted_out(record: Record, executed: Executed, demonstrated: Executed | None, scale: float | None) -> Failures:
    """Reasons by the rules above, from what was followed and the scale."""
    name = record.values["predictor"]
    believed, reached = (_least(executed, x) for x in (executed.expected[name], executed.reached))
    reasons: list[str | None] = [None] * len(believed)
    if scale is not None:
        shown = np.full((2, len(believed)), np.nan)
        if demonstrated is not None:
            shown = np.stack([_least(demonstrated, x)[:, 0] for x in (demonstrated.expected[name], demonstrated.reached)])
        for i in np.flatnonzero(~record.outcome.success):
            reasons[i] = reason(believed[i], reached[i], shown[0, i], shown[1, i], scale)
    return Failures(reasons=tuple(reasons), scale=scale, believed=believed, reached=reached)


def reason(believed: np.ndarray, reached: np.ndarray, shown_believed: float, shown_reached: float, scale: float) -> str:
    """The first thing that went wrong with a failed pair.

    Args:
        believed: (P,) of each plan; NaN for those that were never made.
        reached: (P,) of each plan.
        shown_believed: of the demonstrator's actions; NaN where nobody has demonstrated.
        shown_reached: of the demonstrator's actions.
        scale: what counts as clear, and as near.
    """
    for plan, (hoped, came) in enumerate(zip(believed, reached)):
        if came <= scale:
            return "looks solved"
        if came > scale and (hoped <= scale or came - hoped > scale):
            return "wrong model"
        if plan == 0 and hoped - shown_believed > scale:
            return "search not converged"
        if plan == 0 and shown_believed - shown_reached > scale:
            return "wrong model"
    return "budget"


def _least(executed: Executed, z: Tensor) -> np.ndarray:
    """Least squared distance to the goal over the steps of each plan: (n, P, W, D) -> (n, P); NaN where none was seen."""
    distance = executed.to_goal(z)
    distance = distance.masked_fill(executed.to_goal(executed.reached).isnan(), float("inf")).amin(dim=2)
    return distance.masked_fill(distance.isinf(), float("nan")).double().cpu().numpy()


def _just_solved(model: WorldModel, task: Any, pairs: Pairs, outcome: Outcome, executed: Executed) -> np.ndarray:
    """Squared distances to the goal of the states at which pairs succeeded, (successes,)."""
    solved = np.flatnonzero(outcome.success)
    states = np.full((len(pairs), 1, outcome.states.shape[2]), np.nan)
    states[solved, 0] = outcome.states[solved, outcome.steps[solved]]
    if not len(solved):
        return np.empty(0)
    distances: np.ndarray = executed.to_goal(latents(model, task, pairs, states))[solved, 0].double().cpu().numpy()
    return distances
