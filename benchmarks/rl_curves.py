"""Joins the trainings of ``rl_latents`` or ``rl_seeding``: learning curves, and what the policies bring at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.benchmarks.intervals import bootstrap_mean, wilson
from worldmodel.benchmarks.rl_runs import require_same
from worldmodel.cli import common
from worldmodel.errors import BadFile
from worldmodel.files import read_json

BINS = 20  # of a curve
Run = dict[str, Any]


def join(folder: Path) -> dict[str, dict[str, Any]]:
    """Summarise every arm of every task of which there are files.

    Args:
        folder: what either has written.

    Returns:
        task -> arm -> its ``settings``, ``seeds``, ``evaluation`` and, of what was trained, ``curve``.

    Raises:
        BadFile: no files, or runs of one task whose settings differ in what they have in common.
    """
    runs: list[Run] = [read_json(path) for path in sorted(folder.glob("*.json"))]
    if not runs:
        raise BadFile(f"no trainings in {folder}")
    tasks: dict[str, dict[str, Any]] = {}
    for task in dict.fromkeys(run["task"] for run in runs):
        arms: dict[str, list[Run]] = {}
        known: dict[str, Any] = {}
        for run in sorted((run for run in runs if run["task"] == task), key=lambda run: int(run["seed"])):
            told = f"{folder}: runs of {task} with different settings: {{name}} {{its}} and {{ours}}"
            require_same(run["settings"], known, told)
            known |= run["settings"]
            arms.setdefault(run["arm"], []).append(run)
        tasks[task] = {arm: summary(those) for arm, those in arms.items()}
    return tasks


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """One arm: every seed's numbers, their mean, its interval over starts, the range of seeds, and the learning curve.

    The interval holds for these trainings in other episodes: how much trainings differ, the seeds show.
    """
    found: dict[str, Any] = {"settings": runs[0]["settings"], "seeds": [one_seed(run) for run in runs]}
    found["evaluation"] = {"episodes": len(runs[0]["evaluation"]["return"])}
    for name in shown(runs):
        values = np.array([run["evaluation"][name] for run in runs], float)
        seeds = [float(value) for value in values.mean(axis=1)]
        found["evaluation"] |= over_starts(name, values)
        found["evaluation"] |= {f"{name}_worst_seed": min(seeds), f"{name}_best_seed": max(seeds)}
    if "episodes" in runs[0]:
        found["curve"] = curve(runs)
    return found


def shown(runs: Sequence[Run]) -> list[str]:
    """What is shown of them: return and, where there is one, success."""
    return [name for name in ("return", "success") if name in runs[0]["evaluation"]]


def one_seed(run: Run) -> dict[str, Any]:
    """What a training brought and took."""
    found = {"seed": run["seed"]}
    for name in shown([run]):
        found |= over_starts(name, np.array([run["evaluation"][name]], float))
    if "wall_s" in run:
        found |= {"steps": run["steps"], "wall_s": run["wall_s"], "cpu_s": run["cpu_s"]}
    return found | {name: run[name] for name in ("commit", "date") if name in run}


def over_starts(name: str, values: np.ndarray) -> dict[str, float]:
    """Mean, and its 95 % interval: a bootstrap over episodes of what the seeds bring in each on average.

    That has no width where every seed always succeeds, or none ever: then it is Wilson's, of so many episodes.

    Args:
        name: return or success.
        values: (seeds, episodes); a column is one start.
    """
    starts = values.mean(axis=0)
    low, high = bootstrap_mean(starts)
    if name == "success" and low == high and low in (0.0, 1.0):
        low, high = wilson(int(starts.sum()), len(starts))
    return {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}


def curve(runs: Sequence[Run]) -> dict[str, list[float | None]]:
    """Mean over the seeds of the episodes that end in each of 20 stretches of the training, and the seeds' range.

    ``step`` is where a stretch ends; None unless an episode of every seed has ended in it, for else a stretch would be
    the mean of other trainings than the one before.
    """
    edges = np.linspace(0, runs[0]["settings"]["steps"], BINS + 1)
    found: dict[str, list[float | None]] = {"step": edges[1:].tolist()}
    for name in shown(runs):
        seeds = [in_bins(run["episodes"].get("step", []), run["episodes"].get(name, []), edges) for run in runs]
        for key, over in ((name, np.mean), (f"{name}_low", min), (f"{name}_high", max)):
            found[key] = [None if None in cell else float(over(cell)) for cell in zip(*seeds)]
    return found


def in_bins(steps: Sequence[int], values: Sequence[float], edges: np.ndarray) -> list[float | None]:
    """Mean of the values whose step lies behind one edge and not behind the next; None of no values."""
    place, value = np.searchsorted(edges, steps) - 1, np.array(values, float)
    return [float(value[place == i].mean()) if (place == i).any() else None for i in range(len(edges) - 1)]


def table(tasks: dict[str, dict[str, Any]]) -> str:
    """What is printed."""
    note = "95 %: over starts, of these trainings; how much trainings differ, the seeds show"
    return f"{common.aligned(rows(tasks))}\n{note}"


def rows(tasks: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Lines of a table."""
    interval = ["95 % over starts", "of each seed"]
    lines = [["task", "arm", "return", *interval, "success", *interval, "steps/CPU-s"]]
    for task, arms in tasks.items():
        for arm, found in arms.items():
            seeds, end, line = found["seeds"], found["evaluation"], [task, arm]
            for name, scale, unit in (("return", 1, ""), ("success", 100, " %")):
                if name not in end:
                    line += ["-"] * 3
                    continue
                mean, low, high = (scale * end[key] for key in (name, f"{name}_low", f"{name}_high"))
                line += [f"{mean:.1f}{unit}", f"[{low:.1f}, {high:.1f}]"]
                line.append(" ".join(f"{scale * seed[name]:.1f}" for seed in seeds))
            cpu = sum(seed.get("cpu_s", 0.0) for seed in seeds)
            line.append(f"{sum(seed['steps'] for seed in seeds) / cpu:.0f}" if cpu else "-")
            lines.append(line)
    return lines
