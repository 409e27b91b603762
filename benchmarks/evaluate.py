"""Closed-loop success: put the task at a start, show the goal, let a policy act until it succeeds or time is up."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from typing import Any, TypeAlias

import numpy as np

from worldmodel import distributed
from worldmodel.benchmarks.pairs import Pairs
from worldmodel.benchmarks.parallel import shared
from worldmodel.benchmarks.policies import NoopPolicy, Policy, RandomPolicy, ReplayPolicy
from worldmodel.benchmarks.seats import seats
from worldmodel.envs import registry
from worldmodel.errors import BadFile, BadValue

Observer: TypeAlias = Callable[[int, int, Mapping[str, np.ndarray], Mapping[str, Any], bool], object]


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One episode to look at."""

    frames: np.ndarray  # (t + 1, S, S, 3) uint8, from the start to the success or the end of the budget
    goal: np.ndarray | None  # (S, S, 3) uint8; None where there is none, and success says nothing
    success: bool


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What happened on every pair."""

    success: (
        np.ndarray
    )  # (n,) bool, the predicate held after some step within the budget; after the last one taken, if strict
    steps: np.ndarray  # (n,) int64 environment steps until then (and from then on, if strict); else the budget
    rollouts: tuple[Rollout, ...]  # of some pairs, in order
    states: np.ndarray  # (n, budget + 1, S) float64, from the start on; NaN after the end of an episode
    actions: np.ndarray  # (n, budget, a) float32 between them, as the policy gave them; NaN after the end

    @property
    def rate(self) -> float:
        """Share of pairs that succeeded."""
        return float(self.success.mean())


def evaluate(
    policy: Policy,
    task: str,
    pairs: Pairs,
    budget: int,
    image_size: int = 64,
    watch: int = 0,
    together: int = 50,
    progress: Callable[[int], object] | None = None,
    only: range | None = None,
    workers: int = 1,
    observer: Observer | None = None,
    **options: Any,
) -> Outcome:
    """Run every pair once, many environments in lock-step; one that has succeeded is not stepped any further.

    Strict pairs are played to the end of the budget and judged by the last state. Where the environment itself ends the
    episode before (only ``gym/...`` ones do), its world has ended there: that state is the last, and counts as it is.

    Processes that torchrun started share the pairs and all return the whole outcome.

    Args:
        policy: what acts; several workers have a copy each.
        task: name of the environment.
        pairs: starts and goals.
        budget: environment steps allowed.
        image_size: side of the pictures the policy sees.
        watch: how many pairs to keep the frames of, spread evenly.
        together: environments in lock-step, which bounds memory and changes no result.
        progress: called with environment steps that were taken or are no longer needed; n * budget in all.
        only: some of the pairs, whose outcome it is then; the same for each as among all.
        workers: processes that share the pairs, which changes no result; 0 for one a core.
        observer: called with (number of the pair, step from 1, observation, info, whether that was the last step) after
            every step, for somebody to look on (benchmarks/watch.py); not with several workers.
        options: further arguments of the task, such as ``render_preset``.

    Raises:
        BadValue: a budget below 1, or a policy that cannot be sent to workers.
        BadFile: an environment that replays to its starts arrives elsewhere.
        WorldModelError: a worker was killed.
    """
    if budget < 1:
        raise BadValue(f"budget: expected 1 or more, got {budget}")
    chosen = range(len(pairs)) if only is None else only
    watched = frozenset(chosen[i] for i in np.linspace(0, len(chosen) - 1, watch).astype(int))
    options |= dict(image_size=image_size, terminate_on_success=False, max_episode_steps=budget)
    play = partial(_play, task=task, pairs=pairs, budget=budget, watched=watched, together=together, options=options)
    play = partial(play, observer=observer) if observer else play
    return _joined(shared(play, policy, chosen, workers, progress))


Share: TypeAlias = tuple[range, list[np.ndarray], dict[int, Rollout]]  # rows; success, steps, states, actions of them


def _play(
    policy: Policy,
    mine: range,
    progress: Callable[[int], object] | None,
    *,
    task: str,
    pairs: Pairs,
    budget: int,
    watched: frozenset[int],
    together: int,
    options: Mapping[str, Any],
    observer: Observer | None = None,
) -> Share:
    """Run some pairs in this process."""
    success, steps = np.zeros(len(pairs), bool), np.full(len(pairs), budget)
    states = np.full((len(pairs), budget + 1, pairs.starts.shape[1]), np.nan)
    actions = np.full((len(pairs), budget, pairs.actions.shape[2]), np.nan, np.float32)
    frames: dict[int, list[np.ndarray]] = {}
    goals: dict[int, np.ndarray] = {}

    def note(
        row: int, step: int, action: np.ndarray, seen: Mapping[str, np.ndarray], _: float, info: Mapping[str, Any]
    ) -> bool:
        actions[row, step - 1], states[row, step] = action, info["state"]
        if row in frames:
            frames[row].append(seen["pixels"])
        before, success[row] = success[row], solved(info)
        if success[row] != before:
            steps[row] = step if success[row] else budget
        over = bool(success[row]) and not pairs.strict
        if observer:
            observer(row, step, seen, {**info, "success": bool(success[row])}, over or step == budget)
        return over

    apart = bool(pairs.ways) or any(world.get("variation") for world in pairs.worlds)
    envs = seats(task, min(together, len(mine)), apart, **options)

    def solved(info: Mapping[str, Any]) -> bool:
        if pairs.strict:
            return bool(envs[0].unwrapped.accomplished(info["state"], info["goal_state"]))
        return bool(info["success"])

    try:
        for first in range(0, len(mine), max(1, len(envs))):
            rows = mine[first : first + len(envs)]
            seen = [at_start(env, pairs, row)[0] for env, row in zip(envs, rows)]
            states[rows, 0] = pairs.starts[rows]
            frames |= {row: [shown["pixels"]] for row, shown in zip(rows, seen) if row in watched}
            goals |= {row: shown["goal"] for row, shown in zip(rows, seen) if row in watched}
            lockstep(policy, envs, rows, seen, budget, note, progress, range(len(pairs)) if observer else watched)
    finally:
        for env in envs:
            env.close()
    rollouts = {
        row: Rollout(frames=np.stack(images), goal=goals[row], success=bool(success[row]))
        for row, images in frames.items()
    }
    return mine, [x[mine] for x in (success, steps, states, actions)], rollouts


def _joined(shares: Sequence[Share]) -> Outcome:
    """The outcome on all pairs, in order."""
    order = np.concatenate([np.array(rows, int) for rows, _, _ in shares]).argsort()
    success, steps, states, actions = (
        np.concatenate(parts)[order] for parts in zip(*(found for _, found, _ in shares))
    )
    rollouts = {row: rollout for _, _, shown in shares for row, rollout in shown.items()}
    shown = tuple(rollouts[row] for row in sorted(rollouts))
    return Outcome(success=success, steps=steps, rollouts=shown, states=states, actions=actions)


def at_start(env: Any, pairs: Pairs, row: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Put an environment at the start of a pair and show it the goal; return what ``reset`` does.

    Raises:
        BadFile: an environment that replays to its starts arrives elsewhere.
    """
    observation, info = env.reset(seed=row, options=pairs.options(row))
    if not np.array_equal(info["state"], pairs.starts[row]):
        raise BadFile(f"{env.spec.id} did not return to a recorded start: it does other things with the same seed")
    return observation, info


def lockstep(
    policy: Policy,
    envs: Sequence[Any],
    rows: Sequence[int],
    seen: Sequence[Mapping[str, np.ndarray]],
    budget: int,
    note: Callable[[int, int, np.ndarray, Mapping[str, np.ndarray], float, Mapping[str, Any]], bool],
    progress: Callable[[int], object] | None = None,
    filmed: Container[int] = range(10**9),
) -> None:
    """Step environments together until each one's episode is over or the budget is spent.

    Nothing is drawn that nobody looks at, which for a robot arm is most of the time an evaluation takes.

    Args:
        policy: what acts.
        envs: at the beginnings of their episodes.
        rows: numbers of the episodes.
        seen: what the environments show there.
        budget: environment steps allowed.
        note: called with (number of the episode, step from 1, action, observation, reward, info) after every step;
            returns whether the episode is over. It is in any case when the environment says so.
        progress: called with environment steps that were taken or are no longer needed, in all processes.
        filmed: numbers of the episodes of which every picture is wanted; all by default.
    """
    looks = getattr(policy, "looks", None)
    state, running, shown = policy.begin(rows), list(range(len(rows))), list(seen)
    for step in range(1, budget + 1):
        batch = {name: np.stack([shown[i][name] for i in running]) for name in shown[0]}
        actions, state = policy.predict(batch, state)
        over = []
        for i, action, looked_at in zip(running, actions, looks(state) if looks else repeat(True)):
            envs[i].unwrapped.unseen = not looked_at and rows[i] not in filmed
            shown[i], reward, terminated, _, info = envs[i].step(action)
            over.append(note(rows[i], step, action, shown[i], reward, info) or terminated)
        if progress:  # what this process does, the others do as well
            progress((len(running) + sum(over) * (budget - step)) * distributed.size())
        if any(over):
            state = replace(state, rows=tuple(row for row, ended in zip(state.rows, over) if not ended))
            running = [i for i, ended in zip(running, over) if not ended]
            if not running:
                break


def floors_and_ceiling(
    task: str,
    pairs: Pairs,
    budget: int,
    seed: int,
    progress: Callable[[int], object] | None = None,
    workers: int = 1,
) -> dict[str, Outcome]:
    """What a success rate is read against, on the same pairs: ``random``, ``noop`` and ``replay``; nothing is drawn.

    Official pairs have nothing to replay.
    """
    env = registry.make(task, observation="state")
    policies: dict[str, Policy] = {
        "random": RandomPolicy(env.action_space, seed),
        "noop": NoopPolicy(len(pairs), env.action_space.shape[0]),
    }
    if pairs.actions.shape[1]:
        policies["replay"] = ReplayPolicy(pairs.actions)
    env.close()
    play = partial(_play_each, task=task, pairs=pairs, budget=budget)
    shares = shared(play, policies, range(len(pairs)), workers, progress)
    return {name: _joined([share[name] for share in shares]) for name in policies}


def _play_each(
    policies: Mapping[str, Policy], rows: range, progress: Callable[[int], object] | None, **task: Any
) -> dict[str, Share]:
    """Run some pairs with every policy in this process."""
    options = dict(observation="state", terminate_on_success=False, max_episode_steps=task["budget"])
    return {
        name: _play(policy, rows, progress, watched=frozenset(), together=50, options=options, **task)
        for name, policy in policies.items()
    }


def time_one_plan(
    policy: Policy, task: str, start: Mapping[str, Any], image_size: int, repeats: int = 3, **options: Any
) -> dict[str, float]:
    """What the first ``predict`` with a search of an episode reset with options ``start`` takes, one environment.

    Returns:
        ``ms_one_plan``, the median, and ``cpu_ms_one_plan``, that of the processor's milliseconds, which others that
        use the machine hardly change.
    """
    env = registry.make(task, image_size=image_size, **options)
    observation, _ = env.reset(seed=0, options=dict(start))
    batch, times = {name: image[None] for name, image in observation.items()}, []
    late = [steps] if (steps := getattr(policy, "reflexive_steps", 0)) else []
    for _ in range(repeats):
        state = policy.begin([0], *late)
        wall, cpu = time.perf_counter(), time.process_time()
        policy.predict(batch, state)
        times.append((1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)))
    env.close()
    return dict(zip(("ms_one_plan", "cpu_ms_one_plan"), map(statistics.median, zip(*times)), strict=True))
