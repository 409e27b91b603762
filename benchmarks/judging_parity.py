"""Does our evaluator judge as stable-worldmodel's does, and does our PushT go where theirs goes?

Run it as ``python -m worldmodel.benchmarks.judging_parity --peer PYTHON``, PYTHON being that of an environment with
stable-worldmodel installed (``pip install stable-worldmodel[format,env]``). Their ``World.collect`` makes a dataset.
Then, for actions that are recorded before (the demonstrator's own, random ones, zeros):

- same class: both evaluators drive their environment class from the same rows. Start rows, drawn by the rule of their
  evaluation script from their file and from our conversion of it, success flags and last states must be equal.
- our task: our evaluator drives our PushT and our TwoRoom with the same actions. How often a success flag differs, and
  how far the ends are apart, is what the deviations in ``envs/pusht.py`` come to: of all pairs, and of those where
  their agent stays inside the arena, which ours cannot leave.

Their rule leaves in pairs that are solved at the start; they are counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldmodel.benchmarks.swm_roundtrip import TASKS, call
from worldmodel.cli import common

if TYPE_CHECKING:
    from worldmodel.benchmarks.pairs import Pairs
    from worldmodel.datasets.store import EpisodeStore

STEPS, SIZE, OFFSET, SEED = 60, 64, 25, 42
BUDGET = 2 * OFFSET


@dataclass(frozen=True, kw_only=True)
class Options:
    """Judge recorded actions with our evaluator and with stable-worldmodel's."""

    peer: str
    """Python of an environment with stable-worldmodel."""
    episodes: int = 16
    """Collected for each task."""
    pairs: int = 200
    """Start and goal pairs."""
    json: str = "benchmarks/results/judging-parity.json"
    """Where the numbers go."""


def start_rows(store: EpisodeStore, offset: int, n: int, seed: int) -> np.ndarray:
    """Start rows by stable-worldmodel's rule: rows that have one ``offset`` later, without replacement, sorted."""
    valid = [first + np.arange(max(length - offset, 0)) for first, length in zip(store.offsets, store.lengths)]
    return np.sort(np.random.default_rng(seed).choice(np.concatenate(valid), n, replace=False))


def recorded_actions(store: EpisodeStore, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Actions (n, budget, a) float32 of three policies."""
    done = np.stack([store.read("action", int(row), int(row) + OFFSET) for row in rows]).astype(np.float32)
    still = np.zeros((len(rows), BUDGET - OFFSET, done.shape[2]), np.float32)
    chance = [np.random.default_rng((SEED, i)).uniform(-1, 1, (BUDGET, done.shape[2])) for i in range(len(rows))]
    replay = np.concatenate([done, still], axis=1)
    return {"replay": replay, "random": np.stack(chance).astype(np.float32), "zero": np.zeros_like(replay)}


def our_pairs(env: str, store: EpisodeStore, rows: np.ndarray) -> Pairs:
    """The same pairs as states of our task."""
    from worldmodel.benchmarks.pairs import Pairs
    from worldmodel.envs import registry

    task = registry.make(env, observation="state").unwrapped
    starts, goals = (
        np.concatenate([store.read("state", int(r), int(r) + 1) for r in some]) for some in (rows, rows + OFFSET)
    )
    return Pairs(
        env=env,
        starts=starts,
        goals=goals,
        actions=np.zeros((len(rows), OFFSET, task.action_space.shape[0]), np.float32),
        episode=np.searchsorted(store.offsets, rows, side="right") - 1,
        row=rows,
        hard=np.array([task.hard(s, g) for s, g in zip(starts, goals)], bool),
        hard_label=task.hard_label,
        offset=OFFSET,
        split="train",
        solved_at_start=sum(task.success(s, g) for s, g in zip(starts, goals)),
        out_of_view=0,
    )


def compared(env: str, store: EpisodeStore, rows: np.ndarray, theirs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Count what agrees, for one task."""
    from worldmodel.benchmarks.evaluate import evaluate
    from worldmodel.benchmarks.policies import ReplayPolicy
    from worldmodel.envs import registry

    pairs, task = our_pairs(env, store, rows), registry.make(env, observation="state").unwrapped
    found: dict[str, Any] = {
        "env": env,
        "n": len(rows),
        "same_rows": int((theirs["rows"] == rows).sum()),
        "solved_at_start": int(pairs.solved_at_start),
        "hard": int(pairs.hard.sum()),
    }
    width = min(theirs["starts"].shape[1], pairs.starts.shape[1], 5)  # places and angle; velocities may come after
    for name, actions in recorded_actions(store, rows).items():
        flags, judged, states = (theirs[f"{name}.{what}"] for what in ("theirs", "ours", "states"))
        ended = np.isfinite(states[..., 0]).sum(axis=1) - 1  # steps taken
        ends = states[np.arange(len(rows)), ended]
        outcome = evaluate(ReplayPolicy(actions), env, pairs, BUDGET, observation="state")
        common_end = np.minimum(ended, np.isfinite(outcome.states[..., 0]).sum(axis=1) - 1)
        at = np.arange(len(rows)), common_end
        a, b, goals = states[at][:, :width], outcome.states[at], pairs.goals
        aligned = pairs.starts.copy()  # their state as ours: what they do not tell does not count for distances
        aligned[:, :width] = a
        apart = np.abs([task.distance(x, g) - task.distance(y, g) for x, y, g in zip(aligned, b, goals)])
        inside = np.array([_inside(task, way[: n + 1], g) for way, n, g in zip(states, ended, goals)], bool)
        found[name] = {
            "same_class": {
                "same_success": int((flags == judged).sum()),
                "same_last_state": int((ends == theirs[f"{name}.theirs_end"]).all(axis=1).sum()),
                "success_theirs": int(flags.sum()),
                "success_ours": int(judged.sum()),
            },
            "our_task": _difference(flags, outcome.success, apart),
            "our_task_inside": _difference(flags[inside], outcome.success[inside], apart[inside]),
        }
    return found


def _inside(task: Any, way: np.ndarray, goal: np.ndarray) -> bool:
    """Whether the agent of their way, and of the goal, is where ours can be; nothing keeps their PushT's inside."""
    low, high = task.room
    places = np.concatenate([way[:, :2], goal[None, :2]])
    return bool(places.min() >= low and places.max() <= high)


def _difference(theirs: np.ndarray, ours: np.ndarray, apart: np.ndarray) -> dict[str, Any]:
    """How our task ends otherwise than theirs: success flags, and distances to the goal in its units."""
    measures = (("median", np.median), ("p95", lambda x: np.percentile(x, 95)), ("largest", np.max))
    return {
        "n": len(theirs),
        "other_success": int((theirs != ours).sum()),
        "only_theirs": int((theirs & ~ours).sum()),
        "only_ours": int((ours & ~theirs).sum()),
        "distance_apart": {name: float(measure(apart)) if len(apart) else None for name, measure in measures},
    }


def judging(options: Options) -> None:
    """Do what the options say."""
    import torch

    import worldmodel
    from worldmodel.benchmarks.provenance import provenance
    from worldmodel.datasets.convert import convert
    from worldmodel.datasets.store import EpisodeStore
    from worldmodel.files import write_json

    common.require_writable("--json", options.json)
    results = []
    here = str(Path(worldmodel.__file__).resolve().parents[1])
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        versions = call(options.peer, home, "versions")
        for env, theirs in TASKS.items():
            source, given = home / f"swm-{env}.h5", home / f"{env}.npz"
            call(options.peer, home, "collect", theirs, str(source), options.episodes, STEPS, SIZE, True)
            with EpisodeStore(convert(source, home / f"converted-{env}.h5", env=env)) as store:
                rows = start_rows(store, OFFSET, options.pairs, SEED)
                np.savez(given, rows=rows, **recorded_actions(store, rows))  # type: ignore[arg-type]
                told = (theirs, str(source), str(given), OFFSET, BUDGET, options.pairs, SEED, SIZE)
                call(
                    options.peer, home, "judge", *told, file=str(Path(__file__).with_name("judging_peer.py")), path=here
                )
                results.append(compared(env, store, rows, np.load(home / f"{env}-out.npz")))
    print(common.aligned(table(results)))
    settings = {"offset": OFFSET, "budget": BUDGET, "seed": SEED, "steps": STEPS, "episodes": options.episodes}
    about = {"peer": {"versions": versions}, **provenance(torch.device("cpu"))}
    write_json(options.json, {"tasks": results, **settings, **about})
    print(f"numbers: {options.json}")


def table(results: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """One line for each task and policy."""
    same = ("same rows", "same success", "same last state", "successes, both")
    ours = (
        "our task, other success",
        "of those that stay inside",
        "distance apart of these: median",
        "95 %",
        "largest",
    )
    lines: list[tuple[str, ...]] = [("task", "actions", "n", *same, *ours)]
    for found in results:
        for name in ("replay", "random", "zero"):
            one, two, inside = (found[name][kind] for kind in ("same_class", "our_task", "our_task_inside"))
            apart = inside["distance_apart"].values()
            lines.append(
                (
                    found["env"],
                    name,
                    *(str(x) for x in (found["n"], found["same_rows"], one["same_success"], one["same_last_state"])),
                    f"{one['success_theirs']}, {one['success_ours']}",
                    str(two["other_success"]),
                    f"{inside['other_success']} of {inside['n']}",
                    *("-" if x is None else f"{x:.3g}" for x in apart),
                )
            )
    return lines


def main() -> None:
    """Entry point."""
    common.run(lambda: judging(common.parse(Options)))


if __name__ == "__main__":
    main()
