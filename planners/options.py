"""An agent from plain options, checked as a whole before anything is planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml

from worldmodel.errors import BadValue, UnknownName
from worldmodel.planners.agent import Agent
from worldmodel.planners.captured import CudaGraphs, Recorded, recordable
from worldmodel.planners.config import AgentConfig, SearchConfig
from worldmodel.planners.registry import planner_class

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

JUMPS = 256  # composed at most: a typing error should not plan for minutes


def make_agent(model: WorldModel, env: Any = None, objective: Any = None, **options: Any) -> Agent:
    """Build an agent from plain options.

    Args:
        model: the world model.
        env: optional environment (or vector environment) to act in. Plans are searched within its action bounds where
            they are narrower than those the model was trained with.
        objective: takes the place of the distance to the goal; a function of (latents, actions) will do.
        options: fields of ``AgentConfig`` and of the planner's own config, such as ``horizon=32, candidates=128``.

    Raises:
        UnknownName: an option, planner or predictor that does not exist.
        BadValue: an environment of other actions than the model's, actions without bounds, a horizon of too many
            composed jumps, or a deadline that one iteration does not meet.
    """
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


def configured(options: Mapping[str, Any]) -> tuple[AgentConfig, SearchConfig]:
    """Sort options into the agent's settings and those of its planner, checking both.

    Raises:
        UnknownName: an option or a planner that does not exist.
        BadValue: a value outside its range.
    """
    own = planner_class(options.get("planner", AgentConfig.planner)).Config
    names = [{f.name for f in fields(kind)} for kind in (AgentConfig, own)]
    for name in options:
        if name not in names[0] | names[1]:
            raise UnknownName(f"option of {own.__name__.removesuffix('Config')}", name, names[0] | names[1])
    agent, search = ({name: value for name, value in options.items() if name in known} for known in names)
    return AgentConfig(**agent), own(**search)


def parsed(texts: Iterable[str], planner: str) -> dict[str, Any]:
    """Read options of an agent with this planner from texts such as ``elites=20`` or ``arrivals=5,8``.

    Raises:
        UnknownName: an option that neither the agent nor its planner has.
        BadValue: a text without ``=``, or a value of another type than the option's.
    """
    kinds = {f.name: str(f.type) for kind in (AgentConfig, planner_class(planner).Config) for f in fields(kind)}
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise BadValue(f"{text!r}: expected NAME=VALUE, such as iterations=30")
        if name not in kinds:
            raise UnknownName(f"option of the planner {planner}", name, kinds)
        options[name] = _value(name, kinds[name], value)
    return options


def _value(name: str, kind: str, text: str) -> Any:
    """One value of the type that a field is annotated with."""
    if kind.startswith("tuple"):
        return tuple(_value(name, "int", part) for part in text.split(",") if part)
    value = yaml.safe_load(text) if "str" not in kind else text
    if "float" in kind and type(value) in (int, float, str):
        try:
            return float(value)
        except ValueError:
            pass
    elif type(value).__name__ in kind.split(" | ") or (value is None and "None" in kind):
        return value
    raise BadValue(f"{name}: expected {kind}, got {text!r}")


def _action_bounds(model: WorldModel, env: Any) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (a,) of a primitive action: the model's, drawn in to the environment's when one is given."""
    a = model.config.action_dim
    low, high = model.action_low.cpu().numpy(), model.action_high.cpu().numpy()
    if env is None:
        return _bounded(low, high)
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
