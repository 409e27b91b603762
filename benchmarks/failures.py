"""Why a pair failed, measured from a record: the first thing that went wrong, plan by plan.

Everything is a squared distance to the goal's latent, which plans are judged by. The ``scale`` is the distance that
tells best which states were a success: within it lie as many as possible of the states at which a pair of the record
had just succeeded, and as few as possible of the others that were seen (Youden's J). Of every executed plan there is
what was *hoped*, the least distance that the predictor which planned expects along the executed actions, and what
*came*, the least distance along the frames seen then; of the demonstrator's actions there is what the predictor would
have hoped. One distance is clearly farther than another if it is beyond the scale and the other is not, or if it is
larger by more than the scale. A pair that must stay accomplished to the end (``strict``) and was so on the way
``did not stay``. Of the others, in order for each plan:

- ``search not converged``: the first plan was hoped to end clearly farther than the demonstrator's actions. There was a
  better plan, by the model's own measure, and the search did not find it.
- ``looks solved``: what came is within the scale, yet was no success. To the model this is the goal.
- ``wrong model``: what came is clearly farther than what was hoped; or, at the start, the demonstrator's actions, which
  lead to the goal, are not believed to, so that no search would choose them.
- ``budget``: nothing of that for any plan. As far as one can tell the model was right and the search was good, but
  within the horizon and the steps allowed the goal was not reached.

A reflex makes no plan that could be examined, so the failures of one that acted alone have no reasons.

Shapes: n pairs, P plans.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.benchmarks.record import Record
from worldmodel.benchmarks.retrace import Executed, latents
from worldmodel.interfaces import Context
from worldmodel.model import WorldModel

REASONS = ("wrong model", "search not converged", "looks solved", "budget", "did not stay")


@dataclass(frozen=True, kw_only=True)
class Failures:
    """Why pairs failed.

    Attributes:
        reasons: of each pair, one of ``REASONS``; None for a success, and where there is no scale.
        scale: squared latent distance; None where nothing ever succeeded, or nothing was planned.
        hoped: (n, P) least squared distance to the goal that the predictor which planned expects of each plan.
        came: (n, P) the same of what was seen; NaN for both where an episode was over.
    """

    reasons: tuple[str | None, ...]
    scale: float | None
    hoped: np.ndarray
    came: np.ndarray

    @property
    def counts(self) -> dict[str, int] | None:
        """How many failures have each reason."""
        found = Counter(self.reasons)
        return None if self.scale is None else {reason: found[reason] for reason in REASONS}


@torch.no_grad()
def sort_out(record: Record, executed: Executed, model: WorldModel, task: Any) -> Failures:
    """Say of every failed pair what went wrong first.

    Args:
        record: of an evaluation with this model, for goals, in an environment that can be put into a state.
        executed: its plans, as ``follow`` returns them.
        model: the model.
        task: the task itself, which draws as the model knows it.
    """
    hoped, came = (_least(executed, x) for x in (executed.expected[record.values["predictor"]], executed.reached))
    there = accomplished(record, task)
    planned = record.values.get("controller") != "reflex"
    scale = _success_scale(record, executed, model, task, there) if planned else None
    reasons: list[str | None] = [None] * len(hoped)
    if scale is not None:
        shown, leads_there = _demonstrated(record, executed, model)
        beyond = (record.pairs.offset or 0) > record.values["horizon"] * model.config.action_block
        if beyond and record.values.get("controller") == "both":  # the first plan is the reflex's, not a search's
            shown = np.full_like(shown, np.nan)
        for i in np.flatnonzero(~record.outcome.success):
            left = there[i].any()  # it was a success for a while, which is enough unless it must stay
            reasons[i] = "did not stay" if left else reason(hoped[i], came[i], shown[i], leads_there, scale)
    return Failures(reasons=tuple(reasons), scale=scale, hoped=hoped, came=came)


def accomplished(record: Record, task: Any) -> np.ndarray:
    """At which moments the goal was accomplished, (n, budget + 1) bool; for strict pairs on the way, too."""
    outcome, pairs = record.outcome, record.pairs
    moments = np.arange(outcome.states.shape[1])
    there = outcome.success[:, None] & (moments >= outcome.steps[:, None])
    if pairs.strict:
        for i, t in np.argwhere(np.isfinite(outcome.states).all(axis=2) & ~there):
            there[i, t] = task.accomplished(outcome.states[i, t], pairs.goals[i])
    return there


def reason(hoped: np.ndarray, came: np.ndarray, shown: float, leads_there: bool, scale: float) -> str:
    """The first thing that went wrong with a failed pair.

    Args:
        hoped: (P,) of each plan; NaN for those that were never made.
        came: (P,) of each plan.
        shown: what is hoped of the demonstrator's actions from the start; NaN where nobody has demonstrated.
        leads_there: whether these lead to the goal within as many steps as a plan has.
        scale: what counts as near, and as clear.
    """

    def clearly_farther(x: float, y: float) -> bool:
        return x > scale and (y <= scale or x - y > scale)

    for plan, (thought, seen) in enumerate(zip(hoped, came)):
        if plan == 0 and clearly_farther(thought, shown):
            return "search not converged"
        if seen <= scale:
            return "looks solved"
        if clearly_farther(seen, thought) or (plan == 0 and leads_there and shown > scale):
            return "wrong model"
    return "budget"


def separating(solved: np.ndarray, others: np.ndarray) -> float:
    """The distance within which lie most of the one and fewest of the others: the largest difference of the two shares.

    Args:
        solved: (k,) distances.
        others: (m,) distances.
    """
    at, rest = np.sort(solved), np.sort(others)
    within = np.searchsorted(at, at, side="right") / len(at)
    return float(at[np.argmax(within - np.searchsorted(rest, at, side="right") / max(len(rest), 1))])


def _least(executed: Executed, z: Tensor) -> np.ndarray:
    """Least squared distance to the goal over the steps of each plan: (n, P, W, D) -> (n, P); NaN without any."""
    distance = executed.to_goal(z)
    distance = distance.masked_fill(executed.to_goal(executed.reached).isnan(), float("inf")).amin(dim=2)
    return distance.masked_fill(distance.isinf(), float("nan")).double().cpu().numpy()


def _demonstrated(record: Record, executed: Executed, model: WorldModel) -> tuple[np.ndarray, bool]:
    """What is hoped of the demonstrator's actions (n,), and whether a plan is long enough for all of them."""
    F, W = model.config.action_block, executed.reached.shape[2]
    n, offset, a = record.pairs.actions.shape
    steps = min(offset // F, W)
    if not steps:
        return np.full(n, np.nan), False
    actions = torch.from_numpy(record.pairs.actions[:, : steps * F]).to(model.device).reshape(n, 1, steps, F * a)
    predictor = model.predictor(record.values["predictor"])
    start = Context(executed.z[:, :1], executed.z.new_empty(n, 0, F * a))
    shown = executed.to_goal(predictor.rollout(start, model.normalise(actions))[:, 0]).amin(dim=1)
    return shown.double().cpu().numpy(), steps * F == offset


def _success_scale(record: Record, executed: Executed, model: WorldModel, task: Any, there: np.ndarray) -> float | None:
    """How far from the goal states may be that are a success, in squared latent distance."""
    solved = []
    for outcome in (record.outcome, *record.floors.values()):
        states = np.full((len(record.pairs), 1, outcome.states.shape[2]), np.nan)
        rows = np.flatnonzero(outcome.success)
        states[rows, 0] = outcome.states[rows, outcome.steps[rows]]
        solved.append(_known(executed.to_goal(latents(model, task, record.pairs, states))))
    just_solved = np.concatenate(solved)
    others = _known(_unsolved(executed, there[:, :: model.config.action_block]))
    return separating(just_solved, others) if len(just_solved) else None


def _unsolved(path: Executed, there: np.ndarray) -> Tensor:
    """Squared distances to the goal at all model steps (n, K + 1); NaN where it was accomplished."""
    distance = path.to_goal(path.z)
    known = torch.from_numpy(there[:, : distance.shape[1]]).to(distance.device)
    return distance.masked_fill(known, float("nan"))


def _known(distance: Tensor) -> np.ndarray:
    flat: np.ndarray = distance.flatten().double().cpu().numpy()
    return flat[np.isfinite(flat)]
