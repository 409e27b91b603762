"""Vector environments in all three modes of resetting: rows act as they would one episode after another, alone."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tests.planners.toys import FakeModel
from worldmodel.errors import BadValue
from worldmodel.planners.episode_starts import EpisodeStarts
from worldmodel.planners.options import make_agent

SEARCH = dict(candidates=8, elites=2, iterations=2, horizon=2, execute_steps=1)
ROWS, EPISODES = 3, 4


class Walk(gymnasium.Env):
    """Shows where it is; episodes of row j end after other numbers of steps each, by either way of ending."""

    observation_space = gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8)
    action_space = gymnasium.spaces.Box(-1, 1, (2,))

    def __init__(self, row: int) -> None:
        self.row, self.episode = row, -1

    def show(self):
        image = np.zeros((4, 4, 3), np.uint8)
        image[0, 0, :2] = np.clip(self.place, 0, 255)
        return image

    def reset(self, *, seed=None, options=None):
        self.episode += 1
        self.left, self.place = 2 + (3 * self.row + 5 * self.episode) % 7, np.array([50.0 + 9 * self.episode, 80.0])
        return self.show(), {}

    def step(self, action):
        self.left, self.place = self.left - 1, self.place + 10 * action
        over = self.left == 0
        return self.show(), 0.0, over and self.row != 1, over and self.row == 1, {}


def agent():
    return make_agent(FakeModel(action_block=2), **SEARCH, goal={"latent": [200, 20]})


def alone(row: int):
    """Actions of a row's episodes, each begun by its own number."""
    a, env, episodes = agent(), Walk(row), []
    for episode in range(EPISODES):
        (observation, _), state, actions, over = env.reset(), a.begin([row + ROWS * episode]), [], False
        while not over:
            action, state = a.predict(observation[None], state)
            observation, _, terminated, truncated, _ = env.step(action[0])
            over = terminated or truncated
            actions.append(action[0])
        episodes.append(np.stack(actions))
    return episodes


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_vector_environment_acts_as_single_ones(mode):
    envs = SyncVectorEnv([lambda row=row: Walk(row) for row in range(ROWS)], autoreset_mode=mode)
    a, state, starts = agent(), None, EpisodeStarts(envs)
    episodes: list[list[list[np.ndarray]]] = [[] for _ in range(ROWS)]
    observation, _ = envs.reset()
    ended = np.zeros(ROWS, bool)
    while min(map(len, episodes)) <= EPISODES:
        if mode == AutoresetMode.DISABLED and ended.any():
            observation, _ = envs.reset(options={"reset_mask": ended})
        begins, waits = starts.mask, (mode == AutoresetMode.NEXT_STEP) & ended  # its action will be ignored
        actions, state = a.predict(observation, state, starts.mask)
        for row in np.flatnonzero(~waits):
            if begins[row]:
                episodes[row].append([])
            episodes[row][-1].append(actions[row])
        observation, _, terminated, truncated, _ = envs.step(actions)
        ended = terminated | truncated
        starts.update(terminated, truncated)
    for row in range(ROWS):
        for done, expected in zip(episodes[row], alone(row)):
            np.testing.assert_array_equal(np.stack(done), expected)


def test_a_single_environment_is_named():
    with pytest.raises(BadValue, match="envs: expected a vector environment, got Walk; of a single one"):
        EpisodeStarts(Walk(0))


def test_wrappers_and_stable_baselines():
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(SyncVectorEnv([lambda: Walk(0), lambda: Walk(1)]))
    late = EpisodeStarts(envs)
    assert late.mask.all()
    for ended, expected in (([0, 1], [0, 0]), ([0, 0], [0, 1]), ([1, 0], [0, 0]), ([0, 0], [1, 0])):
        late.update(np.array(ended, bool), np.zeros(2, bool))
        assert late.mask.tolist() == [bool(x) for x in expected]
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env", reason="Stable-Baselines3 is in the extra sb3")
    at_once = EpisodeStarts(vec_env.DummyVecEnv([lambda: Walk(0), lambda: Walk(1)]))
    at_once.update(np.array([True, False]))
    assert at_once.mask.tolist() == [True, False]
