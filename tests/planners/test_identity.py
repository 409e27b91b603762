"""Environments whose next picture shows the action: a tiny model learns them, and planning finds the action shown."""

from __future__ import annotations

import functools
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from tests.worldmodel.tiny import tiny_config
from worldmodel.config import LossConfig
from worldmodel.model import WorldModel
from worldmodel.terms import Loss

S, CHOICES = 16, 4


class Identity(gymnasium.Env):
    """Episodes of one step, rewarded by minus the distance of the action to the one that the goal shows."""

    def __init__(self, discrete: bool) -> None:
        self.action_space = (
            gymnasium.spaces.Discrete(CHOICES, start=3) if discrete else gymnasium.spaces.Box(-1, 1, (2,))
        )
        image = gymnasium.spaces.Box(0, 255, (S, S, 3), np.uint8)
        self.observation_space = gymnasium.spaces.Dict({"observation": image, "desired_goal": image})
        self.discrete = discrete

    def draw(self, action):
        """A dot at the place, or a lit column."""
        grid = np.arange(S)
        if self.discrete:
            light = np.broadcast_to(grid // (S // CHOICES) == int(action) - 3, (S, S)).astype(float)
        else:
            place = (np.asarray(action)[:, None] + 1) / 2 * (S - 5) + 2
            x, y = np.clip(2 - np.abs(grid - place), 0, 1)
            light = y[:, None] * x
        return np.repeat((255 * light).astype(np.uint8)[..., None], 3, -1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.action_space.seed(seed)
        self.target = self.action_space.sample()
        return {"observation": self.draw(self.action_space.sample()), "desired_goal": self.draw(self.target)}, {}

    def step(self, action):
        assert self.action_space.contains(action)
        shown = {"observation": self.draw(action), "desired_goal": self.draw(self.target)}
        return shown, -float(np.abs(np.asarray(action) - self.target).max()), True, False, {}


def numbers(action, discrete):
    return np.eye(CHOICES, dtype=np.float32)[int(action) - 3] if discrete else action


@functools.cache
def trained(discrete: bool) -> WorldModel:
    """A tiny model, after a few seconds on random actions."""
    torch.manual_seed(0)
    tiny = tiny_config(context=1, action_block=1, action_dim=CHOICES if discrete else 2, prefix=None)
    model = WorldModel(replace(tiny, one_step=replace(tiny.one_step, dropout=0.0)))
    loss = Loss(LossConfig(prefix=0.0, imagined=0.0, projections=32), model.config.predictions)
    optimizer, env = torch.optim.AdamW(model.parameters(), lr=2e-3), Identity(discrete)
    env.action_space.seed(0)
    if discrete:
        model.set_actions([1 / CHOICES] * CHOICES, [0.43] * CHOICES, [0] * CHOICES, [1] * CHOICES)
    for _ in range(120 if discrete else 200):
        actions = [[env.action_space.sample() for _ in range(3)] for _ in range(32)]
        pixels = torch.from_numpy(np.array([[env.draw(action) for action in window] for window in actions]))
        blocks = torch.from_numpy(np.array([[numbers(action, discrete) for action in w[1:]] for w in actions]))
        total, _ = loss(model.train().step([{"pixels": pixels, "action": blocks}]))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize(("kind", "planner"), [("box", "cem"), ("discrete", "cem"), ("discrete", "categorical-cem")])
def test_the_action_that_the_goal_shows_is_found(kind, planner):
    discrete = kind == "discrete"
    model, env, rewards, guesses = trained(discrete), Identity(discrete), [], []
    agent = model.agent(env, planner=planner, horizon=1, execute_steps=1, candidates=100)
    for episode in range(20):
        observation, _ = env.reset(seed=episode)
        action, _ = agent.predict(observation)
        rewards.append(env.step(action)[1])
        guesses.append(env.step(env.action_space.sample())[1])
    if discrete:
        assert np.mean(rewards) > (-0.2 if planner == "cem" else -1e-9) and np.mean(guesses) < -0.5
    else:
        assert np.mean(rewards) > -0.2 and np.mean(guesses) < -0.6
