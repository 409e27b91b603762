"""Start and goal pairs: where a demonstrator was in a held-out episode and ``offset`` steps later, or official ones.

Shapes: n pairs, S numbers in a state, a action size.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np

from worldmodel.datasets.store import SPLITS, EpisodeStore, split_number
from worldmodel.envs import factors
from worldmodel.errors import BadFile, BadValue


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Start and goal pairs, none solved at the start, in the order of the rows they come from."""

    env: str
    starts: np.ndarray  # (n, S) float64
    goals: np.ndarray  # (n, S) float64, ``offset`` environment steps later in the same episode
    actions: np.ndarray  # (n, offset, a) float32, what the demonstrator did in between; (n, 0, a) of official pairs
    episode: np.ndarray  # (n,) int64; of official pairs the task's number
    row: np.ndarray  # (n,) int64 row of the start in the store
    hard: np.ndarray  # (n,) bool, the task's hard pairs
    hard_label: str  # what makes a pair hard
    offset: int | None  # environment steps from start to goal; None of official pairs
    split: str  # official of those
    dataset: str | None = None  # fingerprint of the file that the episodes come from
    strict: bool = False  # the goal must be accomplished after the last step, not just be a success after some step
    solved_at_start: int = 0  # pairs drawn on the way that were left out because the start already solves them
    out_of_view: int = 0  # and because start or goal is not wholly in the picture, or in a wall
    ways: tuple[dict[str, Any], ...] = ()  # reset options of each start where a state cannot be set
    worlds: tuple[dict[str, Any], ...] = ()  # reset options of each pair where worlds differ
    variation: str = ""  # factors that were drawn for the worlds

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def sha256(self) -> str:
        """What is played and how it is counted: a hash of all but the label and the counts of what was left out."""
        facts = (self.env, self.offset, self.split, self.dataset, self.strict, self.variation)
        digest = hashlib.sha256("\n".join(map(str, facts)).encode())
        arrays = [(name, getattr(self, name)) for name in ("starts", "goals", "actions", "episode", "row", "hard")]
        told = (*(world.get("variation", {}) for world in self.worlds), *self.ways)
        arrays += [(name, np.asarray(values[name])) for values in told for name in sorted(values)]
        for name, array in arrays:
            digest.update(f"{name} {array.shape}".encode())
            kept = {np.float32: "<f4", np.uint8: "u1"}.get(array.dtype.type, "<f8")
            digest.update(np.ascontiguousarray(array, kept).tobytes())
        return digest.hexdigest()

    def some(self, n: int) -> Pairs:
        """N of the pairs, spread evenly; the counts of what was left out stay those of the whole drawing."""
        rows = np.linspace(0, len(self) - 1, n).round().astype(int)
        arrays = {name: getattr(self, name)[rows] for name in ("starts", "goals", "actions", "episode", "row", "hard")}
        ways, worlds = (tuple(told[i] for i in rows) if told else () for told in (self.ways, self.worlds))
        return replace(self, **arrays, ways=ways, worlds=worlds)

    def options(self, i: int) -> dict[str, Any]:
        """Return the reset options that put a task at the start of pair i and show it the goal."""
        if self.ways:
            return self.ways[i]
        return {"state": self.starts[i], "goal_state": self.goals[i], **(self.worlds[i] if self.worlds else {})}

    def draw(self, task: Any, i: int, states: np.ndarray) -> np.ndarray:
        """Pictures (M, S, S, 3) uint8 of states (M, S), by a task that can be put into them, in the world of pair i."""
        task.vary(self.worlds[i].get("variation") if self.worlds else None, np.random.default_rng(0))
        return np.stack([task.draw(state) for state in states])


def sample_pairs(
    store: EpisodeStore,
    task: Any,
    offset: int,
    n: int,
    seed: int,
    split: int | str = "test",
    variation: str = "",
    strict: bool = False,
    fewer: bool = False,
) -> Pairs:
    """Draw pairs uniformly without replacement from all rows that have a row ``offset`` later in their episode.

    Rows are drawn in a random order. A pair out of view or solved at the start is left out and counted; drawing ends
    with n pairs, so the counts belong to the rows drawn so far. The world of a pair is that of its episode.

    Args:
        store: the dataset, with columns ``state`` and ``action``.
        task: the task itself, for its ``success``, ``hard`` and ``in_view``.
        offset: environment steps from start to goal.
        n: pairs.
        seed: of the drawing.
        split: whose episodes; ``test`` for honest numbers.
        variation: factors to draw for each pair, by (seed, row), instead of the world of its episode, as ``"all"`` or
            ``"agent.colour,block"``.
        strict: see `Pairs`; pairs accomplished at the start are left out as solved, too.
        fewer: take all where there are not so many.

    Raises:
        BadValue: a number out of range, no such factor, episodes shorter than the offset, or too few pairs.
        BadFile: the dataset has no states, or those of another task, or not what leads back to a recorded row.
    """
    for name, value, least in (("offset", offset, 1), ("episodes", n, 1), ("seed", seed, 0)):
        if value < least:
            raise BadValue(f"{name}: expected {least} or more, got {value}")
    split = SPLITS[split_number(split)]
    if not task.state_dim:
        raise BadFile(f"{store.path}: {store.env} shows pictures only, there is no state to judge success by")
    if variation:
        factors.chosen(task.factors, variation)
    shape = store.columns["state"][0][1:] if "state" in store.columns else ()
    if shape != (task.state_dim,):
        what = f"states of shape {shape}" if shape else "no column 'state'"
        raise BadFile(f"{store.path} has {what}, {type(task).__name__} needs {task.state_dim} numbers a row")
    if not task.restorable and "seed" not in store.columns:
        raise BadFile(f"{store.path} has no column 'seed': without it {store.env} cannot return to a recorded row")

    episodes = store.episodes(split)
    if not len(episodes):
        counts = ", ".join(f"{len(store.episodes(name))} {name}" for name in SPLITS)
        raise BadValue(f"split: {store.path} has no {split} episode ({counts})")
    valid = np.maximum(store.lengths[episodes] - offset, 0)
    if not valid.sum():
        longest = int(store.lengths[episodes].max(initial=1)) - 1
        raise BadValue(
            f"offset: {offset} steps do not fit into the {len(episodes)} {split} episodes of {store.path}, "
            f"the longest of which has {longest}"
        )
    within = np.arange(valid.sum()) - np.repeat(np.cumsum(valid) - valid, valid)
    rows = np.repeat(store.offsets[episodes], valid) + within
    owner = np.repeat(episodes, valid)
    states = {int(e): store.read_episode("state", int(e)) for e in episodes}
    if not task.restorable:
        task.calibrate(store.read("state", 0, store.rows))

    chosen, worlds, solved, hidden = [], {}, 0, 0
    for i in np.random.default_rng(seed).permutation(len(rows)):
        worlds[i] = _enter_world(store, task, int(rows[i]), seed, variation)
        first = rows[i] - store.offsets[owner[i]]
        start, goal = states[owner[i]][[first, first + offset]]
        if not (task.in_view(start) and task.in_view(goal)):
            hidden += 1
        elif task.success(start, goal) or (strict and task.accomplished(start, goal)):
            solved += 1
        else:
            chosen.append(i)
            if len(chosen) == n:
                break
    if not chosen or (len(chosen) < n and not fewer):
        raise BadValue(
            f"episodes: {n} pairs are more than the {len(chosen)} that the {len(episodes)} {split} episodes of "
            f"{store.path} hold at offset {offset}; collect more or ask for fewer"
        )
    chosen.sort()
    row, episode = rows[chosen], owner[chosen]
    first = row - store.offsets[episode]
    starts = np.stack([states[e][s] for e, s in zip(episode, first)])
    goals = np.stack([states[e][s + offset] for e, s in zip(episode, first)])
    replayed = () if task.restorable else zip(row.tolist(), first.tolist())
    return Pairs(
        env=store.env,
        dataset=store.fingerprint,
        strict=strict,
        starts=starts,
        goals=goals,
        actions=np.stack([store.read("action", int(r), int(r) + offset) for r in row]).astype(np.float32),
        episode=episode,
        row=row,
        hard=np.array([task.hard(s, g) for s, g in zip(starts, goals)], bool),
        hard_label=task.hard_label,
        ways=tuple(_way_back(store, task, r, r - s, offset) for r, s in replayed),
        offset=offset,
        split=split,
        solved_at_start=solved,
        out_of_view=hidden,
        worlds=tuple(worlds[i] for i in chosen),
        variation=variation,
    )


def official_pairs(task: Any, env: str, n: int, seed: int, strict: bool = False) -> Pairs:
    """Draw OGBench's official goals in turn, with its starts; nobody demonstrates them.

    Args:
        task: the task itself (``envs/ogbench.py``).
        env: its name.
        n: pairs.
        seed: of the drawing.
        strict: see `Pairs`.

    Raises:
        BadValue: a number out of range.
    """
    for name, value, least in (("episodes", n, 1), ("seed", seed, 0)):
        if value < least:
            raise BadValue(f"{name}: expected {least} or more, got {value}")
    tasks = len(task.inner.task_infos)
    starts, goals, numbers, rows = [], [], [], []
    for i in count():
        number = 1 + i % tasks
        drawn = int(np.random.default_rng((seed, i)).integers(2**31))
        info = task.reset(seed=drawn, options={"task_id": number})[1]
        if not info["success"] and not (strict and task.accomplished(info["state"], info["goal_state"])):
            starts.append(info["state"])
            goals.append(info["goal_state"])
            numbers.append(number)
            rows.append(i)
        if len(rows) == n or i + 1 - len(rows) > 10 * n:
            break
    if len(rows) < n:
        raise BadValue(f"episodes: {env} solves nearly all of its official goals at the start, {n} are not to be had")
    return Pairs(
        env=env,
        starts=np.stack(starts),
        goals=np.stack(goals),
        actions=np.empty((n, 0, *task.action_space.shape), np.float32),
        episode=np.array(numbers),
        row=np.array(rows),
        hard=np.array([task.hard(s, g) for s, g in zip(starts, goals)], bool),
        hard_label=task.hard_label,
        offset=None,
        split="official",
        strict=strict,
        solved_at_start=rows[-1] + 1 - n,
    )


def _enter_world(store: EpisodeStore, task: Any, row: int, seed: int, variation: str) -> dict[str, Any]:
    """Put the task into the world that a pair is played in; return what takes ``reset`` there."""
    if variation:
        task.vary(variation, np.random.default_rng((seed, row)))
        return {"variation": task.variation}
    return recorded_world(store, task, row)


def recorded_world(store: EpisodeStore, task: Any, row: int) -> dict[str, Any]:
    """Put the task into the world that a row was recorded in; return what takes ``reset`` there."""
    recorded = [name for name in task.factors if factors.column(name) in store.columns]
    if not recorded:
        return {}
    task.vary({name: store.read(factors.column(name), row, row + 1)[0] for name in recorded}, np.random.default_rng(0))
    return {"variation": task.variation}


def _way_back(store: EpisodeStore, task: Any, row: int, begin: int, offset: int) -> dict[str, Any]:
    """Reset options for an environment that can only replay: the episode's seed and actions, and the recorded goal."""
    return {
        "seed": int(store.read("seed", begin, begin + 1)[0]),
        "actions": store.read("action", begin, row),
        "goal": store.read("pixels", row + offset, row + offset + 1)[0],
        "goal_state": store.read("state", row + offset, row + offset + 1)[0],
        "scale": task.scale,
    }
