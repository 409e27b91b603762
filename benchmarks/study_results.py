"""What the study found: every cell, every idea against the baselines and the default on the same pairs, and tables.

Shapes: n pairs, S training seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldmodel.benchmarks.intervals import bootstrap_clusters, mcnemar, sign_flips
from worldmodel.benchmarks.record import Record
from worldmodel.benchmarks.report import by_episode, proportion
from worldmodel.benchmarks.study_runs import Study
from worldmodel.benchmarks.study_variants import BASELINES, DEFAULT, NAMED, Evaluation, named, of_training

KEPT = (
    "success", "n", "low", "high", "by_episode", "random", "noop", "replay", "hard", "solved_at_start", "out_of_view",
    "mean_steps_to_success", "offset", "budget", "controller", "predictor", "horizon", "execute_steps", "ms_per_plan",
    "ms_one_plan", "cpu_ms_one_plan", "command", "hardware", "versions", "commit", "date",
)  # fmt: skip
Cell = dict[str, Any]
Episodes = dict[str, list[int]]  # (n,) that each pair comes from, by the manifest's hash


def gather(study: Study, evaluations: Sequence[Evaluation]) -> tuple[list[Cell], Episodes]:
    """Every evaluation that is there or kept in the results, and which episodes the pairs of each manifest are of."""
    spent = study.took()
    cells = {tuple(one[name] for name in NAMED): one for one in study.kept["cells"]}
    episodes: Episodes = dict(study.kept["pairs"])
    for evaluation in evaluations:
        if study.is_recorded(evaluation):
            record = Record.load(study.record(evaluation))
            cells[tuple(named(evaluation).values())] = cell(study, evaluation, record, spent)
            episodes[record.pairs.sha256] = record.pairs.episode.tolist()
    return [*cells.values()], episodes


def cell(study: Study, evaluation: Evaluation, record: Record, spent: Sequence[Mapping[str, Any]]) -> Cell:
    """One evaluation: what it found, of what, and what that took.

    ``ms_per_action`` is what one plan, made alone, takes of the processor, over the environment steps executed of it;
    ``training_cpu_s`` all that the training's processes used, from its beginning, loading and validation included.
    """
    training, values = evaluation.training, record.values
    compute, steps = study.costs(training.task)[training.name], int(values["model"]["steps"])
    told = of_training(training)
    mine = last_training([line for line in spent if all(line.get(key) == value for key, value in told.items())])
    executed = values["execute_steps"] * values["action_block"]
    return {
        **named(evaluation),
        "training": training.name,
        **{name: values.get(name) for name in KEPT},
        "ms_per_action": values["cpu_ms_one_plan"] / executed,
        "manifest": values["manifest"]["sha256"],
        "solved": "".join("01"[won] for won in record.outcome.success.astype(int)),  # pair by pair
        "model": values["model"]["fingerprint"],
        "steps": steps,
        "frames": round(steps * compute["frames"]),
        "step_cost": compute["ratio"],
        "training_cpu_s": sum(line["cpu_s"] for line in mine) if mine else None,
    }


def last_training(lines: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Of all that a training's processes took, what follows the end of the training before, which was discarded."""
    ends = [i for i, line in enumerate(lines) if not line["code"]]
    return lines[ends[-2] + 1 :] if len(ends) > 1 else lines


def solved(cells: Sequence[Cell]) -> np.ndarray:
    """Booleans (S, n): who solved which pair."""
    return np.array([[won == "1" for won in one["solved"]] for one in cells])


def pooled(first: np.ndarray, second: np.ndarray, episode: np.ndarray) -> dict[str, Any]:
    """Compare two ideas on the same pairs, of the same S training seeds.

    ``difference`` is the first rate minus the second, ``low`` and ``high`` its bootstrap 95 % interval over pairs, each
    with all its seeds, and ``by_episode`` that over episodes. ``p`` is exact: the share of choices of who is who, pair
    by pair with all its seeds, that differ as much; with one seed McNemar's. These hold for these trainings on other
    pairs; how much trainings differ, ``seeds`` show, each with McNemar's exact p-value (`compare.paired`).

    Args:
        first: (S, n) booleans, who solved which pair.
        second: of the other idea.
        episode: (n,) that each pair comes from.
    """
    ahead = (first.astype(float) - second).sum(axis=0)  # (n,) of all seeds
    pair, rate = np.arange(len(ahead)), ahead / len(first)
    low, high = bootstrap_clusters(rate, pair)
    return {
        "n": len(ahead),
        "difference": float(rate.mean()),
        "low": low,
        "high": high,
        "by_episode": by_episode(rate, episode),
        "p": sign_flips(ahead, pair),
        "p_by_episode": sign_flips(ahead, episode),
        "seeds": [of_seed(one, two) for one, two in zip(first, second)],
    }


def of_seed(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """What two trainings of one seed solved, (n,) booleans of the same pairs."""
    only = int((first & ~second).sum()), int((second & ~first).sum())
    difference = float(first.mean() - second.mean())
    return {"difference": difference, "only_first": only[0], "only_second": only[1], "mcnemar_p": mcnemar(*only)}


def join(cells: Sequence[Cell], episodes: Episodes) -> dict[str, Any]:
    """Cells, what the seeds bring together, and comparisons, for JSON."""
    groups: dict[tuple[str, int, str], dict[int, Cell]] = {}
    for one in cells:
        groups.setdefault((one["task"], one["offset"], one["variant"]), {})[one["seed"]] = one
    rows, comparisons = [], []
    for (task, offset, variant), seeds in groups.items():
        episode = np.array(episodes[next(iter(seeds.values()))["manifest"]])
        rows.append({"task": task, "offset": offset, "variant": variant, **together([*seeds.values()], episode)})
        for other in (*BASELINES, DEFAULT):
            those = groups.get((task, offset, other), {})
            common = sorted(seeds.keys() & those.keys())
            if other != variant and common:
                ours, theirs = (solved([one[seed] for seed in common]) for one in (seeds, those))
                compared = pooled(ours, theirs, episode)
                comparisons.append({"task": task, "offset": offset, "first": variant, "second": other, **compared})
    return {"rows": rows, "comparisons": comparisons, "cells": [*cells], "pairs": episodes}


def together(cells: Sequence[Cell], episode: np.ndarray) -> dict[str, Any]:
    """The mean success of S training seeds on the same pairs, its intervals, and what planning and training took.

    With one seed the interval is Wilson's; with several a bootstrap of pairs with all their seeds, unless that has no
    width because every pair always succeeds or none ever: then Wilson's of so many pairs.

    Args:
        cells: one of each seed.
        episode: (n,) that each pair comes from.
    """
    success = solved(cells)
    rate = success.mean(axis=0)
    low, high = bootstrap_clusters(rate, np.arange(len(rate)))
    if len(success) == 1 or (low == high and low in (0.0, 1.0)):
        one = proportion(rate == 1)
        low, high = one["low"], one["high"]
    found: Cell = {"success": float(rate.mean()), "n": len(rate), "low": low, "high": high}
    found |= {"by_episode": by_episode(rate, episode), "seeds": {one["seed"]: one["success"] for one in cells}}
    for name in ("steps", "frames", "training_cpu_s", "ms_per_action"):
        values = [one[name] for one in cells if one[name] is not None]
        found[name] = float(np.mean(values)) if values else None
    shared = ("random", "noop", "replay", "solved_at_start", "controller", "manifest")  # pairs, or planning
    return found | {name: cells[0][name] for name in shared}


def macro(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean success over tasks, of what was judged on all of them, if they are several."""
    tasks = {row["task"] for row in rows}
    means = []
    for variant, offset in dict.fromkeys((row["variant"], row["offset"]) for row in rows):
        its = [row["success"] for row in rows if (row["variant"], row["offset"]) == (variant, offset)]
        if len(its) == len(tasks) > 1:
            means.append({"variant": variant, "offset": offset, "tasks": len(its), "success": float(np.mean(its))})
    return means
