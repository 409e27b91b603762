"""The model's reflex as a controller: acting without a search, and what a search starts from.

Shapes: B environments, M copies of each, C context frames, c of them seen, D latent size, A = F * a.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from worldmodel.blocks import padded_past
from worldmodel.errors import BadValue
from worldmodel.interfaces import Objective
from worldmodel.planners.arrivals import way_left
from worldmodel.planners.config import AgentConfig, SearchConfig
from worldmodel.planners.objectives import reads_goal
from worldmodel.planners.proposals import Proposal

if TYPE_CHECKING:
    from worldmodel.model import WorldModel
    from worldmodel.reflex import ReflexHead

COUNT = 32  # plans proposed to a search: the reflex's own, and copies with noise
LEAST = 1.0  # model steps to the goal that are left at any time
UNKNOWN = 5.0  # model steps to a goal of which nobody says how far it is


@dataclass(frozen=True, kw_only=True, eq=False)
class Reflex(Proposal):
    """What the model's goal-action head would do, from the last latents, the goal and the steps left."""

    policy: ReflexHead
    start: bool = True

    def __post_init__(self) -> None:
        """Nothing here is the user's to get wrong."""

    def blocks(self, model: WorldModel, z: Tensor, goal: Tensor | None, left: Tensor) -> Tensor:
        """Latents (B, M, c, D), goals (B, D) and model steps left (B,) -> blocks (B, M, A)."""
        assert goal is not None
        B, M, c, _ = z.shape
        anchor = padded_past(z, model.config.context - c)
        rows = anchor, goal[:, None].expand(-1, M, -1), left.clamp(min=LEAST)[:, None].expand(-1, M)
        return self.policy(*(x.flatten(0, 1) for x in rows)).unflatten(0, (B, M))


def chosen(config: AgentConfig, model: WorldModel, objective: Objective, proposes: bool) -> AgentConfig:
    """Settle who acts, which also decides how much of a plan is executed: ``search``, ``reflex`` or ``both``.

    Args:
        config: what was asked for; auto is both where the model has a reflex and nobody else proposes, else search.
        model: which may have a reflex.
        objective: what makes a plan good, perhaps without a goal.
        proposes: whether a policy of the user's makes proposals, which then takes the reflex's place.

    Raises:
        BadValue: the reflex has no goal, the model no reflex, or the proposals would not be looked at.
    """
    asked, aims = config.controller, reads_goal(objective)
    if asked == "auto":
        both = model.reflex is not None and aims and not proposes
        return replace(config, controller="both" if both else "search")
    if asked == "search":
        return config
    if not aims:
        raise BadValue(f"controller: {asked} acts towards a goal, and the objective looks at none; expected search")
    if proposes and asked == "reflex":
        raise BadValue("proposal: has no effect on the controller reflex, which searches nothing; expected both")
    if model.reflex is None and not proposes:
        raise BadValue(
            f"controller: {asked} takes a model with a reflex, which this one has not learned; train one with "
            "wm-train --heads reflex"
        )
    return config


def reflex_of(model: WorldModel, search: SearchConfig, alone: bool) -> Reflex:
    """The model's reflex: its own plan for one that acts alone, else as many as leave room in a search.

    That is, a candidate to the search, and where possible one to the rest of the last plan.

    Raises:
        BadValue: the search has a single candidate.
    """
    assert model.reflex is not None
    free = search.candidates - int(getattr(search, "kept", 0)) - 1
    if not alone and free < 1:
        raise BadValue(f"candidates: {search.candidates} have no room for the reflex's plan; expected 2 or more")
    std = float(getattr(search, "init_std", 0.0))  # the copies are as near as the search's own candidates
    alike = alone or not std  # copies without noise would be one plan many times
    return Reflex(policy=model.reflex, count=1 if alike else min(COUNT, max(1, free - 1)), std=std)


def steps_left(passed: Sequence[int], offset: int | None, action_block: int, like: Tensor) -> Tensor:
    """Model steps left to goals, (B,).

    Args:
        passed: environment steps acted towards each.
        offset: environment steps to the goal at first; None where unknown.
        action_block: F.
        like: whose device is used.
    """
    left = [UNKNOWN if offset is None else way_left(offset, steps) / action_block for steps in passed]
    return torch.tensor(left, dtype=torch.float32, device=like.device)
