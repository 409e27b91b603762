"""Settings of planning, as frozen dataclasses that need no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from worldmodel.config import PRECISIONS, usual_predictor
from worldmodel.errors import BadValue, UnknownName

OBJECTIVES = {"goal": 5, "reward": 1}  # what a plan is for, and the steps executed of it: reward takes quick feedback
METRICS = ("l2", "cosine")
CONTROLLERS = ("auto", "search", "reflex", "both")
SCORES = ("auto", "last", "best", "weighted", "executed")
LARGEST = 3.4e38  # of float32: what is beyond is not finite there
MOST = {"candidates": 1_000_000, "iterations": 100_000}  # more is a typing error
SAFETY = 1.15  # under a deadline: how much longer than the slowest so far an iteration may take


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """What every planner is told."""

    candidates: int = 300  # N, plans scored in an iteration
    iterations: int = 10  # I

    def __post_init__(self) -> None:
        for name, most in MOST.items():
            _at_least(1, name, getattr(self, name))
            if getattr(self, name) > most:
                raise BadValue(f"{name}: expected {most} or fewer, got {getattr(self, name)}")

    def population(self, iteration: int) -> int:
        """Candidates of an iteration: N."""
        return self.candidates


@dataclass(frozen=True, kw_only=True)
class NormalConfig(SearchConfig):
    """Candidates are normal noise around a guess."""

    init_std: float = 1.0  # standard deviation of the first candidates, normalised action units

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("init_std", self.init_std)


@dataclass(frozen=True, kw_only=True)
class CorrelatedConfig(NormalConfig):
    """Noise that is correlated in time.

    Candidates that walk somewhere find the door of TwoRoom far more often than those that tremble. The correlation
    fades over the iterations, so that the last ones can refine single actions.
    """

    correlation: float = 0.8  # of the first noise between consecutive actions, in [0, 1); 0 is white

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.correlation < 1:
            raise BadValue(f"correlation: expected 0 <= correlation < 1, got {self.correlation}")

    def fading(self, iteration: int) -> float:
        """Correlation of an iteration's noise."""
        return self.correlation * (1 - iteration / self.iterations)


@dataclass(frozen=True, kw_only=True)
class EliteConfig(NormalConfig):
    """The next candidates are drawn around the cheapest of these."""

    elites: int = 10  # K, cheapest ones that the next mean and std are fitted to; at most N
    min_std: float = 0.0  # floor under the fitted standard deviation, normalised action units
    decay: float = 1.0  # candidates of an iteration over those of the next; 1 keeps their number
    tolerance: float = 0.0  # a search ends when no standard deviation is above it, same units; 0 never ends early

    def __post_init__(self) -> None:
        super().__post_init__()
        _elites(self.elites, self.candidates)
        for name in ("min_std", "tolerance"):
            _not_negative(name, getattr(self, name))
        if not 1 <= self.decay < inf:
            raise BadValue(f"decay: expected 1 or more, finite, got {self.decay}")

    def population(self, iteration: int) -> int:
        """Candidates of an iteration: ``N / decay**iteration``, and not fewer than two for each elite."""
        least = min(self.candidates, 2 * self.elites)
        return max(least, round(self.candidates * self.decay**-iteration))


@dataclass(frozen=True, kw_only=True)
class CEMConfig(EliteConfig, CorrelatedConfig):
    """The cross-entropy method of LeWM (2603.19312), which keeps 30 elites of white noise, for 10 or 30 iterations.

    Ours keeps fewer and correlates the first candidates' noise in time.
    """


@dataclass(frozen=True, kw_only=True)
class CEMGradientConfig(CEMConfig):
    """CEM, and what its elites do before the fit.

    Chosen on the first plans of two-room and pusht: rates from 0.1 to 0.4 end as low, and lower than CEM on pusht; one
    step gains half as much. On a processor an iteration takes 1.3 to 2.5 times as long as CEM's, most for one
    environment.
    """

    descents: int = 2  # gradient steps of each elite in an iteration
    rate: float = 0.2  # Adam's first, normalised action units; it falls linearly to zero over the iterations

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(1, "descents", self.descents)
        _positive("rate", self.rate)


@dataclass(frozen=True, kw_only=True)
class ICEMConfig(EliteConfig):
    """iCEM (2008.06389), whose momentum and reuse these are; elites and iterations are as for CEM.

    Of the colours that it uses, 0.25 to 3.5, those from 2 find the door of two-room; whiter noise does so less often.
    """

    colour: float = 2.0  # beta, the noise's power falls as frequency**-beta; 0 is white
    momentum: float = 0.1  # of mean and std, share that stays
    reuse: float = 0.3  # share of the elites that are candidates again, in the next iteration and the next solve

    def __post_init__(self) -> None:
        super().__post_init__()
        _not_negative("colour", self.colour)
        _share("momentum", self.momentum)
        _share("reuse", self.reuse)

    @property
    def kept(self) -> int:
        """Elites that are candidates again; at least one candidate is new."""
        return min(round(self.reuse * self.elites), self.candidates - 1)


@dataclass(frozen=True, kw_only=True)
class MPPIConfig(CorrelatedConfig):
    """Model-predictive path integral control, with the refitted std of TD-MPC2 (2310.16828) and its floor.

    Temperatures from 0.02 to 0.15 plan as well on two-room; at 0.05 the std collapses early on pusht.
    """

    temperature: float = 0.1  # of the weights, over the mean excess of a candidate's cost over the least
    min_std: float = 0.05  # floor under the fitted standard deviation, normalised action units

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("temperature", self.temperature)
        _not_negative("min_std", self.min_std)


@dataclass(frozen=True, kw_only=True)
class PredictiveSamplingConfig(CorrelatedConfig):
    """Predictive sampling (2212.00541); the first standard deviation and correlation are as for CEM."""


@dataclass(frozen=True, kw_only=True)
class GradientConfig(CorrelatedConfig):
    """Gradient descent from several starts.

    Chosen on the first plans of two-room and pusht (prefix predictor, horizon 5): from 16 starts 30 steps at this rate
    end about as low as CEM's 3000 candidates; half the rate finds the door of two-room less often. On a processor that
    takes half of CEM's time for many environments and one and a half times as long for one.
    """

    candidates: int = 16
    iterations: int = 30
    rate: float = 0.4  # Adam's first, normalised action units; it falls linearly to zero

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("rate", self.rate)


@dataclass(frozen=True, kw_only=True)
class CategoricalCEMConfig(SearchConfig):
    """The cross-entropy method over discrete actions.

    Chosen on 48 linear-quadratic problems of 59049 plans: these find the best plan of most of them in 3000 tries and
    are 0.5 % above it on average; without momentum the first good plan is soon the only one that is tried.
    """

    elites: int = 20  # K, cheapest candidates whose choices are counted; at most N
    momentum: float = 0.5  # of the weights, share that stays
    smoothing: float = 0.05  # share of equal weights in what was counted, so that nothing is ruled out

    def __post_init__(self) -> None:
        super().__post_init__()
        _elites(self.elites, self.candidates)
        _share("momentum", self.momentum)
        if not 0 < self.smoothing <= 1:
            raise BadValue(f"smoothing: expected 0 < smoothing <= 1, got {self.smoothing}")


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What makes a plan good: the distance to the goal, at which steps, and what else counts."""

    objective: str = "goal"  # goal: the distance to it | reward: what the model's reward head expects to earn
    metric: str = "l2"  # distance of latents: l2 (squared, summed) | cosine (one minus it)
    score: str = "auto"  # where it counts: auto | last | best | weighted | executed (after the R steps executed)
    arrivals: tuple[int, ...] = ()  # model steps (from 1), the best of which counts in best and auto; empty: chosen
    tail: float = 0.5  # weight of a step over that of the next, in weighted; 1 is the mean over all steps
    effort: float = 0.0  # weight of the mean squared action, relative to its bounds
    smoothness: float = 0.0  # weight of the mean squared difference of consecutive actions, relative to their bounds
    consistency: float = 0.0  # weight of the distance between direct and two-hop predictions; 1 in 2606.26217

    def __post_init__(self) -> None:
        for name, choices in (("objective", OBJECTIVES), ("metric", METRICS), ("score", SCORES)):
            if getattr(self, name) not in choices:
                raise UnknownName(name, getattr(self, name), choices)
        object.__setattr__(self, "arrivals", tuple(self.arrivals))  # of a list too
        if self.arrivals and self.score not in ("auto", "best"):
            raise BadValue(f"arrivals: {self.arrivals} are not read by score={self.score!r}, but by best and auto")
        if list(self.arrivals) != sorted(set(self.arrivals)):
            raise BadValue(f"arrivals: expected ascending steps, got {self.arrivals}")
        if not 0 < self.tail <= 1:
            raise BadValue(f"tail: expected 0 < tail <= 1, got {self.tail}")
        if self.tail != ObjectiveConfig.tail and self.score != "weighted":
            raise BadValue(f"tail: {self.tail} is not read by score={self.score!r}, but by weighted")
        for name in ("effort", "smoothness", "consistency"):
            _not_negative(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class AgentConfig(ObjectiveConfig):
    """Receding-horizon control: plan H model steps, execute R of them, plan again."""

    controller: str = "auto"  # search | reflex (the model's, no search) | both | auto: both if the model has a reflex
    planner: str = "cem"  # a name in planners/registry.py
    predictor: str = "auto"  # one-step | prefix | auto (prefix when the model has it)
    horizon: int = 5  # H, model steps planned ahead
    execute_steps: int | None = None  # R, executed before replanning, at most H; None: 5; 1 for reward, reflex, both
    goal_offset: int | None = None  # environment steps to the goal, where known; a longer H reads several arrivals
    warm_start: bool = True  # start from what the last plan left over; False: from the mean action
    seed: int = 0  # of the search noise, together with the numbers of the episode and the plan
    deadline_ms: float | None = None  # a plan is made in so long, encoding included; None: no limit
    chunk: int = 0  # candidates predicted in one call, which bounds memory; 0: as many as suit the device
    precision: str = "auto"  # fp32 | bf16 | auto: bf16 where an accelerator multiplies it natively
    graphs: bool = True  # on an accelerator that can, record a solve once and replay it; costs must not ask the host

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(1, "horizon", self.horizon)
        _at_least(1, "execute_steps", self.steps_executed)
        if self.goal_offset is not None:
            _at_least(1, "goal_offset", self.goal_offset)
        _at_least(0, "seed", self.seed)
        _at_least(0, "chunk", self.chunk)
        if self.deadline_ms is not None:
            _positive("deadline_ms", self.deadline_ms)
        for name, choices in (("precision", PRECISIONS), ("controller", CONTROLLERS)):
            if getattr(self, name) not in choices:
                raise UnknownName(name, getattr(self, name), choices)
        if any(not 1 <= step <= self.horizon for step in self.arrivals):
            raise BadValue(f"arrivals: expected steps in 1..{self.horizon} (the horizon), got {self.arrivals}")

    @property
    def steps_executed(self) -> int:
        """R, model steps executed of a plan; the whole plan when it is shorter."""
        usual = 1 if self.controller in ("reflex", "both") else OBJECTIVES[self.objective]
        return min(usual if self.execute_steps is None else self.execute_steps, self.horizon)

    def predictor_of(self, names: Sequence[str]) -> str:
        """The predictor among those a model has."""
        if self.predictor != "auto":
            return self.predictor
        return usual_predictor(names)


def _at_least(least: int, name: str, value: int) -> None:
    if value < least:
        raise BadValue(f"{name}: expected {least} or more, got {value}")


def _positive(name: str, value: float) -> None:
    if not 0 < value < LARGEST:
        raise BadValue(f"{name}: expected a finite number above 0, got {value}")


def _not_negative(name: str, value: float) -> None:
    if not 0 <= value < LARGEST:
        raise BadValue(f"{name}: expected 0 or more, finite, got {value}")


def _elites(elites: int, candidates: int) -> None:
    _at_least(1, "elites", elites)
    if elites > candidates:
        raise BadValue(f"elites: {elites} cannot be kept of candidates: {candidates}")


def _share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise BadValue(f"{name}: expected 0 <= {name} < 1, got {value}")
