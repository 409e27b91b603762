"""An agent from plain options, checked as a whole before anything is planned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from worldmodel.errors import BadValue
from worldmodel.planners.agent import Agent
from worldmodel.planners.captured import CudaGraphs, Recorded, recordable
from worldmodel.planners.config import AgentConfig
from worldmodel.planners.registry import planner_class
from worldmodel.planners.settings import configured

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

JUMPS = 256  # composed at most: a typing error should not plan for minutes


def make_agent(model: WorldModel, env: Any = None, objective: Any = None, **options: Any) -> Agent:
    """Build an agent from plain options.

    Args:
        model: the world model.
        env: optional environment (or vector environment) to act in. Plans are searched within its action bounds where
            they are narrower than those the model was trained with.
        objective: ``"goal"``, ``"reward"`` (what the model's reward head expects to earn), or what takes the place of
            both; a function of (latents, actions) will do.
        options: fields of ``AgentConfig`` and of the planner's own config, such as ``horizon=32, candidates=128``.

    Raises:
        UnknownName: an option, planner or predictor that does not exist.
        BadValue: a value of another type or outside its range, an environment of other actions than the model's,
            actions without bounds, a horizon of too many composed jumps, or a deadline too short for one iteration.
    """
    if isinstance(objective, str):
        options, objective = options | {"objective": objective}, None
    config, search = configured(options)
    planner = planner_class(config.planner)
    low, high = _action_bounds(model, env)
    _require_reach(config, model)
    F = model.config.action_block
    lowest, highest = (model.normalise(torch.tensor(np.tile(x, F)).to(model.action_low)) for x in (low, high))
    solver = planner(search, lowest, highest, F)
    if config.graphs and recordable(model.device):
        solver = Recorded(solver, CudaGraphs())
    return Agent(model, solver, config, low, high, objective)


def _action_bounds(model: WorldModel, env: Any) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (a,) of a primitive action: the model's, drawn in to the environment's when one is given."""
    a = model.config.action_dim
    low, high = model.action_low.cpu().numpy(), model.action_high.cpu().numpy()
    if env is None:
        return _bounded(low, high)
    if not hasattr(env, "action_space"):
        raise BadValue(f"env: expected an environment to act in, which has an action space, got {env!r}")
    space = getattr(env, "single_action_space", env.action_space)
    if getattr(space, "shape", None) != (a,) or not hasattr(space, "low"):
        raise BadValue(f"env: expected a Box action space of shape ({a},) as the model was trained on, got {space}")
    low, high = np.maximum(low, space.low), np.minimum(high, space.high)
    if (low > high).any():
        raise BadValue(f"env: no action of {space} lies within the bounds the model was trained with")
    return _bounded(low, high)


def _bounded(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise BadValue(
            f"actions have no bounds: low {low.tolist()}, high {high.tolist()}; expected finite ones, as "
            "gymnasium.wrappers.RescaleAction or ClipAction over a bounded space give them"
        )
    return low, high


def _require_reach(config: AgentConfig, model: WorldModel) -> None:
    """A horizon far beyond what was trained is composed of jumps, and of how many there is an end."""
    longest = JUMPS * model.predictor(config.predictor_of(model.predictors)).max_prefix
    if config.horizon > longest:
        raise BadValue(
            f"horizon: {config.horizon} model steps would be composed of more than {JUMPS} jumps, expected at most "
            f"{longest}"
        )
