"""Settings of planning, as frozen dataclasses that need no torch."""

from __future__ import annotations

from dataclasses import dataclass

from worldmodel.errors import BadValue


@dataclass(frozen=True, kw_only=True)
class CEMConfig:
    """The cross-entropy method of LeWM (2603.19312), which keeps 30 elites of white noise, for 10 or 30 iterations.

    Ours keeps fewer and correlates the first candidates' noise in time: those that walk somewhere find the door of
    TwoRoom far more often than those that tremble. The correlation fades over the iterations, so that the last ones can
    refine single actions.
    """

    candidates: int = 300  # N, plans scored in each iteration
    elites: int = 10  # K, cheapest ones that the next mean and std are fitted to; at most N
    iterations: int = 10  # I
    init_std: float = 1.0  # standard deviation of the first candidates, normalised action units
    min_std: float = 0.0  # floor under the fitted standard deviation, same units; LeWM has none
    correlation: float = (
        0.8  # of the first noise between consecutive primitive actions, in [0, 1); 0 is white, as LeWM's
    )
    chunk: int = 0  # candidates of every environment scored in one call, 0 for all; bounds memory, changes no result

    def __post_init__(self) -> None:
        for name in ("candidates", "elites", "iterations"):
            _at_least(1, name, getattr(self, name))
        if self.elites > self.candidates:
            raise BadValue(f"elites: {self.elites} cannot be kept of candidates: {self.candidates}; lower --elites")
        _at_least(0, "chunk", self.chunk)
        if not self.init_std > 0:
            raise BadValue(f"init_std: expected a number above 0, got {self.init_std}")
        if not self.min_std >= 0:
            raise BadValue(f"min_std: expected 0 or more, got {self.min_std}")
        if not 0 <= self.correlation < 1:
            raise BadValue(f"correlation: expected 0 <= correlation < 1, got {self.correlation}")


@dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """Receding-horizon control: plan H model steps, execute R of them, plan again."""

    planner: str = "cem"  # a name in planners/registry.py
    predictor: str = "auto"  # one-step | prefix | auto (prefix when the model has it)
    horizon: int = 5  # H, model steps planned ahead
    execute_steps: int = 5  # R, model steps executed before replanning; the whole plan when it is shorter
    goal_offset: int | None = None  # environment steps to the goal, where known; a longer H reads several arrivals
    arrivals: tuple[int, ...] = ()  # model steps (from 1) at which arriving counts; empty: chosen from the goal offset
    warm_start: bool = True  # start from what the last plan left over; False: from the mean action
    seed: int = 0  # of the search noise, together with the row and the episode

    def __post_init__(self) -> None:
        for name in ("horizon", "execute_steps"):
            _at_least(1, name, getattr(self, name))
        if self.goal_offset is not None:
            _at_least(1, "goal_offset", self.goal_offset)
        _at_least(0, "seed", self.seed)
        if any(not 1 <= step <= self.horizon for step in self.arrivals):
            raise BadValue(f"arrivals: expected steps in 1..{self.horizon} (the horizon), got {self.arrivals}")


def _at_least(least: int, name: str, value: int) -> None:
    if value < least:
        raise BadValue(f"{name}: expected {least} or more, got {value}")
