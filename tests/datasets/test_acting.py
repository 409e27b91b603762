"""Episodes played by a policy: noise, new goals, ends, and that no episode depends on its company."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.datasets.collecting import collect_here
from tests.datasets.episodes import episode
from worldmodel.config import EncoderConfig, ModelConfig
from worldmodel.datasets import acting
from worldmodel.datasets.acting import act, require_alike
from worldmodel.datasets.append import append
from worldmodel.datasets.collect import Recipe
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.datasets.verify import verify
from worldmodel.errors import BadFile, BadValue
from worldmodel.model import WorldModel

ROOMS = Recipe(env="two-room", steps=40, seed=3, image_size=32)
LINE = Recipe(env="gym/tests.envs.test_gym_task:tests/Line-box-v0", steps=25, seed=0, image_size=16)


@dataclass(frozen=True)
class Row:
    number: int
    goals: int = 0

    def aimed(self) -> Row:
        return replace(self, goals=self.goals + 1)


@dataclass(frozen=True)
class Memory:
    rows: tuple[Any, ...]


class Walker:
    """Walks one way for as long as its goal is the same, another way, drawn from its number, after that."""

    def __init__(self, size: int = 2) -> None:
        self.size = size
        self.goals: tuple[int, ...] = ()

    def begin(self, rows: Sequence[int]) -> Memory:
        return Memory(tuple(map(Row, rows)))

    def predict(self, observation: Any, state: Memory) -> tuple[np.ndarray, Memory]:
        assert len(observation["pixels"]) == len(observation["goal"]) == len(state.rows)
        self.goals = tuple(row.goals for row in state.rows)
        generators = [np.random.default_rng((row.number, row.goals)) for row in state.rows]
        return np.stack([rng.uniform(-1, 1, self.size).astype(np.float32) for rng in generators]), state


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
    assert 0 < sum(walker.goals) < 60


def test_episodes_of_an_agent_with_new_goals_are_the_same_in_any_company(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three episodes with a new goal at other steps each; neither noise nor history of one depends on the others."""
    aims_elsewhere, goals = acting._aims_elsewhere, []

    def often(episode: Any, rng: np.random.Generator) -> bool:
        steps = len(episode._actions)
        episode.info = {**episode.info, "success": steps % (7 + episode.seed % 3) == 0}
        goals.append(aims_elsewhere(episode, rng))
        return goals[-1]

    monkeypatch.setattr(acting, "_aims_elsewhere", often)
    torch.manual_seed(0)
    encoder = EncoderConfig(width=8, projector=32)
    model = WorldModel(ModelConfig(action_dim=2, image_size=32, latent_dim=16, encoder=encoder, action_block=4))
    model.set_actions(torch.zeros(2), torch.ones(2), -torch.ones(2), torch.ones(2))
    search = dict(candidates=6, elites=2, iterations=2, horizon=3, execute_steps=2)
    for name, numbers in {"all.h5": [4, 5, 6], "one.h5": [5]}.items():
        act(model.agent(**search), ROOMS, tmp_path / name, numbers, [0] * len(numbers))
    assert sum(goals) >= 8
    with verify(tmp_path / "all.h5") as together, verify(tmp_path / "one.h5") as alone:
        for name in sorted(together.columns.keys() - {"episode_idx"}):
            np.testing.assert_array_equal(together.read_episode(name, 1), alone.read_episode(name, 0))


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
