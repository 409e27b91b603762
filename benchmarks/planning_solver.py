"""Solves of one case, again and again, with a model of any size."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import torch

from worldmodel.benchmarks.parity import filled
from worldmodel.benchmarks.planning_cases import Case
from worldmodel.checkpoint import load_model
from worldmodel.interfaces import Context, Plan
from worldmodel.model import WorldModel
from worldmodel.planners.agent import Agent
from worldmodel.planners.costs import Cost
from worldmodel.recipes import RECIPES, settings


class Solver:
    """An agent's search for one case, from encoded pictures that are drawn once."""

    def __init__(self, case: Case, device: torch.device) -> None:
        self.case, self.device = case, device
        self.agent = self._agent(load(case.model, case.jump, device))
        config, width, B = self.agent.model.config, len(self.agent.model.low), case.environments
        C = 1 if case.model.startswith("lewm/") else config.context  # as the peer begins
        generator = torch.Generator(device).manual_seed(0)
        z = torch.randn(B, C + 1, config.latent_dim, generator=generator, device=device)
        self.context = Context(z[:, :C], torch.zeros(B, C - 1, width, device=device))
        self.goal = z[:, C]
        self.start = torch.zeros(B, self.agent.config.horizon, width, device=device)

    def __call__(self) -> Plan:
        """Solve once."""
        return self._solve(self.agent)

    def counted(self) -> Plan:
        """Solve once in a way that lets operations be counted, which a recorded graph hides."""
        return self._solve(self._agent(self.agent.model, graphs=False))

    def encode(self) -> None:
        """Encode what one environment sees and its goal."""
        size = self.agent.model.config.image_size
        pixels = torch.zeros(2, 1, size, size, 3, dtype=torch.uint8, device=self.device)
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.agent.bf16):
            self.agent.model.encode({"pixels": pixels})

    def cost(self, agent: Agent) -> Cost:
        """What the search minimises."""
        return Cost(agent.predictor, agent.objective, self.context, self.goal, agent.config.chunk)

    def _solve(self, agent: Agent) -> Plan:
        generators = [torch.Generator(self.device).manual_seed(row) for row in range(len(self.start))]
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=agent.bf16):
            return agent.planner.solve(self.cost(agent), self.start, generators)

    def _agent(self, model: WorldModel, **more: Any) -> Agent:
        setting = self.case.setting
        return replace(setting, options={**setting.options, **more}).agent(model)


@functools.cache
def load(name: str, jump: int, device: torch.device) -> WorldModel:
    """A model with weights by formula, given as recipe/preset, or one from a path.

    Args:
        name: such as ``wm/nano`` or ``runs/pusht``.
        jump: ``max_prefix``; 0 for the recipe's.
        device: where it goes.
    """
    recipe, _, preset = name.partition("/")
    if recipe not in RECIPES:
        return load_model(name, device)
    config = settings(recipe, preset)[0]
    if jump and config.prefix is not None:
        config = replace(config, prefix=replace(config.prefix, max_prefix=jump))
    model = WorldModel(config)
    state = model.state_dict()
    actions = {key: value for key, value in state.items() if key.startswith("action_")}
    model.load_state_dict({**filled(state), **actions})
    return model.to(device).eval()
