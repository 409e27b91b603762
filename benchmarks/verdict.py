"""The numbers of a run in plain words: what the model is, whether planning with it works, how far to trust that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from worldmodel.benchmarks.findings import MISLEADS, Diagnostics, Finding, Values, details, kind, right
from worldmodel.benchmarks.intervals import wilson
from worldmodel.benchmarks.record import Record

FINE = 0.5  # error over copying's at the end of a plan: below, the model knows more of what changes than it misses
WIDE = 0.2  # width of an interval that says little: published models of one task differ by 10 to 20 points


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is to be said of a run."""

    model: list[Finding]  # what it is, then what it is missing; empty where nothing was measured
    evaluations: dict[str, list[Finding]]  # by name: whether planning works, then how far to trust it

    @property
    def findings(self) -> list[Finding]:
        """All of them, the model's first."""
        return [*self.model, *(finding for found in self.evaluations.values() for finding in found)]


def verdict(diagnostics: Diagnostics, records: Mapping[str, Record]) -> Verdict:
    """Judge a run by what was measured.

    Of the model it says what it is, one of ``untrained``, ``collapsed``, ``no better than copying``, ``ignores the
    actions``, ``one predictor ignores the actions``, ``near-perfect`` and ``predicts``; then what it is missing. Of
    each evaluation it says whether planning works, one of ``at the floor``, ``search fails``, ``works in part`` and
    ``solved``, and what limits the trust in that.

    Args:
        diagnostics: what ``wm-bench openloop``, ``geometry``, ``probe`` and ``surprise`` wrote, by these names.
        records: evaluations, by the names of their folders; those for reward have no findings.
    """
    model = kind(diagnostics)
    goals = {name: record.values for name, record in records.items() if "replay" in record.values}
    reached = {name: _planning(values, diagnostics, model) for name, values in goals.items()}
    found = [model] if model else []
    if model is None or right(model):
        solved = bool(reached) and all(finding.name == "solved" for finding in reached.values())
        found += [finding for finding in details(diagnostics) if not (solved and finding.name == MISLEADS)]
    return Verdict(model=found, evaluations={name: [reached[name], *_trust(goals[name])] for name in goals})


def _planning(values: Values, diagnostics: Diagnostics, model: Finding | None) -> Finding:
    low, high = values["low"], values["high"]
    floor, ceiling = _interval(values, values["random"]), _interval(values, _ceiling(values))
    rate = f"{_who(values)}: {_percent(values['success'])} of {values['n']} pairs ({_between(low, high)})"
    beside = f"a random policy reaches {_percent(values['random'])}, action replay {_percent(values['replay'])}"
    simulated = values.get("simulator")
    if simulated:
        beside += f", the same search on the true simulator {_percent(simulated['success'])}"
    if low > floor[1]:
        if high >= ceiling[0] and high - low <= WIDE:
            return Finding("solved", "good", f"{rate}, as good as the demonstrator's own actions; {beside}.")
        return Finding("works in part", "good", f"{rate}; {beside}.", _reasons(values, diagnostics))
    error = _error_at(diagnostics, values["predictor"], values["horizon"])
    known = right(model) and error is not None and error < FINE
    if simulated["low"] <= floor[1] if simulated else known:
        why = f"the predictor is right: at the plan's end its error is {error:.2f} of copying's" if known else ""
        return Finding(
            "search fails",
            "bad",
            f"{rate}; {beside}." + (f" Yet {why}." if why else ""),
            "Search harder (--iterations, --candidates), replan sooner (--execute-steps), or change the objective.",
        )
    cause = f"See to the model first: {model.name}." if model and not right(model) else ""
    return Finding("at the floor", "bad", f"{rate}, not above chance; {beside}.", cause)


def _trust(values: Values) -> Iterator[Finding]:
    who, split = _who(values), values["protocol"]["split"]
    learned, judged = values["model"]["dataset"], values["manifest"]["dataset"]
    if values["high"] - values["low"] > WIDE:
        yield Finding(
            "too few pairs",
            "warning",
            f"{who}: {values['n']} pairs leave everything from {_between(values['low'], values['high'])} open.",
            "Judge on 200 pairs or more.",
        )
    if split != "test":
        yield Finding("not held out", "bad", f"{who}: starts and goals are of {split} episodes.", "Use --split test.")
    elif judged not in (None, learned):
        yield Finding(
            "not held out",
            "warning",
            f"{who}: starts and goals are from another dataset than the model learned from, which may hold them too.",
            "Judge on the test episodes of the dataset it was trained on.",
        )
    if _interval(values, values["random"])[1] < values["low"] and values["random"] > values["success"] / 2:
        yield Finding(
            "easy pairs",
            "warning",
            f"{who}: a random policy reaches {_percent(values['random'])}, more than half as much as the model.",
            "Judge by farther goals (--protocol offset-50) or stricter rules (--protocol strict).",
        )
    if _interval(values, _ceiling(values))[1] < 1:
        yield Finding(
            "low ceiling",
            "warning",
            f"{who}: the demonstrator's own actions reach only {_percent(values['replay'])}.",
            "What the rules ask for was not shown, or the task does not repeat itself.",
        )


def _interval(values: Values, rate: float) -> tuple[float, float]:
    return wilson(round(rate * values["n"]), values["n"])


def _ceiling(values: Values) -> float:
    """Rate of replay, which knows nothing of worlds other than the demonstrator's."""
    return 1.0 if values.get("variation") else float(values["replay"])


def _error_at(diagnostics: Diagnostics, predictor: str, horizon: int) -> float | None:
    """Error over copying's at the measured horizon nearest to that of the plans."""
    openloop = diagnostics.get("openloop")
    if not openloop or predictor not in openloop["predictors"]:
        return None
    _, error = min(
        (abs(h - horizon), error)
        for h, error in zip(openloop["horizons"], openloop["predictors"][predictor]["over_copy"])
    )
    return float(error)


def _reasons(values: Values, diagnostics: Diagnostics) -> str:
    """What went wrong most often, by the examination of just this evaluation."""
    failed = round((1 - values["success"]) * values["n"])
    for found in diagnostics.get("geometry", {}).get("executed", {}).values():
        same = (found["planned_with"], found["n"], found["n_failed"]) == (values["predictor"], values["n"], failed)
        if same and failed and found["failures"]:
            most = max(found["failures"], key=lambda why: found["failures"][why])
            return f"Most failures ({found['failures'][most]} of {failed}): {most}."
    return ""


def _who(values: Values) -> str:
    return f"{values['protocol']['name']}, {values['predictor']}"


def _between(low: float, high: float) -> str:
    return f"{_percent(low)} to {_percent(high)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
