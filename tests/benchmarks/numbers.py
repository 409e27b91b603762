"""What diagnostics and an evaluation write of a sound model; a test changes the numbers it is about."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from worldmodel.benchmarks.intervals import wilson
from worldmodel.benchmarks.record import Record


def predictor(errors: tuple[float, ...] = (0.1, 0.2), sensitivity: float = 9.0) -> dict[str, Any]:
    return {
        "over_copy": list(errors),
        "low": [0.9 * error for error in errors],
        "high": [1.1 * error for error in errors],
        "sensitivity": [sensitivity, 2 * sensitivity],
        "jumps": [1] * len(errors),
    }


def openloop(**predictors: Any) -> dict[str, Any]:
    return {
        "horizons": [1, 5],
        "env_steps": [5, 25],
        "predictors": {name.replace("_", "-"): found for name, found in predictors.items()} or {"prefix": predictor()},
    }


def geometry(
    std: float = 0.9,
    rank: float = 12.0,
    ranks: tuple[float, float, float] = (0.6, 0.5, 0.7),
    random_std: float = 0.5,
    executed: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "std": std,
        "random_std": random_std,
        "effective_rank": rank,
        "rank_correlation": dict(zip(("mean", "low", "high"), ranks)) | {"task_distance": {"mean": 0.8}},
        "executed": executed or {},
    }


def examined(evaluation: Record, most: str = "search not converged", error: float = 0.3) -> dict[str, Any]:
    """What geometry says of an evaluation nearly all of whose failures have one reason."""
    failed = np.flatnonzero(~evaluation.outcome.success).tolist()
    reasons: list[str | None] = [None] * int(evaluation.values["n"])
    for i, row in enumerate(failed):
        reasons[row] = "budget" if i == 0 else most
    return {
        "planned_with": "prefix",
        "n": len(reasons),
        "n_failed": len(failed),
        "manifest": {"sha256": evaluation.values["manifest"]["sha256"]},
        "first": {"prefix": {"failures": error}},
        "failures": {"budget": 1, most: len(failed) - 1},
        "reasons": reasons,
    }


def surprise(low: float = 0.1) -> dict[str, Any]:
    return {"predictors": {"prefix": {"teleport": {"difference": 0.3, "low": low, "high": 0.5}}}}


def probe(
    latent: tuple[float, float] = (0.99, 0.9),
    random: tuple[float, float] = (0.6, 0.5),
    pixels: tuple[float, float] = (0.9, 0.8),
) -> dict[str, Any]:
    kinds = {of: {"r2": list(r2)} for of, r2 in (("latent", latent), ("random", random), ("pixels", pixels))}
    return {"numbers": ["agent_x", "block_angle"], "linear": kinds, "mlp": kinds}


def evaluation(
    success: float = 0.6,
    n: int = 200,
    random: float = 0.05,
    replay: float | None = 1.0,
    **others: Any,
) -> Record:
    """An evaluation in which the first pairs are the easiest, for everybody."""
    low, high = wilson(round(success * n), n)
    values = {
        "success": success,
        "n": n,
        "low": low,
        "high": high,
        "random": random,
        "predictor": "prefix",
        "horizon": 5,
        "protocol": {"name": "lewm-25", "split": "test"},
        "model": {"dataset": "abc"},
        "manifest": {"dataset": "abc", "sha256": "def"},
    }

    def outcome(rate: float) -> Any:
        return SimpleNamespace(success=np.arange(n) < round(rate * n))

    floors = {"random": outcome(random)}
    if replay is not None:
        values["replay"], floors["replay"] = replay, outcome(replay)
    pairs: Any = None
    return Record(values=values | others, pairs=pairs, outcome=outcome(success), floors=floors)
