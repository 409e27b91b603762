"""What diagnoses write into a run folder, with every key that a report reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from worldmodel.benchmarks import page_runs
from worldmodel.benchmarks.record import find
from worldmodel.files import read_json, write_json

WHERE = {"versions": {"torch": "2"}, "commit": "c", "seed": 3, "n_episodes": 50, "dataset": {"split": "validation"}}


def diagnose(run: Path, number: str = "agent_x", weights: str | None = None) -> None:
    """Write all five; ``number`` is what one of the probed numbers is called, ``weights`` whose they are."""
    evaluated = {path.name: read_json(path / "result.json") for path in find(run)}
    model = {"path": "runs/a/model", "fingerprint": weights or page_runs.weights(run)}
    for name, values in _diagnoses(number, evaluated).items():
        about = {"diagnostic": name, "env": "two-room", "model": model, "command": f"wm-bench {name} --seed 3", **WHERE}
        write_json(run / "evaluation" / f"{name}.json", {**about, **values})


def _diagnoses(number: str, evaluated: dict[str, Any]) -> dict[str, dict[str, Any]]:
    def spread(value: float) -> dict[str, float]:
        return {"mean": value, "low": value - 0.1, "high": value + 0.1}

    curve = {"error": [0.1, 0.2], "over_copy": [0.1, 0.4], "low": [0.08, 0.3], "high": [0.12, 0.5]}
    curve |= {"sensitivity": [9, 4], "sensitivity_low": [8, 3], "sensitivity_high": [10, 5], "jumps": [1, 2]}
    probed: dict[str, Any] = {
        who: {"r2": [r2, r2 / 2], "mean": {"r2": r2, "low": r2 - 0.1, "high": r2 + 0.1}}
        for who, r2 in (("latent", 0.99), ("pixels", 0.8), ("random", -0.4))
    }
    probed["latent"]["over_pixels"] = {"r2": 0.19, "low": 0.1, "high": 0.2}
    jumped = {
        "p": 1e-9,
        "after_difference": 0.1,
        "after_low": 0.0,
        "after_high": 0.2,
        "after_p": 0.2,
        "stands_out": 0.98,
        "difference": 1.0,
    }
    changed = {"curve": [0.1, 1.1, 0.2], "low": 0.9, "high": 1.1, **jumped}
    area = {"auc": 0.8, "low": 0.7, "high": 0.9, "p": 0.01}
    hop = {"split": [4, 4], "gap_over_error": 0.5, "low": 0.4, "high": 0.6}
    failed = {"n": 8, "n_failed": 8, "planned_with": "prefix", "failures": {"wrong model": 8, "budget": 0}}
    failed |= {"reasons": ["wrong model"] * 8, "first": {"prefix": area, "one-step": area, "copy": area}}
    setting = {"setting": "cem", "success": 0.5, "low": 0.4, "high": 0.6, "p50_ms": 20.0}
    return {
        "openloop": {"horizons": [1, 16], "env_steps": [5, 80], "predictors": {"one-step": curve, "prefix": curve}},
        "probe": {"numbers": [number, "agent_y"], "linear": probed, "mlp": probed},
        "surprise": {
            "steps": [-1, 0, 1],
            "env_steps": [-5, 0, 5],
            "predictors": {"prefix": {"control": {"curve": [0.1, 0.1, 0.1]}, "teleport": changed, "colour": changed}},
        },
        "geometry": {
            "effective_rank": 5.0,
            "latent_dim": 8,
            "std": 1.0,
            "straightness": spread(0.2),
            "rank_correlation": {**spread(0.6), "span_env_steps": 50, "task_distance": spread(0.7)},
            "semigroup": {"prefix": [hop]},
            "executed": {
                name: failed
                | {"n_failed": round((1 - values["success"]) * values["n"])}
                | {"manifest": {"sha256": values["manifest"]["sha256"]}}
                for name, values in evaluated.items()
            },
        },
        "frontier": {
            "n": 200,
            "random": 0.1,
            "noop": 0.0,
            "replay": 1.0,
            "settings": [setting, {**setting, "setting": "cem iterations=30", "p50_ms": 60.0, "success": 0.55}],
        },
    }
