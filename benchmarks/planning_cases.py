"""What ``wm-bench speed`` measures: lists of cases, and the ratios between two of them that matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from worldmodel.benchmarks.settings import Setting

ARRIVALS = (5, 8, 16, 32)
LAST = {"score": "last"}  # where the goal's distance is unknown, a long plan would be read at several arrivals


@dataclass(frozen=True, kw_only=True)
class Case:
    """Solves of one kind."""

    model: str  # recipe/preset, whose weights are then random, or the path of a model
    setting: Setting
    environments: int = 1  # B, in one solve
    jump: int = 0  # max_prefix of the prefix predictor; 0 for the recipe's
    peer: bool = False  # stable-worldmodel's side

    def but(self, environments: int | None = None, jump: int | None = None, peer: bool = False, **options: Any) -> Case:
        """The same with other options."""
        setting = replace(self.setting, options={**self.setting.options, **options})
        B, most = environments or self.environments, self.jump if jump is None else jump
        return replace(self, setting=setting, environments=B, jump=most, peer=peer)


def names(cases: Sequence[Case]) -> list[str]:
    """Each case in a few words: of its options predictor and horizon, and those that are not the same everywhere."""
    options = [case.setting.options for case in cases]
    shared = {name for name in options[0] if all(one.get(name) == options[0][name] for one in options)}
    found = []
    for case in cases:
        said = dict(case.setting.options)
        said.pop("score", None)  # arrivals say it
        words = ["theirs" if case.peer else "", case.model, said.pop("planner"), said.pop("predictor")]
        words += [f"H {said.pop('horizon')}", f"jump {case.jump}" if case.jump else ""]
        words += [f"{name}={_text(value)}" for name, value in said.items() if name not in shared]
        found.append(" ".join([*filter(None, words), f"B {case.environments}"]))
    return found


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


class Ratio(NamedTuple):
    """Time of a plan in one case over that in another, by their places in the list."""

    label: str  # {} stands for the name of the other
    over: int
    under: int


Cases = tuple[list[Case], list[Ratio]]


def grid(
    models: Sequence[str],
    settings: Sequence[Setting],
    predictors: Sequence[str],
    horizons: Sequence[int],
    environments: Sequence[int],
) -> Cases:
    """All combinations, and what it saves to solve for several environments at once."""
    cases: list[Case] = []
    ratios: list[Ratio] = []
    for model in models:
        for setting in settings:
            for predictor in predictors:
                for H in horizons:
                    one = Case(model=model, setting=setting).but(**{**LAST, **setting.options})
                    one = one.but(predictor=predictor, horizon=H)
                    first = len(cases)
                    cases += [one.but(environments=B) for B in environments]
                    for i, B in enumerate(environments):
                        if B > 1 and environments[0] == 1:
                            ratios.append(Ratio(f"{B} solves over one: {{}}", first, first + i))
    return cases, ratios


def beside_peer(search: Mapping[str, Any]) -> Cases:
    """Side by side with stable-worldmodel's CEM and LeWM predictor, at the published sizes.

    Theirs and our one-step predictor with the same weights; our prefix predictor up to 32 steps in one jump, or
    composed of jumps of 8 and of 5, or read at four arrival times; and at ``nano`` 50 environments in one solve.
    """
    options = {"planner": "cem", "predictor": "one-step", "horizon": 5, **LAST, **search}
    short = Case(model="lewm/paper", setting=Setting(options=options))
    long = short.but(horizon=32)
    prefix = replace(short, model="wm/paper").but(predictor="prefix", jump=32)
    far = prefix.but(horizon=32)
    alone = replace(prefix, model="wm/nano", jump=0)
    cases = [short.but(peer=True), long.but(peer=True), short, long, prefix, far]
    cases += [
        far.but(jump=8),
        far.but(jump=5),
        far.but(score="best", arrivals=ARRIVALS),
        alone,
        alone.but(environments=50),
    ]
    ratios = [Ratio("theirs over {}", 0 if cases[i].setting.options["horizon"] == 5 else 1, i) for i in range(2, 9)]
    ratios += [Ratio("prefix H 32 over H 5", 5, 4), Ratio("50 solves over one: {}", 9, 10)]
    return cases, ratios


def targets(search: Mapping[str, Any], preset: str = "paper") -> Cases:
    """What an accelerator should do: one plan at H 5, and at H 32 in one jump; many at once; graphs off and on."""
    cases: list[Case] = []
    ratios: list[Ratio] = []
    for precision in ("fp32", "bf16"):
        for graphs in (False, True):
            options = {"planner": "cem", "predictor": "prefix", "horizon": 5, **LAST, **search}
            options["precision"] = precision
            one = Case(model=f"wm/{preset}", setting=Setting(options={**options, "graphs": graphs}), jump=32)
            ratios.append(Ratio("50 solves over one: {}", len(cases), len(cases) + 2))
            cases += [one, one.but(horizon=32), one.but(environments=50)]
    return cases, ratios
