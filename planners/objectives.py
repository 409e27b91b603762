"""What makes a plan good: costs on predicted latents, and their weighted sum.

What is paid for whatever the goal is in ``planners/penalties.py``; which objective the settings ask for, in
``planners/scoring.py``. Shapes: B environments, N candidates, H horizon (model steps), S steps that are read, D latent
size, F action block, a action size, A = F * a, Y numbers of a state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from worldmodel.blocks import at_least_float32
from worldmodel.errors import BadValue, UnknownName
from worldmodel.interfaces import Forecast, Objective
from worldmodel.probes import Probe

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


def squared_l2(x: Tensor, y: Tensor) -> Tensor:
    """|x - y|^2, summed over D: (..., D) -> (...)."""
    return (at_least_float32(x) - at_least_float32(y)).square().sum(dim=-1)


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """1 - cos(x, y), from 0 to 2: (..., D) -> (...); 1 where one of the two is zero."""
    x, y = at_least_float32(x), at_least_float32(y)
    sizes = x.square().sum(dim=-1) * y.square().sum(dim=-1)
    return 1 - (x * y).sum(dim=-1) * sizes.clamp(min=1e-12).rsqrt()


METRICS = {"l2": squared_l2, "cosine": cosine}


def require_metric(name: str) -> None:
    """Raise ``UnknownName`` unless it is one."""
    if not isinstance(name, str) or name not in METRICS:
        raise UnknownName("metric", str(name), METRICS)


def _tuple(name: str, values: Any, expected: str) -> tuple[Any, ...]:
    """Values as a tuple, which has a hash, of a list too."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise BadValue(f"{name}: expected {expected}, got {values!r}")
    return tuple(values)


def reads_goal(objective: Objective) -> bool:
    """Whether an objective looks at a goal; one that does not say so does."""
    return bool(getattr(objective, "reads_goal", True))


@dataclass(frozen=True)
class GoalDistance:
    """Distance to the goal's latent, by default squared L2 (2603.19312): at the last step, or at the best arrival.

    Attributes:
        arrivals: model steps from 1, of which each candidate's best one counts; empty for the last step.
        metric: a name in ``METRICS``.
    """

    arrivals: Sequence[int] = ()
    metric: str = "l2"

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrivals", _tuple("arrivals", self.arrivals, "model steps"))
        require_metric(self.metric)

    def steps(self, horizon: int) -> tuple[int, ...]:
        """The arrivals, or the last step."""
        return tuple(self.arrivals) or (horizon,)

    def __call__(self, forecast: Forecast) -> Tensor:
        """Cost (B, N)."""
        z = forecast.at(*self.steps(forecast.plans.shape[2]))
        return METRICS[self.metric](z, forecast.goal[:, None, None]).amin(dim=-1)


@dataclass(frozen=True)
class PathDistance:
    """Mean distance to the goal's latent over the steps, weighted by ``tail ** (H - k)`` at step k.

    Steps that weigh less than a hundredth of the last one are left out, and not predicted.

    Attributes:
        tail: weight of a step over that of the next, in (0, 1]; 1 for equal weights.
        metric: a name in ``METRICS``.
    """

    tail: float = 0.5
    metric: str = "l2"

    def __post_init__(self) -> None:
        if not 0 < self.tail <= 1:
            raise BadValue(f"tail: expected 0 < tail <= 1, got {self.tail}")
        require_metric(self.metric)

    def steps(self, horizon: int) -> tuple[int, ...]:
        """The last ones, which matter."""
        return tuple(k for k in range(1, horizon + 1) if self.tail ** (horizon - k) >= 0.01)

    def __call__(self, forecast: Forecast) -> Tensor:
        """Cost (B, N)."""
        H = forecast.plans.shape[2]
        steps = self.steps(H)
        each = METRICS[self.metric](forecast.at(*steps), forecast.goal[:, None, None]).unbind(dim=-1)
        total = torch.zeros_like(each[0])
        for k, distance in zip(steps, each):  # a tensor of weights would have to be sent to the device at each solve
            total = total + self.tail ** (H - k) * distance
        return total / sum(self.tail ** (H - k) for k in steps)


@dataclass(frozen=True, eq=False)
class StateDistance:
    """Squared distance of what a probe reads from the latents to a target, in standard deviations, at the best arrival.

    Attributes:
        probe: latents (..., D) -> numbers of a state (..., Y), fitted by ``worldmodel.probes``.
        target: the Y numbers to reach; None for those that the probe reads from the goal's latent.
        arrivals: model steps from 1, of which each candidate's best one counts; empty for the last step.
    """

    probe: Probe
    target: Sequence[float] | Tensor | None = None
    arrivals: Sequence[int] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrivals", _tuple("arrivals", self.arrivals, "model steps"))
        if self.target is None:
            return
        target = torch.as_tensor(self.target).to(self.probe.std)
        if target.shape != self.probe.std.shape:
            raise BadValue(f"target: expected the {len(self.probe.std)} numbers of the probe, got {self.target}")
        object.__setattr__(self, "target", target)  # where the probe is, before anything is planned

    def steps(self, horizon: int) -> tuple[int, ...]:
        """The arrivals, or the last step."""
        return tuple(self.arrivals) or (horizon,)

    def __call__(self, forecast: Forecast) -> Tensor:
        """Cost (B, N)."""
        read = self.probe(forecast.at(*self.steps(forecast.plans.shape[2])))
        target = self.target if isinstance(self.target, Tensor) else self.probe(forecast.goal)[:, None, None]
        return ((read - target) / self.probe.std).square().sum(dim=-1).amin(dim=-1)


@dataclass(frozen=True, eq=False)
class Function:
    """A function of somebody's own, of the latents after every step and the actions in the environment's units.

    Attributes:
        function: latents (B, N, H, D), actions (B, N, H * F, a) -> cost (B, N). A candidate's cost must depend on that
            candidate alone, and be computed without asking for numbers on the host.
        model: knows the units.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    model: WorldModel = field(repr=False)
    reads_goal = False

    def steps(self, horizon: int) -> tuple[int, ...]:
        """All of them."""
        return tuple(range(1, horizon + 1))

    def __call__(self, forecast: Forecast) -> Tensor:
        """Cost (B, N).

        Raises:
            BadValue: the function returned something else.
        """
        B, N, H, _ = forecast.plans.shape
        z = at_least_float32(forecast.at(*self.steps(H)))
        with torch.autocast(z.device.type, enabled=False):  # nobody expects to lose digits in his own function
            cost = self.function(z, primitive_actions(self.model, forecast.plans))
        if not isinstance(cost, Tensor) or cost.shape != (B, N):
            got = f"shape {tuple(cost.shape)}" if isinstance(cost, Tensor) else type(cost).__name__
            raise BadValue(f"objective: expected costs (B, N) = ({B}, {N}) of latents {tuple(z.shape)}, got {got}")
        return at_least_float32(cost)


@dataclass(frozen=True)
class Sum:
    """Weighted sum of objectives, for which the latents are predicted once.

    Attributes:
        terms: pairs of a weight and an objective.
    """

    terms: Sequence[tuple[float, Objective]]

    def __post_init__(self) -> None:
        pairs = _tuple("terms", self.terms, "pairs of a weight and an objective")
        if not all(isinstance(x, list | tuple) and len(x) == 2 and isinstance(x[0], Real) for x in pairs):
            raise BadValue(f"terms: expected pairs of a weight and an objective, got {self.terms!r}")
        object.__setattr__(self, "terms", tuple(map(tuple, pairs)))

    @property
    def reads_goal(self) -> bool:
        """Whether any term does."""
        return any(reads_goal(term) for _, term in self.terms)

    def steps(self, horizon: int) -> tuple[int, ...]:
        """Those of all terms."""
        return tuple(sorted({step for _, term in self.terms for step in term.steps(horizon)}))

    def __call__(self, forecast: Forecast) -> Tensor:
        """Cost (B, N); each term sees the steps that it has asked for."""
        H, total = forecast.plans.shape[2], torch.zeros((), device=forecast.plans.device)
        for weight, term in self.terms:
            steps = term.steps(H)
            total = total + weight * term(forecast._replace(z=forecast.at(*steps), steps=steps))
        return total


def primitive_actions(model: WorldModel, plans: Tensor) -> Tensor:
    """Plans in the environment's units, an action at a time: (B, N, H, A) -> (B, N, H * F, a)."""
    return model.denormalise(plans).unflatten(-1, (model.config.action_block, -1)).flatten(2, 3)
