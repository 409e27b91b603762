"""Goals as latents: rewards that can be computed again, for one and for many, and hindsight replay that learns."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FilterObservation

from tests.worldmodel.tiny import tiny_model
from worldmodel.envs.registry import make
from worldmodel.errors import BadValue
from worldmodel.planners.goal_env import LatentGoalEnv
from worldmodel.planners.latents import LatentObservation

NEEDS = "Stable-Baselines3 is in the extra sb3"


def two_room() -> Any:
    return make("two-room", image_size=16, max_episode_steps=20)


def test_goals_are_the_latents_of_the_pictures() -> None:
    env, both = LatentGoalEnv(two_room(), tiny_model()), LatentObservation(two_room(), tiny_model())
    (seen, _), (z, _) = env.reset(seed=0), both.reset(seed=0)
    for step in range(4):
        assert np.array_equal(seen["observation"], z[:16]) and np.array_equal(seen["achieved_goal"], z[:16])
        assert np.array_equal(seen["desired_goal"], z[16:])
        action = np.full(2, 0.2 * step, np.float32)
        seen, reward, _, _, info = env.step(action)
        z, *_ = both.step(action)
        assert reward == pytest.approx(-np.linalg.norm(z[:16] - z[16:]) / 4, rel=1e-6)
        assert info["is_success"] is False


@pytest.mark.parametrize("threshold", [None, 0.9])
def test_rewards_of_many_are_those_of_each(threshold: float | None) -> None:
    env, rng = LatentGoalEnv(two_room(), tiny_model(), threshold), np.random.default_rng(0)
    achieved, desired = rng.normal(size=(2, 50, 16)).astype(np.float32) * 0.6
    rewards = env.compute_reward(achieved, desired, [{}] * 50)
    assert rewards.shape == (50,) and rewards.dtype == np.float32
    assert list(rewards) == [env.compute_reward(a, d, {}) for a, d in zip(achieved, desired)]
    for reward, a, d in zip(rewards, achieved, desired):
        distance = float(np.sqrt(((a - d) ** 2).sum() / 16))
        assert reward == pytest.approx(-distance if threshold is None else -float(distance >= threshold))
    if threshold is not None:
        assert set(rewards) == {0.0, -1.0}


@pytest.mark.parametrize("threshold", [None, 0.9])
def test_checkers_of_gymnasium_and_stable_baselines3_pass(threshold: float | None) -> None:
    env = LatentGoalEnv(two_room(), tiny_model(), threshold)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "the bounds are infinite": latents have none
        check_env(env, skip_render_check=True)
        pytest.importorskip("stable_baselines3.common.env_checker", reason=NEEDS).check_env(env)


def test_hindsight_replay_learns_from_relabelled_rewards_that_can_be_computed_again() -> None:
    sb3 = pytest.importorskip("stable_baselines3", reason=NEEDS)
    env = LatentGoalEnv(two_room(), tiny_model(), 0.1)
    learner = sb3.SAC(
        "MultiInputPolicy",
        env,
        replay_buffer_class=sb3.HerReplayBuffer,
        replay_buffer_kwargs={"n_sampled_goal": 4, "goal_selection_strategy": "future"},
        learning_starts=40,
        batch_size=32,
        buffer_size=1000,
        policy_kwargs={"net_arch": [32]},
        seed=0,
        device="cpu",
    )
    learner.learn(200)
    assert learner.num_timesteps == 200 and learner._n_updates == 160
    batch = learner.replay_buffer.sample(256)
    arrived, wanted = batch.next_observations["achieved_goal"].numpy(), batch.observations["desired_goal"].numpy()
    assert np.array_equal(batch.rewards.numpy()[:, 0], env.compute_reward(arrived, wanted, [{}] * 256))
    assert {0.0, -1.0} == set(batch.rewards.numpy()[:, 0])  # hindsight: some goals were reached


def test_mistakes_are_one_line() -> None:
    with pytest.raises(BadValue, match="threshold: expected more than 0, or None, got 0"):
        LatentGoalEnv(two_room(), tiny_model(), 0)
    with pytest.raises(BadValue, match="no 'goal' picture"):
        LatentGoalEnv(FilterObservation(two_room(), ["pixels"]), tiny_model())


def test_a_task_without_goals_is_refused() -> None:
    pytest.importorskip("pygame", reason="needs the extra gym")
    with pytest.raises(BadValue, match="observation 'goal': the picture is black, this task has no goal"):
        LatentGoalEnv(make("gym/Pendulum-v1", image_size=16), tiny_model()).reset(seed=0)
