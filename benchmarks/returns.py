"""What a policy earns: episodes that begin as every policy's do, and the sum of their rewards.

Shapes: n episodes, S pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from worldmodel.benchmarks.evaluate import Rollout, lockstep
from worldmodel.benchmarks.intervals import bootstrap_mean
from worldmodel.benchmarks.parallel import shared
from worldmodel.benchmarks.policies import NoopPolicy, Policy, RandomPolicy
from worldmodel.benchmarks.report import Planning, planning_rows
from worldmodel.datasets.store import EpisodeStore
from worldmodel.envs import registry
from worldmodel.errors import BadFile, BadValue


@dataclass(frozen=True, kw_only=True)
class Earnings:
    """What happened in every episode."""

    returns: np.ndarray  # (n,) float64, sum of the rewards
    steps: np.ndarray  # (n,) int64 environment steps, fewer than allowed where the environment ended the episode
    rollouts: tuple[Rollout, ...]  # of some episodes, in order


def beginnings(n: int, seed: int) -> list[int]:
    """Seeds of n episodes, of 2^30: that a collection has used one of them is unlikely."""
    return np.random.default_rng((seed, n)).integers(2**30, 2**31, n).tolist()


def earn(
    policy: Policy,
    task: str,
    seeds: list[int],
    budget: int,
    image_size: int = 64,
    watch: int = 0,
    together: int = 50,
    progress: Callable[[int], object] | None = None,
    workers: int = 1,
    **options: Any,
) -> Earnings:
    """Run an episode from every seed, many environments in lock-step, until it ends or the budget is spent.

    Processes that torchrun started share the episodes and all return the whole.

    Args:
        policy: what acts.
        task: name of the environment.
        seeds: of the episodes.
        budget: environment steps allowed.
        image_size: side of the pictures the policy sees.
        watch: how many episodes to keep the frames of, spread evenly.
        together: environments in lock-step, which bounds memory and changes no result.
        progress: called with environment steps that were taken or are no longer needed; n * budget in all.
        workers: processes that share the episodes, which changes no result; 0 for one a core.
        options: further arguments of the task, such as ``render_preset``.

    Raises:
        BadValue: a budget below 1, no episode, or a policy that cannot be sent to workers.
        WorldModelError: a worker was killed.
    """
    if budget < 1 or not seeds:
        raise BadValue(f"budget and episodes: expected 1 or more, got {budget} and {len(seeds)}")
    options |= dict(image_size=image_size, terminate_on_success=False, max_episode_steps=budget)
    watched = frozenset(int(i) for i in np.linspace(0, len(seeds) - 1, watch))
    play = partial(_play, task=task, seeds=seeds, budget=budget, watched=watched, together=together, options=options)
    shares = shared(play, policy, range(len(seeds)), workers, progress)
    everything = {row: seen for _, _, share in shares for row, seen in share.items()}
    return Earnings(
        returns=np.sum([share[0] for share in shares], axis=0),  # another process's are 0
        steps=np.sum([share[1] for share in shares], axis=0),
        rollouts=tuple(
            Rollout(frames=np.stack(everything[row]), goal=None, success=False) for row in sorted(everything)
        ),
    )


def _play(
    policy: Policy,
    mine: range,
    progress: Callable[[int], object] | None,
    *,
    task: str,
    seeds: list[int],
    budget: int,
    watched: frozenset[int],
    together: int,
    options: Mapping[str, Any],
) -> tuple[np.ndarray, np.ndarray, dict[int, list[np.ndarray]]]:
    """Run some episodes in this process: returns (n,) and steps (n,), 0 of the others, and frames by episode."""
    envs = [registry.make(task, **options) for _ in range(min(together, len(mine)))]
    returns, steps = np.zeros(len(seeds)), np.zeros(len(seeds), np.int64)
    frames: dict[int, list[np.ndarray]] = {}

    def note(
        row: int, step: int, _: np.ndarray, seen: Mapping[str, np.ndarray], reward: float, __: Mapping[str, Any]
    ) -> bool:
        returns[row] += reward
        steps[row] = step
        if row in frames:
            frames[row].append(seen["pixels"])
        return False  # but for the environment

    try:
        for first in range(0, len(mine), max(1, len(envs))):
            rows = mine[first : first + len(envs)]
            seen = [env.reset(seed=seeds[row])[0] for env, row in zip(envs, rows)]
            frames |= {row: [shown["pixels"]] for row, shown in zip(rows, seen) if row in watched}
            lockstep(policy, envs, rows, seen, budget, note, progress, watched)
    finally:
        for env in envs:
            env.close()
    return returns, steps, frames


def floors(task: str, seeds: list[int], budget: int, seed: int) -> dict[str, Earnings]:
    """What a return is read against, on the same episodes: ``random`` and ``noop`` actions; nothing is drawn."""
    env = registry.make(task, observation="state")
    policies: dict[str, Policy] = {
        "random": RandomPolicy(env.action_space, seed),
        "noop": NoopPolicy(len(seeds), env.action_space.shape[0]),
    }
    env.close()
    return {name: earn(policy, task, seeds, budget, observation="state") for name, policy in policies.items()}


def usual_budget(store: EpisodeStore) -> int:
    """Environment steps over which all of a dataset's episodes can be compared with others.

    Raises:
        BadFile: it has no rewards.
    """
    steps, ended = store.lengths - 1, _ended(store)
    return int(steps.max() if ended.all() else steps[~ended].min())


def recorded(store: EpisodeStore, budget: int) -> np.ndarray:
    """Returns (E,) of a dataset's own episodes over their first ``budget`` steps: what its behaviour earns.

    Raises:
        BadFile: it has no rewards, or episodes that were cut short before; only those that fell over would be left.
    """
    steps, ended = store.lengths - 1, _ended(store)
    if (short := steps[~ended & (steps < budget)]).size:
        raise BadFile(
            f"{store.path}: {short.size} of its episodes were cut after {int(short.min())} steps or later, before the "
            f"budget of {budget}; give --budget {usual_budget(store)}, or collect with --steps {budget}"
        )
    rewards = store.read("reward", 0, store.rows).astype(np.float64)
    return np.asarray([rewards[a + 1 : a + 1 + min(n, budget)].sum() for a, n in zip(store.offsets, steps)])


def _ended(store: EpisodeStore) -> np.ndarray:
    """Whether each episode (E,) ended by itself, and not because its time was up."""
    for name in ("reward", "terminated"):
        if name not in store.columns:
            raise BadFile(f"{store.path} has no column {name!r}, by which returns are counted")
    return np.asarray(store.read("terminated", 0, store.rows)[store.offsets + store.lengths - 1], bool)


def average(returns: np.ndarray) -> dict[str, Any]:
    """Mean return with its bootstrap 95 % interval, and n."""
    low, high = bootstrap_mean(returns)
    return {"return": float(returns.mean()), "low": low, "high": high, "n": len(returns)}


def as_dict(
    earnings: Earnings, baselines: Mapping[str, np.ndarray], budget: int, seed: int, planning: Planning
) -> dict[str, Any]:
    """Gather everything measured; ``baselines`` are returns of ``random``, ``noop`` and ``data``."""
    return {
        **average(earnings.returns),
        **{name: average(returns) for name, returns in baselines.items()},
        "returns": earnings.returns.tolist(),
        "mean_steps": float(earnings.steps.mean()),
        "budget": budget,
        "episodes": len(earnings.returns),
        "seed": seed,
        "protocol": {"return": "sum of rewards, undiscounted", "interval": "bootstrap 95 % of the mean"},
        **asdict(planning),
        "horizon_env_steps": planning.horizon * planning.action_block,
        "jumps": planning.jumps,
    }


def rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The table of a report: one line for each thing to know."""
    return [
        ("task", f"{report['env']}, for reward, {report['budget']} steps at most"),
        ("episodes", f"{report['n']} from seeds of their own"),
        ("return", _mean(report)),
        ("random policy", _mean(report["random"])),
        ("no-op policy", _mean(report["noop"])),
        ("behaviour", _mean(report["data"]) + ", in the dataset"),
        *planning_rows(report),
    ]


def _mean(part: Mapping[str, Any]) -> str:
    mean, low, high = (f"{part[name]:.{1 if abs(part['return']) >= 10 else 3}f}" for name in ("return", "low", "high"))
    return f"{mean:>8}  [{low}, {high}]  n = {part['n']}"
