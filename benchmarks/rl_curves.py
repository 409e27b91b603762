"""Joins the trainings of ``rl_latents`` into one result: learning curves, and what the policies bring at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.benchmarks.intervals import bootstrap_mean, wilson
from worldmodel.errors import BadFile
from worldmodel.files import read_json

BINS = 20  # of a curve
Run = dict[str, Any]


def join(folder: Path) -> dict[str, dict[str, Any]]:
    """Summarise every arm of every task of which there are files.

    Args:
        folder: what ``rl_latents`` has written.

    Returns:
        task -> arm -> its ``settings``, ``seeds``, ``evaluation`` and, of what was trained, ``curve``.

    Raises:
        BadFile: no files, or trainings of one task with different settings.
    """
    runs: list[Run] = [read_json(path) for path in sorted(folder.glob("*.json"))]
    if not runs:
        raise BadFile(f"no trainings in {folder}")
    tasks: dict[str, dict[str, Any]] = {}
    for task in dict.fromkeys(run["task"] for run in runs):
        trained = [run for run in runs if run["task"] == task and run["arm"] != "random"]
        if any(run["settings"] != trained[0]["settings"] for run in trained):
            raise BadFile(f"{folder}: trainings of {task} with different settings")
        arms: dict[str, list[Run]] = {}
        for run in sorted((run for run in runs if run["task"] == task), key=lambda run: int(run["seed"])):
            arms.setdefault(run["arm"], []).append(run)
        tasks[task] = {arm: summary(those) for arm, those in arms.items()}
    return tasks


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """One arm: every seed's numbers, their mean, and the learning curve.

    The interval of the mean return is a bootstrap over episodes of what the seeds' policies bring in them on average;
    that of success is Wilson's over all episodes of all seeds. How much trainings differ, the seeds show.
    """
    found: dict[str, Any] = {"settings": runs[0]["settings"], "seeds": [one_seed(run) for run in runs]}
    returns = np.array([run["evaluation"]["return"] for run in runs])  # (seeds, episodes)
    found["evaluation"] = {"episodes": returns.shape[1], **of_returns(returns.mean(axis=0))}
    if "success" in runs[0]["evaluation"]:
        found["evaluation"] |= of_success([hit for run in runs for hit in run["evaluation"]["success"]])
    if "episodes" in runs[0]:
        found["curve"] = curve(runs)
    return found


def one_seed(run: Run) -> dict[str, Any]:
    """What a training brought and took."""
    found = {"seed": run["seed"], **of_returns(np.array(run["evaluation"]["return"]))}
    if "success" in run["evaluation"]:
        found |= of_success(run["evaluation"]["success"])
    if "wall_s" in run:
        found |= {"steps": run["steps"], "wall_s": run["wall_s"], "cpu_s": run["cpu_s"]}
    return found | {name: run[name] for name in ("model", "commit", "date") if name in run}


def of_returns(returns: np.ndarray) -> dict[str, Any]:
    """Mean and interval of returns (episodes,)."""
    low, high = bootstrap_mean(returns)
    return {"return": float(returns.mean()), "return_low": low, "return_high": high}


def of_success(hits: Sequence[bool]) -> dict[str, Any]:
    """Rate and interval."""
    low, high = wilson(sum(hits), len(hits))
    return {"success": sum(hits) / len(hits), "success_low": low, "success_high": high, "n": len(hits)}


def curve(runs: Sequence[Run]) -> dict[str, list[float | None]]:
    """Mean over the seeds of the episodes that end in each of 20 stretches of the training, and the seeds' range.

    ``step`` is where a stretch ends; None where no episode of any seed has ended.
    """
    edges = np.linspace(0, runs[0]["settings"]["steps"], BINS + 1)
    found: dict[str, list[float | None]] = {"step": edges[1:].tolist()}
    for name in ("return", "success"):
        if name not in runs[0]["episodes"]:
            continue
        seeds = [in_bins(run["episodes"]["step"], run["episodes"][name], edges) for run in runs]
        cells = [[value for value in cell if value is not None] for cell in zip(*seeds)]
        found[name] = [float(np.mean(cell)) if cell else None for cell in cells]
        found[f"{name}_low"] = [min(cell, default=None) for cell in cells]
        found[f"{name}_high"] = [max(cell, default=None) for cell in cells]
    return found


def in_bins(steps: Sequence[int], values: Sequence[float], edges: np.ndarray) -> list[float | None]:
    """Mean of the values whose step lies behind one edge and not behind the next; None of no values."""
    place, value = np.searchsorted(edges, steps) - 1, np.array(values, float)
    return [float(value[place == i].mean()) if (place == i).any() else None for i in range(len(edges) - 1)]


def rows(tasks: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Lines of a table."""
    table = [["task", "arm", "return", "95 %", "of each seed", "success", "steps/CPU-s"]]
    for task, arms in tasks.items():
        for arm, found in arms.items():
            seeds, end = found["seeds"], found["evaluation"]
            line = [task, arm, f"{end['return']:.1f}", f"[{end['return_low']:.1f}, {end['return_high']:.1f}]"]
            line.append(" ".join(f"{seed['return']:.1f}" for seed in seeds))
            line.append(f"{100 * end['success']:.1f} %" if "success" in end else "-")
            cpu = sum(seed.get("cpu_s", 0.0) for seed in seeds)
            line.append(f"{sum(seed['steps'] for seed in seeds) / cpu:.0f}" if cpu else "-")
            table.append(line)
    return table
