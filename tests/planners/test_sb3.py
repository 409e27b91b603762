"""The agent inside Stable-Baselines3's own evaluation loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.worldmodel.tiny import tiny_config
from worldmodel.envs.registry import make
from worldmodel.model import WorldModel


def test_evaluate_policy_takes_the_agent_as_it_is() -> None:
    why = "Stable-Baselines3 is in the extra sb3"
    evaluate_policy = pytest.importorskip("stable_baselines3.common.evaluation", reason=why).evaluate_policy
    DummyVecEnv = pytest.importorskip("stable_baselines3.common.vec_env", reason=why).DummyVecEnv
    torch.manual_seed(0)
    model = WorldModel(tiny_config())
    envs = DummyVecEnv([lambda: make("two-room", image_size=16, max_episode_steps=14) for _ in range(2)])
    agent = model.agent(envs, horizon=2, execute_steps=2, candidates=8, elites=2, iterations=2)
    rewards, lengths = evaluate_policy(agent, envs, n_eval_episodes=4, return_episode_rewards=True, warn=False)
    assert len(rewards) == 4 and all(1 <= length <= 14 for length in lengths)
    assert np.isfinite(rewards).all()
    assert agent.stats.plans >= 2 * 3  # six actions a plan, two rows: 14 steps need three plans each
