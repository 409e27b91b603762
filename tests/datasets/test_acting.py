"""Episodes played by a policy: noise, new goals, ends, and that no episode depends on its company."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets.collecting import collect_here
from tests.datasets.episodes import episode
from worldmodel.datasets.acting import act, require_alike
from worldmodel.datasets.append import append
from worldmodel.datasets.collect import Recipe
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.datasets.verify import verify
from worldmodel.errors import BadFile, BadValue

ROOMS = Recipe(env="two-room", steps=40, seed=3, image_size=32)
LINE = Recipe(env="gym/tests.envs.test_gym_task:tests/Line-box-v0", steps=25, seed=0, image_size=16)


@dataclass(frozen=True)
class Memory:
    rows: tuple[Any, ...]


class Walker:
    """Walks one way for as long as its goal is the same, another way, drawn from its number, after that."""

    def __init__(self, size: int = 2) -> None:
        self.size = size
        self.starts: list[np.ndarray] = []

    def begin(self, rows: Sequence[int]) -> Memory:
        return Memory(tuple((row, 0) for row in rows))

    def predict(self, observation: Any, state: Memory, starts: np.ndarray) -> tuple[np.ndarray, Memory]:
        assert len(observation["pixels"]) == len(observation["goal"]) == len(state.rows) == len(starts)
        self.starts.append(starts.copy())
        rows = tuple((row, goals + bool(start)) for (row, goals), start in zip(state.rows, starts))
        ways = [np.random.default_rng(row).uniform(-1, 1, self.size).astype(np.float32) for row in rows]
        return np.stack(ways), Memory(rows)


def play(path: Path, numbers: Sequence[int], recipe: Recipe = ROOMS, **options: Any) -> EpisodeStore:
    walker = Walker(2 if recipe is ROOMS else 1)
    return verify(act(walker, recipe, path, numbers, [0] * len(numbers), **options))


@pytest.mark.parametrize("recipe", [ROOMS, LINE])
def test_an_episode_is_the_same_in_any_company(recipe: Recipe, tmp_path: Path) -> None:
    calls: list[int] = []
    with (
        play(tmp_path / "all.h5", [4, 5, 6], recipe, progress=calls.append) as together,
        play(tmp_path / "one.h5", [5], recipe) as alone,
    ):
        for name in sorted(together.columns.keys() - {"episode_idx"}):
            np.testing.assert_array_equal(together.read_episode(name, 1), alone.read_episode(name, 0))
        assert sum(calls) == 3 * recipe.steps
        ended = [together.read_episode("terminated", i)[-1] for i in range(3)]
        assert any(ended) == (recipe is LINE)  # where it leaves the line, others go on


def test_noise_is_correlated_and_as_large_as_said(tmp_path: Path) -> None:
    with play(tmp_path / "still.h5", range(20), noise=0.0) as still, play(tmp_path / "a.h5", range(20)) as noisy:
        assert noisy.attrs["noise"] == 0.3
        differences = []
        for number in range(20):
            a, b = (store.read_episode("action", number)[:8] for store in (still, noisy))  # before goals differ
            inside = (np.abs(b) < 1).all(axis=1)
            assert np.abs(b).max() <= 1
            if inside.all():
                differences.append(b - a)
        values = np.concatenate(differences)
        assert 0.15 < values.std() < 0.45
        after = np.concatenate([x[1:] for x in differences]), np.concatenate([x[:-1] for x in differences])
        assert np.corrcoef(after[0].ravel(), after[1].ravel())[0, 1] > 0.4
    with pytest.raises(BadValue, match="noise: expected 0 or more, finite, got -1"):
        play(tmp_path / "b.h5", [0], noise=-1)


def test_a_goal_that_is_reached_gives_way_to_another(tmp_path: Path) -> None:
    """Whoever stands on its goal gets a new one, and is told."""
    walker = Walker()
    recipe = Recipe(env="two-room", steps=200, seed=0, image_size=16)
    act(walker, recipe, tmp_path / "a.h5", range(12), [0] * 12, noise=1.0)
    assert walker.starts[0].all() and 0 < np.sum(walker.starts[1:]) < 60


def test_what_was_played_can_be_appended_to_what_was_collected(tmp_path: Path) -> None:
    path = collect_here(tmp_path / "a.h5")
    about = {"round": 1}
    more = act(Walker(), ROOMS, tmp_path / "b.h5", [10**6], [1], about=about)
    append(path, more)
    with verify(path) as store:
        assert store.attrs["policies"] == {"agent": 1, "door": 3}
        assert [source.get("round") for source in store.attrs["sources"]] == [None, 1]
        assert store.split[-1] == 1
        require_alike(ROOMS, store)
    other = write_store(tmp_path / "c.h5", [episode(0, 10) | {"goal": np.zeros(10)}], {"env": "two-room"})
    with EpisodeStore(other) as store, pytest.raises(BadFile, match="c.h5 has a column 'goal', other than episodes"):
        require_alike(ROOMS, store)
