"""Episodes played by a policy that looks at pictures, such as an agent that plans, many in lock-step.

Shapes: B episodes, a action size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from worldmodel.datasets.collect import Recipe, drawn_from, make_env, provenance
from worldmodel.datasets.recording import Recording
from worldmodel.datasets.store import EpisodeStore
from worldmodel.datasets.writing import write_store
from worldmodel.errors import BadFile, BadValue

NAME = "agent"  # in the column ``policy``
KEEP = 0.8  # correlation of the noise between consecutive actions: noise that trembles leads nowhere


class Actor(Protocol):
    """What plays; an ``Agent`` does."""

    def begin(self, rows: Sequence[int]) -> Any:
        """Return the state at the beginning of episodes with these numbers.

        It has an entry of ``rows`` for each, with a method ``aimed`` that returns the entry for another goal.
        """

    def predict(self, observation: Mapping[str, Any], state: Any) -> tuple[np.ndarray, Any]:
        """Return actions (B, a) and the new state."""


def act(
    actor: Actor,
    recipe: Recipe,
    path: str | Path,
    numbers: Sequence[int],
    split: Sequence[int],
    noise: float = 0.3,
    about: Mapping[str, Any] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Path:
    """Play episodes and write them as a dataset, whole or not at all.

    The task draws start and goal, and another goal whenever one is reached. Episode i depends on (seed, i) and on the
    actor only. To its actions comes noise with a correlation of 0.8 from one step to the next, so that episodes show
    more than what the actor already does.

    Args:
        actor: plays.
        recipe: task, steps, pictures and seed.
        path: the dataset to make.
        numbers: of the episodes.
        split: of each, 0 train, 1 validation, 2 test.
        noise: standard deviation of what is added to an action, as a share of half its range.
        about: more to say of how the dataset was made.
        progress: called with environment steps that were just taken, or are no longer needed.

    Raises:
        BadValue: ``noise`` is negative.
        BadFile: the disk is full.
    """
    if not 0 <= noise < np.inf:
        raise BadValue(f"noise: expected 0 or more, finite, got {noise}")
    envs = [make_env(recipe, ["pixels"]) for _ in numbers]
    try:
        played = _lockstep(actor, envs, recipe, numbers, noise, progress or (lambda steps: None))
        episodes = (episode.columns(NAME, int(place)) for episode, place in zip(played, split))
        return write_store(path, episodes, {**provenance(recipe, envs[0]), "noise": noise, **(about or {})})
    finally:
        for env in envs:
            env.close()


def require_alike(recipe: Recipe, store: EpisodeStore) -> None:
    """Refuse a dataset to which played episodes could not be appended, before anything is played.

    Raises:
        BadFile: it has other columns; the message names one.
    """
    with make_env(recipe, ["pixels"]) as env:
        episode = Recording(env, 0, recipe.variation)
        episode.step(env.action_space.low)
        ours = episode.columns(NAME).keys() | {"step_idx", "episode_idx"}
    for name in sorted(ours ^ store.columns.keys()):
        which = "no column" if name in ours else "a column"
        raise BadFile(f"{store.path} has {which} {name!r}, other than episodes that are played now: collect it anew")


def _lockstep(
    actor: Actor,
    envs: list[Any],
    recipe: Recipe,
    numbers: Sequence[int],
    noise: float,
    progress: Callable[[int], object],
) -> list[Recording]:
    drawn = [drawn_from(recipe, number) for number in numbers]
    episodes = [Recording(env, seed, recipe.variation) for env, (seed, _) in zip(envs, drawn)]
    low, high = envs[0].action_space.low, envs[0].action_space.high
    wander = np.stack([rng.standard_normal(low.shape) for _, rng in drawn])  # (B, a)
    state, running = actor.begin(numbers), list(range(len(numbers)))
    for step in range(1, recipe.steps + 1):
        seen = {name: np.stack([episodes[i].obs[name] for i in running]) for name in ("pixels", "goal")}
        actions, state = actor.predict(seen, state)
        rows = []
        for i, action, row in zip(running, actions, state.rows):
            episodes[i].step(np.clip(action + noise * (high - low) / 2 * wander[i], low, high))
            fresh = drawn[i][1].standard_normal(low.shape)
            wander[i] = KEEP * wander[i] + np.sqrt(1 - KEEP**2) * fresh
            aims_elsewhere = _aims_elsewhere(episodes[i], drawn[i][1])
            if not episodes[i].over:
                rows.append(row.aimed() if aims_elsewhere else row)
        progress(len(running) + (len(running) - len(rows)) * (recipe.steps - step))
        state = replace(state, rows=tuple(rows))
        running = [i for i in running if not episodes[i].over]
        if not running:
            break
    return episodes


def _aims_elsewhere(episode: Recording, rng: np.random.Generator) -> bool:
    """Give an episode whose goal was reached another one; say whether that was so."""
    task = episode.env.unwrapped
    if not (task.restorable and episode.info["success"]):
        return False
    task.set_goal(task.sample_goal(task.get_state(), rng))
    episode.obs = {**episode.obs, "goal": task.goal_image}
    return True
