"""Surprise is the error of the model's prediction, as a slow computation from all pictures and actions finds it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TransformAction

from tests.oracles import surprise_slow
from tests.worldmodel.tiny import tiny_model
from worldmodel.envs.registry import make
from worldmodel.errors import BadValue, UnknownName
from worldmodel.planners.surprise import SurpriseReward

STEPS = 12


def two_room() -> Any:
    return make("two-room", image_size=16, max_episode_steps=STEPS, terminate_on_success=False)


def episode(env: Any, seed: int) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """Pictures, actions, rewards and surprises of an episode of random actions."""
    rng = np.random.default_rng(seed)
    seen, _ = env.reset(seed=seed)
    pictures, actions, rewards, surprises = [seen["pixels"]], [], [], []
    truncated = False
    while not truncated:
        actions.append(rng.uniform(-1, 1, 2).astype(np.float32))
        seen, reward, _, truncated, info = env.step(actions[-1])
        pictures.append(seen["pixels"])
        rewards.append(reward)
        surprises.append(info.get("surprise"))
    return pictures, actions, rewards, surprises


@pytest.mark.parametrize("predictor", ["one-step", "prefix"])
@pytest.mark.parametrize("context", [1, 2, 3])
def test_surprise_is_what_a_slow_computation_finds(context: int, predictor: str) -> None:
    model = tiny_model(context)
    model.set_actions([0.1, -0.2], [0.5, 2.0], [-1.0, -1.0], [1.0, 1.0])
    env = SurpriseReward(two_room(), model, weight=0.5, predictor=predictor)
    errors: list[float] = []
    for seed in range(2):
        pictures, actions, rewards, surprises = episode(env, seed)
        plain = episode(two_room(), seed)[2]
        for step in range(1, STEPS + 1):
            error = surprise_slow(model, predictor, pictures[: step + 1], actions[:step])
            expected = 0.0
            if error is not None:
                errors.append(error)
                expected = error / np.mean(errors)
            assert surprises[step - 1] == pytest.approx(expected, rel=1e-4)
            assert rewards[step - 1] == pytest.approx(plain[step - 1] + 0.5 * surprises[step - 1])
    assert len(errors) == 2 * (STEPS - 3 * context + 1)


def test_the_mean_surprise_is_about_one_and_may_replace_the_reward() -> None:
    env = SurpriseReward(two_room(), tiny_model(1), weight=2.0, replace=True)
    rewards = np.concatenate([episode(env, seed)[2] for seed in range(10)])
    known = rewards[rewards != 0]
    assert len(known) == 10 * (STEPS - 2)
    assert 1.0 < known.mean() < 3.0


def test_checkers_of_gymnasium_and_stable_baselines3_pass() -> None:
    env, why = SurpriseReward(two_room(), tiny_model()), "Stable-Baselines3 is in the extra sb3"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "pictures are too small for the default CnnPolicy"
        check_env(env, skip_render_check=True)
        pytest.importorskip("stable_baselines3.common.env_checker", reason=why).check_env(env)


def test_mistakes_are_one_line() -> None:
    with pytest.raises(UnknownName, match="predictor 'prefx': did you mean 'prefix'"):
        SurpriseReward(two_room(), tiny_model(), predictor="prefx")
    wide = TransformAction(two_room(), lambda x: x[:2], spaces.Box(-1, 1, (3,), np.float32))
    with pytest.raises(BadValue, match=r"action space: expected \(2,\), as the model was trained on, got \(3,\)"):
        SurpriseReward(wide, tiny_model())
    with pytest.raises(BadValue, match=r"expected uint8 \(16, 16, 3\)"):
        SurpriseReward(make("two-room", image_size=32), tiny_model())
