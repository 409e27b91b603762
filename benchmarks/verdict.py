"""The numbers of a run in plain words: what the model is, whether planning with it works, how far to trust that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from worldmodel.benchmarks.findings import (
    MISLEADS,
    Diagnostics,
    Finding,
    Values,
    details,
    kind,
    nearest_horizon,
    right,
)
from worldmodel.benchmarks.intervals import mcnemar, wilson
from worldmodel.benchmarks.record import Record
from worldmodel.benchmarks.report import acting

FINE = 0.5  # squared error over copying's at a plan's end: below, more of what changes is known than missed
WIDE = 0.2  # width of an interval that says little: published models of one task differ by 10 to 20 points
FEW = 20  # pairs, with fewer of which nothing is claimed
LEVEL = 0.05  # a p-value below it is a difference


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is to be said of a run."""

    model: list[Finding]  # what it is, then what it is missing; empty where nothing was measured
    evaluations: dict[str, list[Finding]]  # by name: whether planning works, then how far to trust it


def verdict(diagnostics: Diagnostics, records: Mapping[str, Record]) -> Verdict:
    """Judge a run by what was measured.

    Of the model it says what it is, one of ``untrained``, ``collapsed``, ``no better than copying``, ``ignores the
    actions``, ``one predictor ignores the actions``, ``near-perfect``, ``predicts too short a time`` and ``predicts``;
    then what it is missing. Of each evaluation it says whether planning works, one of ``too few pairs``, ``at the
    floor``, ``search fails``, ``works in part`` and ``solved``, and what limits the trust in that.

    Args:
        diagnostics: what ``wm-bench openloop``, ``geometry``, ``probe`` and ``surprise`` wrote, by these names.
        records: evaluations, by the names of their folders; those for reward have no findings.
    """
    goals = {name: record for name, record in records.items() if "random" in record.floors}
    horizons = [int(record.values["horizon"]) for record in goals.values()]
    model = kind(diagnostics, max(horizons, default=None))
    reached = {name: _planning(name, record, diagnostics, model) for name, record in goals.items()}
    found = [model] if model else []
    if model is None or right(model):
        solved = bool(reached) and all(finding.name == "solved" for finding in reached.values())
        found += [finding for finding in details(diagnostics) if not (solved and finding.name == MISLEADS)]
    return Verdict(model=found, evaluations={name: [reached[name], *_trust(goals[name])] for name in goals})


def _planning(name: str, record: Record, diagnostics: Diagnostics, model: Finding | None) -> Finding:
    values, examined = record.values, examination(diagnostics, name, record)
    rate = f"{_who(values)}: {_percent(values['success'])} of {values['n']} pairs ({_between(values)})"
    if values["n"] < FEW:
        return Finding("too few pairs", "warning", f"{rate}: too few to claim anything.", "Judge on 200 pairs or more.")
    beside, failed = f"{rate}; {_beside(values)}", _most_failures(examined)
    p, chance = _versus(record, "random")
    if p < LEVEL and values["success"] > chance:
        if _as_good_as_shown(record):
            than = f"the demonstrator's own actions{_tested(record, 'replay')}" if _shown(values) else "every pair"
            return Finding("solved", "good", f"{beside}. It is not clearly less than {than}.")
        return Finding("works in part", "good", f"{beside}.", failed)
    said = f"{beside}. It is not clearly above chance (exact McNemar p = {p:.2g})."
    first = f"See to the model first: {model.name}." if model and not right(model) else ""
    if values.get("controller") == "reflex":
        return Finding("at the floor", "bad", f"{said} The reflex acted alone: there is no plan to examine.", first)
    simulated, error = values.get("simulator"), _error_at(diagnostics, values["predictor"], values["horizon"])
    known = right(model) and error is not None and error < FINE and _shown(values) and not simulated
    why = ""
    if simulated and simulated["high"] < _ceiling(values) / 2:
        why = "Even with a perfect model this search reaches less than half of what can be reached"
    elif examined and examined["failures"]:
        if max(examined["failures"], key=examined["failures"].__getitem__) == "search not converged":
            why = failed.removesuffix(".")
    elif known:
        why = f"Yet on demonstrations the predictor's squared error is {error:.2f} of copying's at a plan's end"
    if why:
        advice = "Search harder (--iterations, --candidates), replan sooner (--execute-steps), or change the objective."
        return Finding("search fails", "bad", f"{beside}. {why}.", advice)
    return Finding("at the floor", "bad", said, first or _along_plans(values, examined) or failed)


def _beside(values: Values) -> str:
    """What a rate is to be compared with, measured on the same pairs."""
    said = f"a random policy reaches {_percent(values['random'])}"
    if _shown(values):
        said += f", action replay {_percent(values['replay'])}"
    if simulated := values.get("simulator"):
        search = f"CEM {simulated['candidates']} x {simulated['iterations']} on the true simulator"
        said += f", {search} {_percent(simulated['success'])} (n = {simulated['n']})"
    return said


def _trust(record: Record) -> Iterator[Finding]:
    values = record.values
    who, split = _who(values), values["protocol"]["split"]
    learned, judged = values["model"]["dataset"], values["manifest"]["dataset"]
    if values["n"] >= FEW and values["high"] - values["low"] > WIDE:
        yield Finding(
            "too few pairs",
            "warning",
            f"{who}: {values['n']} pairs leave everything from {_between(values)} open.",
            "Judge on 200 pairs or more.",
        )
    if split == "train":
        yield Finding("not held out", "bad", f"{who}: starts and goals are of training episodes.", "Use --split test.")
    elif split == "validation":
        said = f"{who}: starts and goals are of validation episodes, which were used to choose models."
        yield Finding("not held out", "warning", said, "Use --split test.")
    elif judged not in (None, learned):
        yield Finding(
            "not held out",
            "warning",
            f"{who}: starts and goals are from another dataset than the model learned from, which may hold them too.",
            "Judge on the test episodes of the dataset it was trained on.",
        )
    if _versus(record, "random")[0] < LEVEL and values["success"] / 2 < values["random"] < values["success"]:
        yield Finding(
            "easy pairs",
            "warning",
            f"{who}: a random policy reaches {_percent(values['random'])}, more than half as much as the model.",
            "Judge by farther goals (--protocol offset-50) or stricter rules (--protocol strict).",
        )
    if _shown(values) and wilson(round(values["replay"] * values["n"]), values["n"])[1] < 1:
        yield Finding(
            "low ceiling",
            "warning",
            f"{who}: the demonstrator's own actions reach only {_percent(values['replay'])}.",
            "What the rules ask for was not shown, or the task does not repeat itself.",
        )


def examination(diagnostics: Diagnostics, name: str, record: Record) -> Values | None:
    """What ``wm-bench geometry`` found in just this evaluation, None where it examined another one or none.

    Args:
        diagnostics: what was measured.
        name: of the evaluation's folder.
        record: the evaluation.
    """
    found: Values | None = diagnostics.get("geometry", {}).get("executed", {}).get(name)
    if found is None or found.get("manifest") != {"sha256": record.values["manifest"]["sha256"]}:
        return None
    failed = [reason is not None for reason in found["reasons"]]
    known = found["failures"] is not None
    return None if known and failed != (~record.outcome.success).tolist() else found


def _versus(record: Record, floor: str) -> tuple[float, float]:
    """Exact McNemar p-value that a policy does as well on the same pairs, and its rate."""
    ours, theirs = record.outcome.success, record.floors[floor].success
    return mcnemar(int((ours & ~theirs).sum()), int((theirs & ~ours).sum())), float(theirs.mean())


def _tested(record: Record, floor: str) -> str:
    return f" (exact McNemar p = {_versus(record, floor)[0]:.2g})"


def _as_good_as_shown(record: Record) -> bool:
    """Whether an interval that says something leaves open that no pair is lost that can be had."""
    values = record.values
    if values["high"] - values["low"] > WIDE:
        return False
    if _shown(values):
        return values["success"] >= values["replay"] or _versus(record, "replay")[0] >= LEVEL
    return bool(values["high"] >= wilson(values["n"], values["n"])[0])


def _shown(values: Values) -> bool:
    """Whether a demonstrator's actions say what can be had: official goals have none, other worlds were not theirs."""
    return values.get("replay") is not None and not values.get("variation")


def _ceiling(values: Values) -> float:
    return float(values["replay"]) if _shown(values) else 1.0


def _error_at(diagnostics: Diagnostics, predictor: str, horizon: int) -> float | None:
    """Squared error over copying's on demonstrations, at the measured horizon nearest to that of the plans."""
    openloop = diagnostics.get("openloop")
    if not openloop or predictor not in openloop["predictors"]:
        return None
    return float(openloop["predictors"][predictor]["over_copy"][nearest_horizon(openloop, horizon)])


def _along_plans(values: Values, examined: Values | None) -> str:
    """How wrong the predictor was along the plans that failed, and what went wrong with them."""
    if examined is None or examined["first"][values["predictor"]]["failures"] is None:
        return ""
    error = examined["first"][values["predictor"]]["failures"]
    said = f"Along the first plans that failed the predictor's squared error was {error:.2f} of copying's."
    return f"{said} {_most_failures(examined)}".strip()


def _most_failures(examined: Values | None) -> str:
    """What went wrong most often."""
    if not examined or not examined["failures"] or not examined["n_failed"]:
        return ""
    most = max(examined["failures"], key=examined["failures"].__getitem__)
    return f"Most failures ({examined['failures'][most]} of {examined['n_failed']}): {most}."


def _who(values: Values) -> str:
    return f"{values['protocol']['name']}, {acting(values).removesuffix(' predictor')}"


def _between(part: Values) -> str:
    return f"{_percent(part['low'])} to {_percent(part['high'])}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
