"""Any Gymnasium environment: Box and Discrete actions, pictures, goals from data, the way back by replay."""

from __future__ import annotations

import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from worldmodel.benchmarks.evaluate import evaluate, floors_and_ceiling
from worldmodel.benchmarks.pairs import sample_pairs
from worldmodel.benchmarks.policies import ReplayPolicy
from worldmodel.benchmarks.record import load_pairs, save_pairs
from worldmodel.benchmarks.workers import identical
from worldmodel.datasets.collect import collect
from worldmodel.datasets.store import EpisodeStore
from worldmodel.envs import registry
from worldmodel.envs.two_room import TwoRoom
from worldmodel.errors import BadFile, BadValue


class Line(gymnasium.Env):
    """A place on a line, drawn as a bright column; ``kind`` says which actions move it."""

    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, kind: str = "box", render_mode: str | None = None, observation: str = "place") -> None:
        self.kind, self.render_mode, self.shown = kind, render_mode, observation
        wide = 2000 if observation == "picture" else 1
        self.observation_space = spaces.Box(-10.0, 10.0, (wide,), np.float32)
        self.action_space = {
            "box": spaces.Box(-2.0, 2.0, (1,), np.float32),
            "grid": spaces.Box(-1.0, 1.0, (1, 2), np.float64),
            "discrete": spaces.Discrete(3, start=-1),
            "unbounded": spaces.Box(-np.inf, np.inf, (1,), np.float32),
            "text": spaces.Text(3),
        }[kind]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.options, self.place = options, self.np_random.uniform(-5, 5)
        return self._see(), {}

    def step(self, action):
        assert action in self.action_space
        self.place += float(np.sum(action)) + 0.1 * self.np_random.standard_normal()
        return self._see(), 1.0, abs(self.place) > 9.0, False, {}

    def render(self):
        picture = np.zeros((40, 80, 3), np.uint8)
        picture[:, int(np.clip(4 * self.place + 40, 0, 79))] = 255
        return picture

    def _see(self):
        return np.full(self.observation_space.shape, np.clip(self.place, -10, 10), np.float32)


class Unseeded(Line):
    """It begins wherever it likes."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=None)
        self.place = np.random.default_rng().uniform(-5, 5)
        return self._see(), {}


class Broken(Line):
    """It cannot be made."""

    def __init__(self, render_mode: str | None = None) -> None:
        raise ValueError("no licence file")


class OwnTask(TwoRoom):
    """A user's own goal task."""


for kind in ("box", "grid", "discrete", "unbounded", "text"):
    gymnasium.register(f"tests/Line-{kind}-v0", Line, max_episode_steps=30, kwargs={"kind": kind})
gymnasium.register("tests/Picture-v0", Line, kwargs={"observation": "picture"})
gymnasium.register("tests/Own-v0", OwnTask)
gymnasium.register("tests/Unseeded-v0", Unseeded)
gymnasium.register("tests/Broken-v0", Broken)
LINES = ["gym/tests/Line-box-v0", "gym/tests/Line-grid-v0", "gym/tests/Line-discrete-v0"]


@pytest.mark.parametrize("name", LINES)
def test_gymnasium_accepts_it(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*symmetric and normalized")
        check_env(registry.make(name).unwrapped, skip_render_check=True)


@pytest.mark.parametrize("name", LINES)
def test_spaces_and_pictures(name: str) -> None:
    task = registry.make(name, image_size=32).unwrapped
    low, high = {"box": (-2, 2), "grid": (-1, 1), "discrete": (0, 1)}[name.split("-")[1]]
    size = {"box": 1, "grid": 2, "discrete": 3}[name.split("-")[1]]
    assert task.action_space == spaces.Box(low, high, (size,), np.float32)
    obs, info = task.reset(seed=0)
    assert obs in task.observation_space and info["state"].shape == (task.state_dim,) == (1,)
    assert not obs["goal"].any() and not info["success"]  # no goal until one is given
    with pytest.raises(BadValue, match=f"action must be {size} finite numbers"):
        task.step(np.zeros(size + 1))


def test_the_largest_of_discrete_actions_is_taken() -> None:
    task = registry.make("gym/tests/Line-discrete-v0").unwrapped
    for which, move in enumerate((-1, 0, 1)):
        before = task.reset(seed=3)[1]["state"]
        after = task.step(np.where(np.arange(3) == which, 0.6, 0.5))[4]["state"]
        assert abs(float(after[0] - before[0]) - move) < 0.5


def test_what_cannot_be_planned_is_one_line() -> None:
    for name, says in (
        ("gym/tests/Line-unbounded-v0", "unbounded actions"),
        ("gym/tests/Line-text-v0", "expected a Box or Discrete space"),
        ("gym/tests/Broken-v0", "no licence file"),
        ("gym/Pendulm-v1", "Did you mean: `Pendulum`"),
        ("gym/no_such_module:Thing-v0", "No module named 'no_such_module'"),
    ):
        with pytest.raises(BadValue, match=says):
            registry.make(name)


def test_a_goal_task_of_the_user_is_taken_as_it_is() -> None:
    task = registry.make("gym/tests/Own-v0", image_size=32, terminate_on_success=False).unwrapped
    assert type(task) is OwnTask and task.image_size == 32 and not task.terminate_on_success


@pytest.fixture(scope="module", params=LINES)
def lines(request, tmp_path_factory) -> EpisodeStore:
    path = tmp_path_factory.mktemp("line") / "line.h5"
    return EpisodeStore(collect(request.param, path, 30, 25, seed=1, workers=1, image_size=16))


def test_episodes_end_when_the_environment_does(lines: EpisodeStore) -> None:
    assert len(set(lines.lengths.tolist())) > 1 and lines.lengths.max() == 26
    last = lines.offsets + lines.lengths - 1
    assert lines.read("terminated", 0, lines.rows)[last].any() and lines.columns["state"][0][1:] == (1,)
    assert set(lines.attrs["policies"]) == {"smooth", "uniform"}


def test_every_recorded_row_is_found_again_and_replay_succeeds(lines: EpisodeStore) -> None:
    """Seed and actions lead back to the recorded start although the dynamics are random."""
    task = registry.make(lines.env, image_size=16).unwrapped
    pairs = sample_pairs(lines, task, 4, 12, seed=0, split="train")
    assert not any(task.success(start, goal) for start, goal in zip(pairs.starts, pairs.goals))
    for i, row in enumerate(pairs.row):
        obs, info = task.reset(seed=9, options=pairs.options(i))
        assert np.array_equal(info["state"], lines.read("state", row, row + 1)[0])
        assert np.array_equal(obs["pixels"], lines.read("pixels", row, row + 1)[0])
        assert np.array_equal(obs["goal"], lines.read("pixels", row + 4, row + 5)[0])
        assert np.array_equal(info["goal_state"], pairs.goals[i]) and info["distance"] > 0.25
    outcomes = floors_and_ceiling(lines.env, pairs, 4, seed=0)
    assert outcomes["replay"].rate == 1.0 and outcomes["noop"].rate < 1.0


def test_pairs_that_were_kept_are_played_again(lines: EpisodeStore, tmp_path: Path) -> None:
    """The way back to each start is kept with them: the dataset is not needed."""
    task = registry.make(lines.env, image_size=16).unwrapped
    pairs = sample_pairs(lines, task, 4, 6, seed=0, split="train")
    kept = load_pairs(save_pairs(tmp_path / "pairs.npz", pairs))
    assert kept.sha256 == pairs.sha256 and len({len(way["actions"]) for way in kept.ways}) > 1
    one, two = (evaluate(ReplayPolicy(these.actions), lines.env, these, 4, 16, watch=6) for these in (pairs, kept))
    assert identical(one, two).all() and two.rate == 1.0
    assert all(np.array_equal(a.goal, b.goal) for a, b in zip(one.rollouts, two.rollouts))


def test_the_world_ends_where_the_environment_ends_it(lines: EpisodeStore) -> None:
    """Strict pairs count what is so in the last state that there is, though the budget is not spent."""
    task = registry.make(lines.env, image_size=16).unwrapped
    pairs = sample_pairs(lines, task, 4, 500, seed=0, split="train", strict=True, fewer=True)
    final = pairs.row + 4 == (lines.offsets + lines.lengths - 1)[pairs.episode]
    rows = np.flatnonzero(final & (np.abs(pairs.goals[:, 0]) > 9.0))
    assert len(rows)
    at = int(rows[0])
    outcome = evaluate(ReplayPolicy(pairs.actions), lines.env, pairs, 8, 16, only=range(at, at + 1))
    assert outcome.success.all() and outcome.steps[0] <= 4
    assert np.isnan(outcome.states[0, 5:]).all() and np.isfinite(outcome.states[0, :5]).all()


def test_an_environment_that_does_not_return_to_its_start_is_refused(tmp_path: Path) -> None:
    """What its seed does not decide would make the start another one than the pair was chosen for."""
    with EpisodeStore(collect("gym/tests/Unseeded-v0", tmp_path / "a.h5", 30, 20, workers=1, image_size=16)) as store:
        pairs = sample_pairs(store, registry.make(store.env, image_size=16).unwrapped, 4, 5, seed=0, split="train")
        with pytest.raises(BadFile, match="did not return to a recorded start"):
            floors_and_ceiling(store.env, pairs, 4, seed=0)


def test_distances_are_measured_by_the_whole_dataset(lines: EpisodeStore) -> None:
    for split in ("train", "test"):
        task = registry.make(lines.env, image_size=16).unwrapped
        sample_pairs(lines, task, 2, 1, seed=0, split=split)
        assert task.scale == lines.read("state", 0, lines.rows).std(axis=0)


def test_what_evaluation_needs_is_said(tmp_path: Path) -> None:
    with EpisodeStore(collect("gym/tests/Picture-v0", tmp_path / "a.h5", 3, 8, workers=1, image_size=16)) as store:
        task = registry.make(store.env, image_size=16).unwrapped
        assert task.state_dim == 0
        with pytest.raises(BadFile, match="pictures only"):
            sample_pairs(store, task, 2, 1, seed=0)
