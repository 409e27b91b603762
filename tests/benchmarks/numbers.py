"""What diagnostics and an evaluation write of a sound model; a test changes the numbers it is about."""

from __future__ import annotations

from typing import Any


def predictor(errors: tuple[float, ...] = (0.1, 0.2), sensitivity: float = 9.0) -> dict[str, list[float]]:
    return {
        "over_copy": list(errors),
        "low": [0.9 * error for error in errors],
        "high": [1.1 * error for error in errors],
        "sensitivity": [sensitivity, 2 * sensitivity],
    }


def openloop(**predictors: Any) -> dict[str, Any]:
    return {
        "horizons": [1, 5],
        "env_steps": [5, 25],
        "predictors": {name.replace("_", "-"): found for name, found in predictors.items()} or {"prefix": predictor()},
    }


def geometry(
    std: float = 0.9, rank: float = 12.0, ranks: tuple[float, float, float] = (0.6, 0.5, 0.7)
) -> dict[str, Any]:
    failures = {"wrong model": 10, "search not converged": 70, "budget": 0}
    return {
        "std": std,
        "effective_rank": rank,
        "rank_correlation": dict(zip(("mean", "low", "high"), ranks)) | {"task_distance": {"mean": 0.8}},
        "executed": {"lewm-25-prefix": {"planned_with": "prefix", "n": 200, "n_failed": 80, "failures": failures}},
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


def result(
    success: float = 0.6, n: int = 200, random: float = 0.05, replay: float = 1.0, **others: Any
) -> dict[str, Any]:
    from worldmodel.benchmarks.intervals import wilson

    low, high = wilson(round(success * n), n)
    return {
        "success": success,
        "n": n,
        "low": low,
        "high": high,
        "random": random,
        "replay": replay,
        "predictor": "prefix",
        "horizon": 5,
        "protocol": {"name": "lewm-25", "split": "test"},
        "model": {"dataset": "abc"},
        "manifest": {"dataset": "abc"},
    } | others
