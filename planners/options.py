"""An agent from plain options, checked as a whole before anything is planned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worldmodel.errors import BadValue
from worldmodel.planners.actions import Actions, actions_of
from worldmodel.planners.agent import Agent
from worldmodel.planners.captured import CudaGraphs, Recorded, recordable
from worldmodel.planners.config import AgentConfig
from worldmodel.planners.proposals import as_proposal
from worldmodel.planners.reflex import chosen
from worldmodel.planners.registry import planner_class
from worldmodel.planners.scoring import as_objective, make_objective
from worldmodel.planners.settings import configured

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

JUMPS = 256  # composed at most: a typing error should not plan for minutes


def make_agent(
    model: WorldModel,
    env: Any = None,
    objective: Any = None,
    goal: Any = None,
    actions: Actions | None = None,
    proposal: Any = None,
    **options: Any,
) -> Agent:
    """Build an agent from plain options.

    Args:
        model: the world model.
        env: optional environment (or vector environment) to act in. Plans are searched within its action bounds where
            they are narrower than those the model was trained with. Actions come in its shape; it may number its
            actions (``Discrete``) if the model was trained on as many numbers between 0 and 1, of which the largest
            chose, as those of our ``gym/`` tasks: the history holds the numbers that were planned, not the choice.
        objective: ``"goal"``, ``"reward"`` (what the model's reward head expects to earn), or what takes the place of
            both; a function of (latents, actions) will do.
        goal: of all episodes, as ``Agent.set_goal`` takes it; by default observations show it.
        actions: what the environment takes; by default read off the environment, or the model's.
        proposal: a ``Proposal``, or a policy to make one of: a function of (latents, goals), or an algorithm of
            Stable-Baselines3 that was trained on latents. What it would do is tried too.
        options: fields of ``AgentConfig`` and of the planner's own config, such as ``horizon=32, candidates=128``.

    Raises:
        UnknownName: an option, planner or predictor that does not exist.
        BadValue: a value of another type or outside its range, an environment of other actions than the model's,
            actions without bounds, a horizon of too many composed jumps, or a deadline too short for one iteration.
    """
    if isinstance(objective, str):
        options, objective = options | {"objective": objective}, None
    config, search = configured(options)
    asked = [name for name, value in options.items() if value != "auto"]
    own = None if objective is None else as_objective(objective, model)
    config = chosen(config, model, make_objective(config, model, own=own), proposal is not None)
    if config.controller == "both" and proposal is None:
        _, search = configured(options, near=True)
    planner = planner_class(config.planner)
    actions = actions or actions_of(model, env)
    _require_reach(config, model)
    solver = planner(search, *actions.bounds(model), model.config.action_block)
    if config.graphs and recordable(model.device):
        solver = Recorded(solver, CudaGraphs())
    if proposal is not None:
        proposal = as_proposal(proposal)
        proposal.require_fit(model, search)
    return Agent(model, solver, config, actions, own, env, goal, proposal, asked)


def _require_reach(config: AgentConfig, model: WorldModel) -> None:
    """A horizon far beyond what was trained is composed of jumps, and of how many there is an end."""
    longest = JUMPS * model.predictor(config.predictor_of(model.predictors)).max_prefix
    if config.horizon > longest:
        raise BadValue(
            f"horizon: {config.horizon} model steps would be composed of more than {JUMPS} jumps, expected at most "
            f"{longest}"
        )
