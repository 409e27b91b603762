"""Runs of learners: the same evaluation for all, and one file for each, which ``rl_curves`` joins.

A file holds ``task``, ``arm``, ``seed``, ``settings``, the ``episodes`` of the training with the environment step at
which each ended, and the ``evaluation`` of the policy that came out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldmodel.cli import common
from worldmodel.errors import BadFile, BadValue

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

EVALUATED_FROM = 10_000  # first of the evaluation's seeds, which no training has begun
LONG = {"step": "step", "r": "return", "l": "length", "success": "success"}  # Monitor's names, and ours


class Uniform:
    """Draws every action uniformly within the bounds, behind the ``predict`` of Stable-Baselines3."""

    def __init__(self, space: Any, seed: int) -> None:
        self.space, self.rng = space, np.random.default_rng(seed)

    def predict(self, observation: Any, state: Any = None, *_: Any) -> tuple[np.ndarray, Any]:
        """Actions for a VecEnv of one environment."""
        action = self.rng.uniform(self.space.low, self.space.high, (1, *self.space.shape))
        return action.astype(self.space.dtype), state


def evaluate(envs: Any, policy: Any, episodes: int) -> dict[str, list[Any]]:
    """Return, length and success of episodes of fixed seeds, in a VecEnv of one environment under a Monitor.

    Args:
        envs: the environment.
        policy: what acts without noise, by ``predict(observation, state, episode_start, deterministic)``.
        episodes: how many.
    """
    ended, state = [], None
    for seed in range(EVALUATED_FROM, EVALUATED_FROM + episodes):
        envs.seed(seed)
        observation, begins, info = envs.reset(), np.ones(1, bool), {}
        while "episode" not in info:
            action, state = policy.predict(observation, state, begins, True)
            observation, _, begins, (info,) = envs.step(action)
        ended.append(info["episode"])
    return columns(ended)


def columns(ended: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Monitor's records of episodes as lists, so that the file stays small."""
    return {name: [row[key] for row in ended] for key, name in LONG.items() if ended and key in ended[0]}


def noting(ended: list[dict[str, Any]]) -> Callable[[Any, Any], bool]:
    """A callback for ``learn``: append Monitor's record of every episode that ends, and the ``step`` it did."""

    def note(local: dict[str, Any], _: Any) -> bool:
        now = local["self"].num_timesteps
        ended.extend({"step": now, **info["episode"]} for info in local["infos"] if "episode" in info)
        return True

    return note


def trained_on(path: str, env: str | None, option: str) -> tuple[WorldModel, str, str]:
    """Load a model; return it, its task and its fingerprint.

    Args:
        path: run or model folder.
        env: task that it must have been trained on, or None.
        option: which says so.

    Raises:
        BadValue: no model, or one of another task.
    """
    from worldmodel.benchmarks.provenance import file_fingerprint
    from worldmodel.checkpoint import load_model, model_folder

    with common.option("--model"):
        folder = model_folder(path)
        model = load_model(folder)
        task = common.short_name(model.config.env)
    if env not in (None, task):
        raise BadValue(f"--model: trained on {task}, {option} says {env}")
    return model, task, file_fingerprint(folder / "model.safetensors")


def require_same(its: Mapping[str, Any], ours: Mapping[str, Any], message: str) -> None:
    """Compare settings by the names that both have: an arm or an older file need not have all.

    Args:
        its: of a file.
        ours: others.
        message: of the error, with ``{name}``, ``{its}`` and ``{ours}``.

    Raises:
        BadFile: they differ.
    """
    import json

    its, ours = (json.loads(json.dumps(dict(x))) for x in (its, ours))  # tuples are lists there
    for name in its.keys() & ours.keys():
        if its[name] != ours[name]:
            raise BadFile(message.format(name=name, its=its[name], ours=ours[name]))


def measure_missing(
    folder: Path,
    cases: Iterable[tuple[str, str, int]],
    settings: Mapping[str, Any],
    measure: Callable[[str, str, int], Mapping[str, Any]],
    told: Callable[[str], object],
) -> None:
    """Measure every (task, arm, seed) whose file is not there, so that several processes can share the work.

    Args:
        folder: where the files are.
        cases: what there is to measure.
        settings: of all of them, which are written with each.
        measure: task, arm, seed -> the run.
        told: called with a line for each.

    Raises:
        BadFile: a file that is there was made with other settings.
    """
    from worldmodel.envs.registry import file_name
    from worldmodel.files import read_json, write_json

    for task, arm, seed in cases:
        path = folder / f"{file_name(task)}-{arm}-{seed}.json"
        if path.exists():
            again = "was made with {name} {its}, now {ours}: remove it, or use another folder"
            require_same(read_json(path)["settings"], settings, f"{path} {again}")
            told(f"{path}: already there")
            continue
        found = {"task": task, "arm": arm, "seed": seed, "settings": dict(settings), **measure(task, arm, seed)}
        write_json(path, found)
        means = ", ".join(f"{name} {np.mean(x):.3g}" for name, x in found["evaluation"].items())
        speed = f"; {found['steps'] / found['wall_s']:.0f} steps/s" if found.get("wall_s") else ""
        told(f"{path}: {means}{speed}")
