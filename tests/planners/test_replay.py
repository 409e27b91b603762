"""What the planner experiences, in the learner's own replay buffer."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import TimeLimit

from tests.worldmodel.tiny import tiny_config
from worldmodel.envs import registry
from worldmodel.errors import BadValue
from worldmodel.model import WorldModel
from worldmodel.planners.replay import fill

sb3 = pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is in the extra sb3")
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv  # noqa: E402

LOW, HIGH = np.array([0.0, -3.0], np.float32), np.array([2.0, 1.0], np.float32)
STATES = spaces.Box(-np.inf, np.inf, (2,), np.float32)


class Walk(gymnasium.Env):
    """Position += action; it ends beyond 3 on the first axis. Shows a number of the step, tells the position."""

    action_space = spaces.Box(LOW, HIGH)
    observation_space = spaces.Dict({"pixels": spaces.Box(0, 255, (4, 4, 3), np.uint8)})

    def seen(self):
        info = {"position": self.position.copy(), "step": self.steps}
        return {"pixels": np.full((4, 4, 3), self.steps, np.uint8)}, info

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.position, self.steps = self.np_random.uniform(-1, 0, 2), 0
        return self.seen()

    def step(self, action):
        assert self.action_space.contains(action)
        self.position, self.steps = self.position + action, self.steps + 1
        observation, info = self.seen()
        return observation, float(self.position.sum()), bool(self.position[0] > 3), False, info


class Explorer:
    """Acts at random, and notes what it is asked."""

    def __init__(self):
        self.rng, self.asked = np.random.default_rng(0), []

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.asked.append((observation["pixels"][:, 0, 0, 0].copy(), np.array(episode_start), state, deterministic))
        return self.rng.uniform(LOW, HIGH, (len(episode_start), 2)).astype(np.float32), (state or 0) + 1


class Positions(gymnasium.ObservationWrapper):
    """Shows what the learner observes."""

    observation_space = STATES

    def observation(self, observation):
        return self.unwrapped.position.astype(np.float32)


def view(observation, info):
    assert int(observation["pixels"][0, 0, 0]) == info["step"]  # both of the same moment
    return info["position"].astype(np.float32)


def walks(n, limit=3):
    return DummyVecEnv([lambda: TimeLimit(Walk(), limit) for _ in range(n)])


def learner(n=1, **options):
    class Seen(gymnasium.Env):
        observation_space, action_space = STATES, Walk.action_space

    envs = DummyVecEnv([Seen for _ in range(n)])
    return sb3.SAC("MlpPolicy", envs, buffer_size=1000, seed=0, device="cpu", **options)


@pytest.mark.parametrize("n", [1, 3])
def test_every_transition_replays(n):
    algorithm, explorer = learner(n), Explorer()
    over = fill(algorithm, walks(n), explorer, 60, view, seed=0)
    buffer = algorithm.replay_buffer
    assert buffer.pos == 60 // n and algorithm.num_timesteps == 60
    kept = range(buffer.pos)
    assert np.abs(buffer.actions[kept]).max() <= 1 + 1e-6
    actions = LOW + (buffer.actions[kept] + 1) / 2 * (HIGH - LOW)
    before, after = buffer.observations[kept], buffer.next_observations[kept]
    np.testing.assert_allclose(before + actions, after, atol=1e-5)
    np.testing.assert_allclose(buffer.rewards[kept], after.sum(-1), atol=1e-5)
    ended, timeout = buffer.dones[kept].astype(bool), buffer.timeouts[kept].astype(bool)
    arrived = after[..., 0] > 3
    assert (ended & ~timeout == arrived).all() and arrived.any()
    assert (ended | ~timeout)[:-1].all() and (ended | timeout)[-1].all()  # the last one is cut
    assert timeout.any() and not (timeout & arrived).any()
    goes_on = ~ended[:-1]
    assert (after[:-1][goes_on] == before[1:][goes_on]).all()
    assert (after[:-1][~goes_on] != before[1:][~goes_on]).all()  # what ended it, not the next beginning
    assert sorted(step for step, _ in over) == sorted(n * (1 + np.nonzero(ended)[0]))
    assert all("terminal_observation" in info for _, info in over)


def test_time_limits_are_not_terminal_in_what_is_learnt():
    algorithm = learner()
    fill(algorithm, walks(1, limit=1), Explorer(), 40, view, seed=0)  # nobody arrives in one step
    assert algorithm.replay_buffer.dones[:40].all() and not algorithm.replay_buffer.sample(100).dones.any()


def test_the_agent_is_told_when_episodes_begin_and_keeps_its_memory():
    explorer, algorithm = Explorer(), learner(2)
    fill(algorithm, walks(2), explorer, 40, view, seed=1)
    assert [state for _, _, state, _ in explorer.asked] == [None, *range(1, 20)]
    for step, starts, _, deterministic in explorer.asked:
        assert (starts == (step == 0)).all() and deterministic


def test_a_seed_gives_the_same_and_learning_goes_on_from_there():
    buffers = []
    for _ in range(2):
        algorithm = learner(learning_starts=20)
        fill(algorithm, TimeLimit(Walk(), 5), Explorer(), 41, view, seed=3)
        buffers.append(algorithm.replay_buffer.observations[:41])
    np.testing.assert_array_equal(*buffers)

    algorithm = sb3.SAC("MlpPolicy", Positions(TimeLimit(Walk(), 5)), seed=0, device="cpu", learning_starts=20)
    fill(algorithm, TimeLimit(Walk(), 5), Explorer(), 40, view, seed=3)
    algorithm.learn(10, reset_num_timesteps=False)
    assert algorithm.num_timesteps == 50 and algorithm._n_updates == 10  # no more random steps


def test_learning_begins_an_episode_after_others_were_filled_in():
    env = Positions(TimeLimit(Walk(), 50))
    algorithm = sb3.SAC("MlpPolicy", env, seed=0, device="cpu", learning_starts=100)
    algorithm.learn(1)
    fill(algorithm, TimeLimit(Walk(), 5), Explorer(), 10, view, seed=3)
    algorithm.learn(1, reset_num_timesteps=False)
    assert env.unwrapped.steps == 1


@pytest.mark.parametrize("n", [1, 2])
def test_returns_of_several_steps_end_where_the_experience_does(n):
    buffer = NStepReplayBuffer(40, STATES, Walk.action_space, n_envs=n, n_steps=3, gamma=1.0, device="cpu")
    for seed in (0, 1):
        fill(buffer, walks(n, limit=50), Explorer(), 2 * n, view, seed=seed)  # nobody arrives
    assert not buffer.dones[:4].any()
    sample = buffer._get_samples(np.array([0, 1]))
    rewards, after = buffer.rewards[:2], buffer.next_observations[1]
    for row, expected in enumerate((rewards.sum(0), rewards[1])):
        assert float(sample.rewards[row, 0]) in expected
        assert sample.next_observations[row].tolist() in after.tolist()
    assert not sample.dones.any()


def test_a_buffer_alone_and_dictionaries_do():
    buffer = ReplayBuffer(50, STATES, Walk.action_space, n_envs=2)
    fill(buffer, walks(2), Explorer(), 9, view)
    assert buffer.pos == 5  # rounded up to ten

    names = ("observation", "achieved_goal", "desired_goal")

    class Goals(gymnasium.Env):
        observation_space, action_space = spaces.Dict(dict.fromkeys(names, STATES)), Walk.action_space

        def compute_reward(self, achieved, desired, info):
            return -np.linalg.norm(achieved - desired, axis=-1)

    algorithm = sb3.SAC("MultiInputPolicy", Goals(), replay_buffer_class=sb3.HerReplayBuffer, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fill(algorithm, walks(1), Explorer(), 23, lambda *seen: dict.fromkeys(names, view(*seen)), seed=0)
    assert algorithm.replay_buffer.ep_length[:23].all()  # every transition may be learnt from
    assert algorithm.replay_buffer._current_ep_start == [23]  # and the next one begins an episode
    assert algorithm.replay_buffer.sample(8).rewards.shape == (8, 1)


def test_numbered_actions_stay_numbers():
    class Steps(gymnasium.ActionWrapper):
        action_space = spaces.Discrete(3)

        def action(self, number):
            return np.array([number, 0], np.float32)

    class Chooser(Explorer):
        def predict(self, observation, *rest):
            return self.rng.integers(3, size=len(observation["pixels"])), None

    buffer = ReplayBuffer(40, STATES, spaces.Discrete(3), n_envs=2)
    fill(buffer, DummyVecEnv([lambda: Steps(TimeLimit(Walk(), 3)) for _ in range(2)]), Chooser(), 20, view)
    moved = buffer.next_observations[:10] - buffer.observations[:10]
    np.testing.assert_allclose(moved[..., 0], buffer.actions[:10, :, 0], atol=1e-5)
    assert set(buffer.actions[:10].flat) == {0, 1, 2}


def test_our_agent_fills_it_from_pixels_while_the_learner_sees_the_state():
    torch.manual_seed(0)
    model = WorldModel(tiny_config())
    envs = DummyVecEnv([lambda: registry.make("two-room", image_size=16, max_episode_steps=7) for _ in range(2)])
    agent = model.agent(envs, horizon=2, execute_steps=1, candidates=8, elites=2, iterations=1)
    buffer = ReplayBuffer(40, spaces.Box(-np.inf, np.inf, (4,)), envs.action_space, n_envs=2)
    both = lambda observation, info: np.concatenate([info["state"], info["goal_state"]])  # noqa: E731
    fill(buffer, envs, agent, 40, both, seed=0)
    task = registry.make("two-room", observation="state").unwrapped
    for t in range(20):
        for i in range(2):
            state, after = buffer.observations[t, i], buffer.next_observations[t, i]
            task.reset(options={"state": state[:2], "goal_state": state[2:]})
            _, reward, terminated, _, info = task.step(buffer.actions[t, i])
            np.testing.assert_allclose(np.concatenate([info["state"], info["goal_state"]]), after, atol=1e-3)
            assert buffer.rewards[t, i] == pytest.approx(reward, abs=1e-3)
            assert bool(buffer.dones[t, i] * (1 - buffer.timeouts[t, i])) == terminated
    assert buffer.full and agent.stats.plans >= 2 * 20 / 3 - 1


def test_mistakes_are_one_line():
    algorithm = learner()
    for env, steps, seen, message in [
        (walks(2), 4, view, "env: the buffer is for 1 environments, got 2"),
        (walks(1), 0, view, "steps: expected 1 or more, got 0"),
        (walks(1), 4, lambda *_: np.zeros(3), r"view: the learner observes \(2,\), got \(3,\)"),
        (walks(1), 4, lambda *_: {"x": np.zeros(3)}, r"view: the learner observes \(2,\), got \{'x': \(3,\)\}"),
        (registry.make("two-room", image_size=16), 4, view, "env: the learner's actions are Box"),
        (SyncVectorEnv([Walk]), 4, view, r"env: expected a VecEnv \(make_vec_env\) or one environment, got SyncVector"),
        (walks(1), 4, lambda *_: np.array(["a", "b"]), "view: the learner observes float32, got <U1"),
    ]:
        with pytest.raises(BadValue, match=message):
            fill(algorithm, env, Explorer(), steps, seen)
    buffer = DictReplayBuffer(9, spaces.Dict(x=spaces.Box(0, 255, (2,), np.uint8)), Walk.action_space)
    with pytest.raises(BadValue, match="view: the learner observes uint8, got float32"):
        fill(buffer, walks(1), Explorer(), 4, lambda *seen: {"x": view(*seen)})
    with pytest.raises(BadValue, match="learner: expected an off-policy algorithm or its replay buffer, got PPO"):
        fill(sb3.PPO("MlpPolicy", "Pendulum-v1", device="cpu"), walks(1), Explorer(), 4, view)
