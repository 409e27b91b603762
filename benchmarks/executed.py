"""Predicted against reached latents along executed plans: do the errors of either predictor explain failures?

Shapes: n pairs, P plans, R model steps executed of a plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.benchmarks.failures import sort_out
from worldmodel.benchmarks.record import Record
from worldmodel.benchmarks.resampling import EACH, FEWEST, auc, auc_draws, interval, mann_whitney
from worldmodel.benchmarks.retrace import Executed, follow
from worldmodel.model import WorldModel

UNCORRECTED = (
    "Intervals draw whole episodes. p-values are not corrected for how many there are; none is given for fewer than "
    f"{EACH} failures or successes."
)


@torch.no_grad()
def examine(record: Record, model: WorldModel, task: Any, seed: int) -> dict[str, Any]:
    """Everything about one evaluation: errors along its plans and along demonstrations, and why pairs failed.

    Args:
        record: of an evaluation with this model, in an environment that can be put into a state.
        model: the model.
        task: the task itself, which draws as the model knows it.
        seed: of the bootstrap.
    """
    steps = int(record.values["execute_steps"])
    executed = follow(model, task, record.pairs, record.outcome, steps, int(record.values["horizon"]))
    why = sort_out(record, executed, model, task)
    values = {
        "planned_with": record.values["predictor"],
        "controller": record.values.get("controller", "search"),
        "manifest": {"sha256": record.pairs.sha256},
        **against_failure(executed, ~record.outcome.success, steps, record.pairs.episode, seed),
        "failures": why.counts,
        "reasons": list(why.reasons),
        "scale": why.scale,
    }
    if "replay" in record.floors:
        shown = follow(model, task, record.pairs, record.floors["replay"], steps)
        values["demonstrated"] = demonstrated_errors(shown, steps)
    return values


def against_failure(
    executed: Executed, failed: np.ndarray, execute_steps: int, episode: np.ndarray, seed: int
) -> dict[str, Any]:
    """Do a predictor's errors along executed plans explain failures?

    For each pair the errors after all steps of its plans, each over the mean of all pairs' after as many steps, are
    averaged: a success that ended early has shorter plans, which are easier. The AUC is the probability that a failure
    has a larger error than a success; ``copy`` says how much of that is only because more moved. ``first`` is of the
    first plans alone: failures have more plans than successes.

    Args:
        executed: what was reached and expected.
        failed: (n,) bool.
        execute_steps: R, model steps executed of each plan; no more of what followed is looked at.
        episode: (n,) that each pair comes from.
        seed: of the bootstrap over episodes, the same draws for all; no interval where these are fewer than `FEWEST`.
    """
    names = [*executed.expected, "copy"]
    errors = {name: executed.errors(name)[:, :, :execute_steps] for name in names}
    values: dict[str, Any] = {"n": len(failed), "n_failed": int(failed.sum()), "note": UNCORRECTED}
    for part, plans in (("all", slice(None)), ("first", slice(0, 1))):
        theirs = {name: x[:, plans] for name, x in errors.items()}
        scores = {name: _scores(x).double().cpu().numpy() for name, x in theirs.items()}
        known = np.isfinite(scores["copy"])  # a plan of one whole step at least was seen
        lost = failed[known]
        areas = {name: auc(x[known], lost) for name, x in scores.items()}
        draws = {name: auc_draws(x[known], lost, episode[known], seed) for name, x in scores.items()}
        values[part] = {
            name: {
                "successes": _over(theirs[name], theirs["copy"], ~failed),
                "failures": _over(theirs[name], theirs["copy"], failed),
                **_compared(areas[name], draws[name], episode[known]),
                "p": mann_whitney(scores[name][known], lost),
            }
            for name in names
        }
        if len(executed.expected) == 2:
            gap = areas["prefix"] - areas["one-step"]
            values[part]["prefix_minus_one_step"] = _compared(gap, draws["prefix"] - draws["one-step"], episode[known])
    return values


def _compared(area: float, draws: np.ndarray, episode: np.ndarray) -> dict[str, float | None]:
    """An AUC or a difference of two, and its interval; None where all failed or none did, or of too few episodes."""
    if not np.isfinite(area):
        return {"auc": None, "low": None, "high": None}
    if len(np.unique(episode)) < FEWEST:
        return {"auc": area, "low": None, "high": None}
    low, high = interval(draws)
    return {"auc": area, "low": float(low), "high": float(high)}


def _scores(errors: Tensor) -> Tensor:
    """Mean over plans and steps (n, P, R) -> (n,), each step over all pairs' mean of it; NaN where none was whole."""
    return (errors / errors.nanmean(dim=(0, 1))).nanmean(dim=(1, 2))


def _over(errors: Tensor, copy: Tensor, rows: np.ndarray) -> float | None:
    """Mean error of some pairs over that of having stayed; None without such pairs."""
    chosen = torch.from_numpy(rows).to(errors.device)
    return float(errors[chosen].nansum() / copy[chosen].nansum().clamp(min=1e-12)) if rows.any() else None


def demonstrated_errors(executed: Executed, execute_steps: int) -> dict[str, float | None]:
    """Each predictor's error along the first plan's worth of the demonstrator's actions, over that of copying."""
    copy = executed.errors("copy")[:, :1, :execute_steps]
    everything = np.ones(len(copy), bool)
    return {name: _over(executed.errors(name)[:, :1, :execute_steps], copy, everything) for name in executed.expected}


def rows(values: Mapping[str, Any]) -> list[list[str]]:
    """The table of examined evaluations, by the names of their folders."""
    table = []
    for folder, found in values.items():
        first, shown = found["first"], found.get("demonstrated", {})
        total = f"{found['n_failed']} of {found['n']} failed; planned with {found['planned_with']}"
        table.append([f"evaluation {folder}", total])
        for name in (name for name in first if name != "prefix_minus_one_step"):
            table.append(
                [f"  squared error of {'copying' if name == 'copy' else name}", _line(first[name], shown.get(name))]
            )
        if "prefix_minus_one_step" in first:
            table.append(["  prefix less one-step", f"AUC {_auc(first['prefix_minus_one_step'], '+')}"])
        if found["failures"] is not None:
            counts = ", ".join(f"{n} {reason}" for reason, n in found["failures"].items() if n)
            table.append(["  failures", counts or "none"])
        elif found.get("controller") == "reflex":
            table.append(["  failures", "no plan to examine: the reflex acted alone"])
    return [*table, ["note", UNCORRECTED]] if table else table


def _line(found: Mapping[str, Any], shown: float | None) -> str:
    means = ", ".join(f"{_share(found[who])} in {who}" for who in ("successes", "failures"))
    beside = "" if shown is None else f", {_share(shown)} along demonstrations"
    told = "" if found["p"] is None else f", p {found['p']:.2g}"
    return f"tells failures by AUC {_auc(found)}{told}; over copying {means}{beside}"


def _auc(found: Mapping[str, Any], sign: str = "") -> str:
    if found["auc"] is None:
        return "-"
    if found["low"] is None:
        return f"{found['auc']:{sign}.2f}, no interval"
    return f"{found['auc']:{sign}.2f} [{found['low']:{sign}.2f}, {found['high']:{sign}.2f}]"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
