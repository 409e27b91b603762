"""Which objective the settings ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor

from worldmodel.errors import BadValue
from worldmodel.interfaces import Objective
from worldmodel.planners.arrivals import arrival_steps
from worldmodel.planners.config import AgentConfig, ObjectiveConfig
from worldmodel.planners.objectives import Function, GoalDistance, PathDistance, Sum
from worldmodel.planners.penalties import Effort, SelfConsistency, Smoothness
from worldmodel.planners.reward import Reward
from worldmodel.planners.settings import require_arguments

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

FIRST_HOP = 0.4  # share of a jump; 2 of 5 model steps in 2606.26217


def make_objective(
    config: AgentConfig, model: WorldModel, way_left: int | None = None, own: Objective | None = None
) -> Objective:
    """Build what the settings ask for; equal settings give equal objectives.

    Args:
        config: metric, score, arrivals, and weights of what else counts.
        model: knows the actions' units and the predictors.
        way_left: environment steps to the goal; None where unknown.
        own: takes the place of the distance to the goal.

    Raises:
        BadValue: settings that do not fit each other, the model, or ``own``.
    """
    if own is None and config.objective == "goal":
        own = _distance(config, model.config.action_block, way_left)
    else:
        own = Reward(model) if own is None else own
        _require_defaults(config, "score", "arrivals", "tail", *([] if config.consistency else ["metric"]))
    terms: list[tuple[float, Objective]] = [(1.0, own)]
    if config.effort:
        terms.append((config.effort, Effort(model)))
    if config.smoothness:
        terms.append((config.smoothness, Smoothness(model)))
    if config.consistency:
        terms.append((config.consistency, _consistency(config, model)))
    objective = Sum(tuple(terms)) if len(terms) > 1 else own
    steps, H = tuple(objective.steps(config.horizon)), config.horizon
    if not steps or steps != tuple(sorted({*steps} & {*range(1, H + 1)})):
        raise BadValue(f"objective: expected to read ascending model steps in 1..{H} (the horizon), got {steps}")
    return objective


def as_objective(objective: Objective | Callable[[Tensor, Tensor], Tensor], model: WorldModel) -> Objective:
    """An objective as it is, or one that calls a function of latents and actions (``Function``).

    Raises:
        BadValue: neither, a function of other arguments, or something that cannot be a key of what belongs to it.
    """
    if not callable(objective) or isinstance(objective, type):
        raise BadValue(f"objective: expected an Objective or a function of (latents, actions), got {objective!r}")
    try:
        hash(objective)
    except TypeError as error:
        kind, why = type(objective).__name__, str(error)
        raise BadValue(f"objective: {kind} has no hash ({why}), expected a frozen dataclass or plain class") from error
    if hasattr(objective, "steps"):
        return cast(Objective, objective)
    require_arguments("objective", objective, "latents, actions")
    return Function(cast(Any, objective), model)


def _require_defaults(config: AgentConfig, *names: str) -> None:
    """What belongs to the distance to the goal has no effect where something else takes its place."""
    for name in names:
        if getattr(config, name) != getattr(ObjectiveConfig(), name):
            raise BadValue(f"{name}: {getattr(config, name)!r} has no effect where no distance to a goal is planned by")


def _distance(config: AgentConfig, action_block: int, way_left: int | None) -> Objective:
    """The distance to the goal that ``config.score`` names."""
    if config.score == "weighted":
        return PathDistance(config.tail, config.metric)
    arrivals = config.arrivals
    if config.score == "auto" and not arrivals:
        arrivals = arrival_steps(config.horizon, None if way_left is None else -(-way_left // action_block))
    elif config.score == "best" and not arrivals:
        arrivals = tuple(range(1, config.horizon + 1))
    elif config.score == "executed":
        arrivals = (config.steps_executed,)
    return GoalDistance(arrivals, config.metric)


def _consistency(config: AgentConfig, model: WorldModel) -> SelfConsistency:
    name = config.predictor_of(model.predictors)
    predictor = model.predictor(name)
    jump = min(config.horizon, predictor.max_prefix)
    if jump < 2:
        why = "horizon: 1" if predictor.max_prefix > 1 else f"the {name} predictor"
        raise BadValue(
            f"consistency: {why} has no jump of several model steps that two hops could contradict; leave it 0"
        )
    split = max(1, int(FIRST_HOP * jump + 0.5))
    return SelfConsistency(jump=jump, split=split, context=predictor.context, metric=config.metric)
